"""The `machine` module of a bench: what a program does to pins, and what a test does to them.

Names, constants and return values: docs.micropython.org, "machine", as the ESP32 has them.
"""

import sys
import types

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

_RISING = 2
_FALLING = 1


class Wire:
    """One pin as a test has it: reads what the program puts there, drives what it reads.

    level: 0 or 1; levels: all that the program has put there, in order
    duty_u16, freq: of a PWM, None without one; reading_u16: what an ADC finds there
    """

    def __init__(self, run):
        self._run = run  # has the program's thread call a function
        self._driven = None
        self.reading_u16 = 0
        self.levels = []
        self.lose_power()

    def __repr__(self):
        return f"<level {self.level}, duty_u16 {self.duty_u16}, freq {self.freq}>"

    def lose_power(self):
        """Forget what the program put there; what the test drives stays."""
        self.level = self._driven or 0
        self.duty_u16 = self.freq = None
        self._irq = None

    def drive(self, level):
        """Put a level there from outside, as a button does; the program's `irq` is called."""
        self._driven = level = int(bool(level))
        before, self.level = self.level, level
        edge = _RISING if level > before else _FALLING
        if self._irq and level != before and self._irq[1] & edge:
            self._run(self._irq[0])

    def pull(self, level):
        """Take the level of a pull-up or pull-down where nothing is driven."""
        if self._driven is None:
            self.level = level

    def put(self, level):
        """Take what the program puts there."""
        self.level = int(bool(level))
        self.levels.append(self.level)

    def listen(self, handler, trigger):
        """Call `handler()` at the edges of `trigger`."""
        self._irq = handler and (handler, trigger)


class _Part:
    machine: "FakeMachine"  # of the life that the part belongs to


class Pin(_Part):
    """machine.Pin"""

    IN, OUT, OPEN_DRAIN = 1, 3, 7
    PULL_DOWN, PULL_UP = 1, 2
    IRQ_RISING, IRQ_FALLING = _RISING, _FALLING

    def __init__(self, id, mode=-1, pull=-1, *, value=None):
        self.id = id.id if isinstance(id, Pin) else id
        self.wire = self.machine.wire(self.id)
        self.init(mode, pull, value=value)

    def init(self, mode=-1, pull=-1, *, value=None):
        if pull in (self.PULL_DOWN, self.PULL_UP):
            self.wire.pull(pull - 1)
        if value is not None:
            self.value(value)

    def value(self, level=None):
        if level is None:
            return self.wire.level
        self.wire.put(level)
        return None

    __call__ = value

    def on(self):
        self.value(1)

    def off(self):
        self.value(0)

    def toggle(self):
        self.value(not self.wire.level)

    def irq(self, handler=None, trigger=IRQ_FALLING | IRQ_RISING):
        def call():
            try:
                handler(self)
            except Exception as e:  # noqa: BLE001 - a board prints it and goes on
                sys.print_exception(e)

        self.wire.listen(handler and call, trigger)


class PWM(_Part):
    """machine.PWM"""

    def __init__(self, pin, freq=None, duty_u16=None):
        self.wire = self.machine.wire(pin.id if isinstance(pin, Pin) else pin)
        self.init(freq, duty_u16)

    def init(self, freq=None, duty_u16=None):
        self.freq(freq)
        self.duty_u16(duty_u16)

    def freq(self, hertz=None):
        if hertz is None:
            return self.wire.freq
        self.wire.freq = hertz
        return None

    def duty_u16(self, duty=None):
        if duty is None:
            return self.wire.duty_u16
        self.wire.duty_u16 = duty
        return None

    def deinit(self):
        self.wire.duty_u16 = self.wire.freq = None


class ADC(_Part):
    """machine.ADC"""

    def __init__(self, pin):
        self.wire = self.machine.wire(pin.id if isinstance(pin, Pin) else pin)

    def read_u16(self):
        return self.wire.reading_u16

    def read(self):
        return self.wire.reading_u16 >> 4


class WDT(_Part):
    """machine.WDT; it notes that it is fed, and does not bite."""

    def __init__(self, id=0, timeout=5000):
        self.machine.watchdog_ms = timeout

    def feed(self):
        self.machine.feeds += 1


class FakeMachine(types.ModuleType):
    """The module for one life of a program.

    wire: a function of a pin's id; restart: a function of a reset cause that does not return
    feeds: how often the watchdog was fed; watchdog_ms: its time, None without one
    """

    def __init__(self, wire, restart, cause):
        super().__init__("machine")
        self.wire = wire
        self.restart = restart
        self.cause = cause
        self.feeds = 0
        self.watchdog_ms = None
        for part in (Pin, PWM, ADC, WDT):
            setattr(self, part.__name__, type(part.__name__, (part,), {"machine": self}))
        for name in ("PWRON", "HARD", "WDT", "DEEPSLEEP", "SOFT"):
            setattr(self, name + "_RESET", globals()[name + "_RESET"])

    def __getattr__(self, name):
        raise AttributeError(
            f"the bench's machine has no {name}: give your own, "
            f'Bench(..., modules={{"machine.{name}": my_fake}})'
        )

    def reset(self):
        self.restart(HARD_RESET)

    def reset_cause(self):
        return self.cause

    def unique_id(self):
        return b"\x24\x0a\xc4\x00\x01\x02"

    def freq(self, hertz=None):
        return 160000000 if hertz is None else None
