"""Heed: a command agent for MicroPython boards.

Every command at most once, never late, always answered.

    from agent import Agent, Rejected, optional

The names below are loaded when they are first used, so importing the package costs next to nothing.
"""

import gc
import sys

__version__ = "0.1.0"

# Without a threshold MicroPython collects only when the heap is full, and what stays lies scattered
# between what does not. Once online in 96 KB, with 26 KB free, the largest free piece is 22 KB with
# this line and 8 KB without it. The owner's own threshold is left alone.
if gc.threshold() < 0:
    gc.threshold(4096)

_HOMES = {
    "Agent": "agent",
    "Command": "command",
    "Outcome": "command",
    "Rejected": "command",
    "SettingsError": "command",
    "optional": "registry",
}


def __getattr__(name):
    # MicroPython asks here for the package's own modules, too (`from . import log`).
    module = _load(_HOMES.get(name, name))
    value = getattr(module, name) if name in _HOMES else module
    globals()[name] = value
    return value


def borrow(name):
    """Return a module that has work to do for a moment: its memory goes with the caller's.

    Raises OSError(ENOENT) where it is not installed.
    """
    try:
        module = _load(name)
    except AttributeError as e:
        raise OSError(2, str(e))
    sys.modules.pop("agent." + name, None)
    globals().pop(name, None)
    return module


def _load(module):
    try:
        return __import__("agent." + module, None, None, ("",))
    except ImportError as e:
        if module in _HOMES.values():
            raise
        raise AttributeError("agent has no %s (%s)" % (module, e))
