"""What a board tells of itself when it comes online."""

import gc

from . import __version__

try:
    import machine
except ImportError:
    machine = None  # a host has none

_CAUSES = ("PWRON", "HARD", "WDT", "DEEPSLEEP", "SOFT", "BROWN_OUT")


def record():
    """Return the agent's version, why the board was reset, and the free bytes of its heap."""
    return {"version": __version__, "reset": reset_cause(), "free": gc.mem_free()}


def reset_cause():
    """Return in a word why the board was reset, or None; each port knows some of them.

    An RP2040 can't tell a deliberate reset from its watchdog's.
    """
    if not hasattr(machine, "reset_cause"):
        return None
    cause = machine.reset_cause()
    for name in _CAUSES:
        if getattr(machine, name + "_RESET", None) == cause:
            return name.lower()
    return str(cause)
