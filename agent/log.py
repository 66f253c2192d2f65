"""One line an event, for the person at the console.

An application takes the log over by setting `log.sink` to a function of (level, text).
"""

import sys
import time

from micropython import const

ERROR = const(40)
WARNING = const(30)
INFO = const(20)
DEBUG = const(10)

_NAMES = {ERROR: "ERROR", WARNING: "WARNING", INFO: "INFO", DEBUG: "DEBUG"}

level = INFO

_FIRST = time.ticks_ms()


def _print(severity, text):
    # The time since the start; it begins anew every twelve days.
    ms = time.ticks_diff(time.ticks_ms(), _FIRST) & 0x3FFFFFFF
    print("%d.%03d %s %s" % (ms // 1000, ms % 1000, _NAMES[severity], text))


sink = _print


def write(severity, text, *values):
    """Write one line if `severity` (ERROR, WARNING, INFO, DEBUG) reaches the level.

    `text` is a %-format for `values`; it is formatted only when the line is written.
    """
    if severity >= level:
        sink(severity, text % values if values else text)


def error(text, *values):
    """Write a line that someone must act upon."""
    write(ERROR, text, *values)


def warning(text, *values):
    """Write a line about something that went wrong and was dealt with."""
    write(WARNING, text, *values)


def info(text, *values):
    """Write a line about the agent's ordinary life."""
    write(INFO, text, *values)


def debug(text, *values):
    """Write a line for the person who works on the agent."""
    write(DEBUG, text, *values)


def write_exception(exception):
    """Write an exception of the owner's code with its traceback, at the level ERROR."""
    import io  # seldom needed

    try:
        text = io.StringIO()
        sys.print_exception(exception, text)  # pyright: ignore[reportArgumentType]
        write(ERROR, "%s", text.getvalue().rstrip())  # pyright: ignore[reportAttributeAccessIssue]
    except MemoryError:
        # Whoever reports that there is no room must not fall for it.
        sink(ERROR, type(exception).__name__)
