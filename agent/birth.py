"""What a board tells of itself when it comes online."""

import gc

from . import __version__

try:
    import machine
except ImportError:
    machine = None  # a host has none

# How the last start ended, where that was a crash: told once.
crash = None

_CAUSES = ("PWRON", "HARD", "WDT", "DEEPSLEEP", "SOFT", "BROWN_OUT")


def record():
    """Return the agent's version, why the board was reset, the free bytes of its heap, a crash."""
    global crash
    found = {"version": __version__, "reset": reset_cause(), "free": gc.mem_free()}
    if crash:
        found["crash"] = crash
        crash = None
    return found


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
