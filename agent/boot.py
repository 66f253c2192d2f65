"""How this start came about: held back by a deploy, in order, or after crashes.

The file `crashes` is there while the agent runs and counts the starts that ended in a crash: by an
exception, or by the watchdog. A power cut, a person at the reset button and deep sleep do not count.
The third in a row makes the agent start without its owner's handlers, until the file is gone: a
deploy takes it away. The module is borrowed for each of its few moments.
"""

import gc
import io
import json
import os
import sys

from micropython import const

from . import __version__, log

try:
    import machine
except ImportError:
    machine = None  # a host has none

_LIMIT = const(3)

# Of a traceback the end tells most.
_LONGEST = const(600)

_CAUSES = const(("PWRON", "HARD", "WDT", "DEEPSLEEP", "SOFT", "BROWN_OUT"))


def held(folder, told=False):
    """Return whether a deploy is under way, so that nothing is to start.

    folder: where the agent keeps its files, "" or with a slash at its end
    told: whether the log has said so before
    """
    try:
        os.stat(folder + "hold")
    except OSError:
        return False
    if not told:
        log.warning("agent: not started while the file hold is there, which a deploy makes")
    return True


def begin(path, brief):
    """Look how the last start ended, and note this one unless it is to be brief.

    A board that sleeps again soon starts no watchdog, and an exception is noted when it comes.
    Returns how many starts in a row ended in a crash, what the last one was if it did, and whether
    the owner's handlers are to be left out.
    """
    crashes, error = 0, None
    try:
        with open(path) as file:
            left = json.load(file)
        error = left["error"]
        if not error and reset_cause() == "wdt":
            error = "the watchdog reset the board"
        crashes = left["crashes"] + (1 if error else 0)
    except (OSError, ValueError, KeyError, TypeError):
        error = None
    if error:
        log.error("boot: crash %d in a row: %s", crashes, error)
        error = {"crashes": crashes, "error": error}
    if crashes >= _LIMIT:
        text = "boot: no handlers after %d crashes; deploy again, or remove the file %s"
        log.error(text, crashes, path)
    if crashes or not brief:
        mark(path, crashes)
    return crashes, error, crashes >= _LIMIT


def mark(path, crashes, error=None):
    """Note that the agent runs, after so many crashes, or what has ended it: an exception."""
    if isinstance(error, Exception):
        text = io.StringIO()
        sys.print_exception(error, text)  # pyright: ignore[reportArgumentType]
        error = text.getvalue().strip()[-_LONGEST:]  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with open(path, "w") as file:
            json.dump({"crashes": crashes, "error": error}, file)
    except OSError as e:
        log.error("boot: %s can't be written (%s)", path, e)


def unmark(path):
    """Note that this start ends on purpose."""
    try:
        os.remove(path)
    except OSError:
        pass  # a brief start made none


def birth(crash):
    """Return the agent's version, why the board was reset, the free bytes of its heap, a crash."""
    found = {"version": __version__, "reset": reset_cause(), "free": gc.mem_free()}
    if crash:
        found["crash"] = crash
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
