"""Resets a board that is stuck, and never one that is merely offline.

The hardware's watchdog is fed by evidence: only when the runner has gone round since the last
time. It starts after the first session that proved itself, so that a board which never comes
online can be mended: it can't be stopped again.
"""

from micropython import const

from . import log

try:
    import machine
except ImportError:
    machine = None  # a host has none

# How often to look: well within the hardware's patience, and seldom where none is used.
_LOOK_MS = const(2000)
_SELDOM_MS = const(30000)


class Watchdog:
    """Looks after a running agent.

    settings: the section `watchdog`; reset(reason, crash): resets the board
    """

    def __init__(self, settings, limits, clock, runner, reset):
        # 0 where there is no hardware, or none is wanted.
        self._timeout_ms = settings["timeout_ms"] if hasattr(machine, "WDT") else 0
        self._offline_s = settings["offline_s"]
        self._abandoned = limits["abandoned"]
        self._clock = clock
        self._runner = runner
        self._reset = reset
        self._hardware = None
        self._round = -1
        self._contact = clock.ticks()

    def healthy(self):
        """Note that a session has proved itself; the first time starts the hardware."""
        self._contact = self._clock.ticks()
        if self._hardware or not self._timeout_ms:
            return
        self._hardware = machine.WDT(timeout=self._timeout_ms)
        log.info("watchdog: started, %d ms", self._timeout_ms)

    def feed(self):
        """Feed the hardware, before something that is known to block."""
        if self._hardware:
            self._hardware.feed()

    async def run(self):
        """Look again and again, for ever."""
        while True:
            await self._clock.sleep_ms(_LOOK_MS if self._timeout_ms else _SELDOM_MS)
            if self._runner.stuck > self._abandoned:
                self._reset("%d handlers ignore their cancellation" % self._runner.stuck, True)
            if self._offline_s and self._clock.ticks() - self._contact >= self._offline_s * 1000:
                self._reset("no cloud for %d s" % self._offline_s)
            if self._runner.rounds != self._round:
                self._round = self._runner.rounds
                self.feed()
            self._runner.wake()
