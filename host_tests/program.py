"""A board's program on CPython, in step with a test: it runs only while the test lets it.

The program has a thread of its own, so that it may block as it does on a board, in `time.sleep` or
in `asyncio.run`. The two threads never run side by side: wherever the program waits it hands over to
the test, and it goes on when the test resumes it. So time moves only when the test moves it, and a
power cut is a program that is never resumed.
"""

import asyncio
import ctypes
import gc
import selectors
import sys
import threading
import time
import traceback

from host_tests.fake_clock import MORNING_MS

_PERIOD = 1 << 30

# What a life that was cut off gets for unwinding, in real seconds.
_BURIAL_S = 5

_HERE = threading.local()


class PowerCut(BaseException):
    """Ends a program's thread, long after the power cut that the test saw."""


class Stuck(Exception):
    """The program runs on without ever waiting."""


class FakeTime:
    """The time of a bench in microseconds; it goes on over resets.

    FakeDeviceHive and FakeTransport take it for the agent's clock.
    """

    activity = 0

    def __init__(self):
        self.us = 0

    @property
    def _time(self):
        return self

    @property
    def unix_ms(self):
        """The Unix milliseconds."""
        return MORNING_MS + self.us // 1000


class _Selector(selectors.DefaultSelector):
    # Where asyncio would wait for sockets and for its next timer, the program waits for the test.
    def __init__(self, life):
        super().__init__()
        self._life = life

    def select(self, timeout=None):
        self._life.listened = True
        if timeout is None:
            self._life.pause()
        elif timeout > 0:
            self._life.pause(self._life.now.us + round(timeout * 1000000))
        else:
            self._life.check()
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, life):
        self._life = life
        super().__init__(_Selector(life))
        # Half of it is what rounding to microseconds can take from a timer.
        self._clock_resolution = 0.000001

    def time(self):
        return self._life.now.us / 1000000


class ThreadSafeFlag:
    """MicroPython's flag that an interrupt sets; one `wait` takes it down again."""

    def __init__(self):
        self._event = asyncio.Event()
        self.set = self._event.set
        self.clear = self._event.clear

    async def wait(self):
        """Wait until it is set."""
        await self._event.wait()
        self.clear()


class Life:
    """One life of a program, from power on to a reset. `resume` starts it.

    now: the FakeTime; program: a function; patience_s: real seconds that it may run at a stretch
    """

    def __init__(self, now, program, patience_s):
        self.now = now
        self.until = None  # the microsecond for which it waits
        self.ended = False
        self.error = None  # the exception that ended it
        self.listened = False  # it has reached board.run() or another loop
        self.restart = None  # the reset cause, once the program has asked for a reset
        self.calls = []  # what the test wants done, by the program's own thread
        self._program = program
        self._patience_s = patience_s
        self._born_us = now.us
        self._cut = False
        self._waits = True
        self._loop = None
        self._go = threading.Semaphore(0)
        self._parked = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._live, name="program", daemon=True)
        self._thread.start()

    # The test's side.

    def resume(self):
        """Let it run until it waits for a time to come; raises Stuck when it never does."""
        if self.ended:
            return
        self._waits = False
        self._go.release()
        if not self._parked.acquire(timeout=self._patience_s):
            raise Stuck
        self._waits = True

    def bury(self):
        """Unwind it: its `finally` blocks run now, where nobody looks any more."""
        self._cut = True
        self._go.release()
        if not self._waits:
            # It never came back: only an exception from outside ends an endless loop.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread.ident), ctypes.py_object(PowerCut)
            )
        self._thread.join(_BURIAL_S)

    def where(self):
        """Return the stack of its thread, outermost line first."""
        frame = sys._current_frames().get(self._thread.ident)
        return traceback.extract_stack(frame) if frame else []

    # The program's side.

    def check(self):
        """End the thread of a life that is over."""
        if self._cut:
            raise PowerCut

    def pause(self, until=None):
        """Hand over to the test until it resumes the program: at `until`, or earlier."""
        self.until = until
        self._hand_over()
        while self.calls:
            self.calls.pop(0)()

    def reset(self, cause):
        """End here: the test starts the next life."""
        self.restart = cause
        while True:
            self.pause()

    def run(self, coroutine, **_):
        """Stands for asyncio.run; as on a board, tasks that are left over are not cancelled."""
        self.listened = True
        return self._loop.run_until_complete(coroutine)

    def sleep_us(self, us):
        """Stands for the functions of the same name in `time`, as all that follow."""
        until = self.now.us + us
        while self.now.us < until:
            self.pause(until)

    def sleep_ms(self, ms):
        self.sleep_us(round(ms * 1000))

    def sleep(self, seconds):
        self.sleep_us(round(seconds * 1000000))

    def ticks_us(self):
        return self.now.us - self._born_us & (_PERIOD - 1)

    def ticks_ms(self):
        return (self.now.us - self._born_us) // 1000 & (_PERIOD - 1)

    def time(self):
        return self.now.unix_ms // 1000

    def time_ns(self):
        return self.now.unix_ms * 1000000

    def gmtime(self, seconds=None):
        return tuple(_GMTIME(self.time() if seconds is None else seconds))[:8]

    localtime = gmtime  # a board knows no zones

    def collect(self):
        """Stands for gc.collect: thorough on a computer's heap, and of no use there."""
        return 0

    def _live(self):
        _HERE.life = self
        self._go.acquire()
        self._loop = _Loop(self)
        asyncio.set_event_loop(self._loop)
        try:
            if not self._cut:
                self._program()
        except (PowerCut, SystemExit):
            pass
        except BaseException as e:  # noqa: BLE001 - the bench tells it
            self.error = e
        self.ended = True
        self.until = None
        if not self._cut:
            self._await_burial()
        self._abandon_tasks()

    def _await_burial(self):
        try:
            self._hand_over()
        except PowerCut:
            pass

    def _hand_over(self):
        self._parked.release()
        self._go.acquire()
        self.check()

    def _abandon_tasks(self):
        # As a reset does, without a word; asyncio would warn of each.
        self._loop.set_exception_handler(lambda loop, context: None)
        for task in asyncio.all_tasks(self._loop):
            try:
                task.get_coro().close()
            except BaseException:  # noqa: BLE001 - whatever its `finally` makes of the end
                pass
        asyncio.set_event_loop(None)
        self._loop.close()


_GMTIME = time.gmtime

_TIMES = ("sleep", "sleep_ms", "sleep_us", "ticks_ms", "ticks_us")
_TIMES += ("time", "time_ns", "gmtime", "localtime")


def patch(patches):
    """Have the programs' threads, and them alone, see the fake time; `patches` takes it back.

    patches: a pytest.MonkeyPatch
    """
    for name in _TIMES:
        patches.setattr(time, name, _divided(time, name), raising=False)
    patches.setattr(asyncio, "run", _divided(asyncio, "run"))
    patches.setattr(asyncio, "ThreadSafeFlag", ThreadSafeFlag, raising=False)
    patches.setattr(gc, "collect", _divided(gc, "collect"))
    # What a handler that reports its board asks for; the figures are an ESP32's.
    patches.setattr(gc, "mem_free", lambda: 120000, raising=False)
    patches.setattr(gc, "mem_alloc", lambda: 40000, raising=False)


def _divided(module, name):
    outside = getattr(module, name, None)

    def call(*args, **options):
        life = getattr(_HERE, "life", None)
        if life:
            return getattr(life, name)(*args, **options)
        if outside is None:
            raise AttributeError(f"{module.__name__}.{name} is there for the program alone")
        return outside(*args, **options)

    return call
