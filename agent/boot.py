"""How this start came about: held back by a deploy, in order, or after crashes.

The file `crashes` is there while the agent runs and counts the starts that ended in a crash: by an
exception, or by the watchdog. A power cut, a person at the reset button and deep sleep do not count.
The third in a row makes the agent start without its owner's handlers, until the file is gone: a
deploy takes it away.
"""

import io
import json
import os
import sys

from micropython import const

from . import birth, log

_LIMIT = const(3)

# What runs so long has started well.
_HEALTHY_MS = const(60000)

# Of a traceback the end tells most.
_LONGEST = const(600)

_FILE = "crashes"
_HOLD = "hold"


def held(folder):
    """Return whether a deploy is under way, so that nothing is to start.

    folder: where the agent keeps its files, "" or with a slash at its end
    """
    try:
        os.stat(folder + _HOLD)
    except OSError:
        return False
    return True


class Boot:
    """The starts of a board, one after the other.

    folder: as above; clock: the agent's Clock; durable: False where nothing is to be written
    """

    def __init__(self, folder, clock, durable):
        self._path = folder + _FILE
        self._clock = clock
        self._durable = durable
        self._begun = clock.ticks()
        self.crashes = 0

    @property
    def safe(self):
        """Whether the owner's handlers are to be left out."""
        return self.crashes >= _LIMIT

    def begin(self, brief):
        """Look how the last start ended, and note this one unless it is to be brief.

        A board that sleeps again soon starts no watchdog, and an exception is noted when it comes.
        """
        try:
            with open(self._path) as file:
                left = json.load(file)
            error = left["error"]
            if not error and birth.reset_cause() == "wdt":
                error = "the watchdog reset the board"
            self.crashes = left["crashes"] + (1 if error else 0)
        except (OSError, ValueError, KeyError, TypeError):
            error = None
        if error:
            birth.crash = {"crashes": self.crashes, "error": error}
            log.error("boot: crash %d in a row: %s", self.crashes, error)
        if self.safe:
            text = "boot: no handlers after %d crashes; deploy again, or remove the file %s"
            log.error(text, self.crashes, self._path)
        if self.crashes or not brief:
            self._write(None)

    def healthy(self):
        """Forget earlier crashes if this start has gone well for a minute."""
        if self.crashes and not self.safe and self._clock.ticks() - self._begun >= _HEALTHY_MS:
            self.crashes = 0
            self._write(None)

    def stop(self):
        """Note that this start ends on purpose."""
        if self._durable and not self.safe:
            try:
                os.remove(self._path)
            except OSError:
                pass  # a brief start made none

    def crashed(self, error):
        """Keep what ended this start: an exception, or a sentence."""
        if not isinstance(error, str):
            text = io.StringIO()
            sys.print_exception(error, text)  # pyright: ignore[reportArgumentType]
            error = text.getvalue().strip()[-_LONGEST:]  # pyright: ignore[reportAttributeAccessIssue]
        self._write(error)

    def _write(self, error):
        if not self._durable:
            return
        try:
            with open(self._path, "w") as file:
                json.dump({"crashes": self.crashes, "error": error}, file)
        except OSError as e:
            log.error("boot: %s can't be written (%s)", self._path, e)
