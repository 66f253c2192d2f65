"""Heed: a command agent for MicroPython boards.

Every command at most once, never late, always answered.

    from agent import Agent, Rejected, optional

The names below are loaded when they are first used, so importing the package costs next to nothing.
"""

_HOMES = {
    "Agent": "agent",
    "Command": "command",
    "Outcome": "command",
    "Rejected": "command",
    "SettingsError": "settings",
    "optional": "registry",
}


def __getattr__(name):
    # MicroPython asks here for the package's own modules, too (`from . import log`).
    module = _load(_HOMES.get(name, name))
    value = getattr(module, name) if name in _HOMES else module
    globals()[name] = value
    return value


def _load(module):
    try:
        return __import__("agent." + module, None, None, ("",))
    except ImportError as e:
        if module in _HOMES.values():
            raise
        raise AttributeError("agent has no %s (%s)" % (module, e))
