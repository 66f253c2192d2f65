"""Time that moves only when a test moves it, on CPython and on MicroPython alike."""

import asyncio
import sys
from errno import ETIMEDOUT

from agent.clock import Clock

_PERIOD = 1 << 30
_HALF = _PERIOD >> 1

# 2026-11-21T09:00:00Z
MORNING_MS = 1795251600000


class _FakeTime:
    # Takes the place of the `time` module in the real Clock; its ticks wrap as a board's do.
    def __init__(self, unix_ms, ticks):
        self.unix_ms = unix_ms
        self.ticks = ticks

    def ticks_ms(self):
        return self.ticks & (_PERIOD - 1)

    def ticks_diff(self, later, earlier):
        return ((later - earlier + _HALF) & (_PERIOD - 1)) - _HALF

    def time_ns(self):
        return self.unix_ms * 1000000


class FakeClock(Clock):
    """The agent's Clock, its arithmetic unchanged, whose waits end when `advance` says so.

    unix_ms: what the board's own clock reads; ticks: what ticks_ms reads, just below the wrap
    unless told otherwise, so that every test runs through it
    """

    def __init__(self, unix_ms=MORNING_MS, ticks=_PERIOD - 2000):
        self._time = _FakeTime(unix_ms, ticks)
        self._timers = []
        self.activity = 0
        super().__init__()

    async def sleep_ms(self, ms):
        """As Clock.sleep_ms, in fake time."""
        await self._timer(asyncio.Event(), ms)

    async def wait(self, event, timeout_ms=None):
        """As Clock.wait, in fake time."""
        self.activity += 1
        if event.is_set() or (timeout_ms is not None and timeout_ms <= 0):
            await _turn()
        elif timeout_ms is None:
            await event.wait()
        else:
            gate = asyncio.Event()
            relay = asyncio.create_task(_relay(event, gate))
            try:
                await self._timer(gate, timeout_ms)
            finally:
                relay.cancel()
        self.activity += 1
        return event.is_set()

    async def _timer(self, gate, ms):
        timer = (self._time.ticks + ms, gate)
        self._timers.append(timer)
        self.activity += 1
        try:
            await gate.wait()
        finally:
            self._timers.remove(timer)
            self.activity += 1

    async def bounded(self, awaitable, timeout_ms):
        """As Clock.bounded, in fake time."""
        done = asyncio.Event()
        results, errors = [], []

        async def run():
            try:
                results.append(await awaitable)
            except Exception as e:  # noqa: BLE001 - handed on below
                errors.append(e)
            done.set()

        task = asyncio.create_task(run())
        try:
            if not await self.wait(done, timeout_ms):
                raise OSError(ETIMEDOUT, "no answer within %d ms" % timeout_ms)
        finally:
            task.cancel()
        if errors:
            raise errors[0]
        return results[0]

    async def advance(self, ms):
        """Move time on by `ms`, stopping at every moment for which something waits."""
        target = self._time.ticks + ms
        await self.settle()
        while True:
            due = [timer for timer in self._timers if timer[0] <= target]
            if not due:
                break
            timer = min(due, key=lambda timer: timer[0])
            self._move(max(timer[0], self._time.ticks))
            timer[1].set()
            await self.settle()
        self._move(target)
        await self.settle()

    async def settle(self):
        """Let every task run until all of them wait."""
        while True:
            before = self.activity
            for _ in range(4):
                await _turn()
            if self.activity == before:
                return

    def forget(self):
        """Be as after a reset: the server's time is unknown, and ticks begin anew."""
        self.known = False
        self._ticks = 0

    def step_board_ms(self, ms):
        """Step the board's own clock, as a person or NTP does; ticks stay."""
        self._time.unix_ms += ms

    def _move(self, ticks):
        self._time.unix_ms += ticks - self._time.ticks
        self._time.ticks = ticks


async def _relay(event, gate):
    await event.wait()
    gate.set()


if sys.implementation.name == "micropython":

    async def _turn():
        # Tasks ready in the same millisecond run last in, first out there: only a later time
        # lets every other task have its turn.
        await asyncio.sleep_ms(1)

else:

    async def _turn():
        await asyncio.sleep(0)
