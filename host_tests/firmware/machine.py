"""The `machine` module of a board without pins: what lies outside of it is asked over the line.

Names and return values: docs.micropython.org, "machine".
"""

import time

import umachine
from umachine import Signal, idle, mem8, mem16, mem32, time_pulse_us  # noqa: F401 - given on

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

_facts = {}
_tell = _stop = _clock = None


def set_up(facts, tell, stop, clock):
    """Connect this module with what is outside of it."""
    global _tell, _stop, _clock
    _facts.update(facts)
    _tell, _stop, _clock = tell, stop, clock


def reset():
    _stop(b"R")


def soft_reset():
    raise SystemExit


def bootloader(timeout_ms=0):
    _stop(b"U")


def deepsleep(time_ms=0):
    _stop(b"D", b"%d" % time_ms)


def lightsleep(time_ms=0):
    time.sleep_ms(time_ms)


def reset_cause():
    return _facts["cause"]


def unique_id():
    return bytes(_facts["unique_id"])


def freq(hertz=None):
    return _facts["freq"] if hertz is None else None


class WDT:
    """Bites when it is not fed, and cannot be stopped."""

    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError("no such WDT")
        if not 1 <= timeout <= _facts["watchdog_ms"]:
            raise ValueError("timeout exceeds %d" % _facts["watchdog_ms"])
        _tell(b"W", b"%d" % timeout)

    def feed(self):
        _tell(b"F")


class RTC:
    """The board's clock: (year, month, day, weekday, hours, minutes, seconds, subseconds)."""

    def datetime(self, when=None):
        if when is None:
            now = _clock.gmtime()
            return now[:3] + (now[6],) + now[3:6] + (0,)
        _clock.set(time.mktime(tuple(when[:3]) + tuple(when[4:7]) + (0, 0)))
        return None


class Pin(umachine.PinBase):
    """A pin that nothing is connected to."""

    IN, OUT, OPEN_DRAIN = 0, 1, 2
    PULL_UP, PULL_DOWN = 1, 2
    IRQ_RISING, IRQ_FALLING = 8, 4
    _levels = {}

    def __init__(self, id, mode=-1, pull=-1, *, value=None):
        self.id = id
        self.init(mode, pull, value=value)

    def init(self, mode=-1, pull=-1, *, value=None):
        if value is not None:
            self.value(value)

    def value(self, level=None):
        if level is None:
            return self._levels.get(self.id, 0)
        self._levels[self.id] = int(bool(level))
        return None

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    high, low = on, off

    def toggle(self):
        self.value(not self.value())

    def irq(self, handler=None, trigger=12, hard=False):
        pass


class Clock:
    """The board's time, which is not the host's until somebody sets it; UTC.

    facts: `ahead_s`, how far it is ahead of the host's; `epoch`, the year that it counts from
    """

    def __init__(self, facts, tell):
        self._tell = tell
        self._ahead_s = facts["ahead_s"]
        self._epoch_s = 946684800 if facts["epoch"] == 2000 else 0

    def set(self, unix_s):
        self._ahead_s = unix_s - int(time.time())
        self._tell(b"T", b"%d" % self._ahead_s)

    def time(self):
        return int(time.time()) + self._ahead_s - self._epoch_s

    def time_ns(self):
        return time.time_ns() + (self._ahead_s - self._epoch_s) * 1000000000

    def gmtime(self, seconds=None):
        if seconds is None:
            seconds = self.time()
        return time.gmtime(int(seconds) + self._epoch_s)[:8]

    def mktime(self, when):
        return int(time.mktime(tuple(when[:8]))) - self._epoch_s
