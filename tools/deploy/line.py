"""The line to one board: each step is one command line of mpremote, run as a program."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from tools.places import ROOT
from tools.report import Problem

_PAUSE_S = 0.3
_SHORT = 6

# Set when the person has had enough: Ctrl-C reaches the main thread alone.
interrupted = threading.Event()

# How mpremote and pyserial say that the board, or the way to it, is away.
_CLOSED = ("failed to access", "no device with serial number", "no device found")
_MUTE = ("could not enter raw repl", "timeout waiting for", "could not complete raw paste")
_LOST = ("SerialException", "OSError", "ConnectionError", "BrokenPipeError", "termios.error")
_LOST += ("unexpected read during raw paste", "could not exec command", "struct.error")


class Step(NamedTuple):
    """One command line of mpremote.

    title: for the person who waits; words: what follows `mpremote connect PORT`
    patience_s: for how long a board that is away is asked again; expected: its port is known to
    be there, and only gone for a while
    utc: mpremote sets a clock to its own local time, and this agent's clocks are on UTC
    """

    title: str
    words: tuple[str, ...]
    patience_s: float = 0
    expected: bool = True
    timeout_s: float = 60
    utc: bool = False


class Away(Problem):
    """The board, or the way to it, is away: it may come back."""


class Closed(Away):
    """The port is not there, or not ours."""


def shown(port: str, step: Step) -> str:
    """The step as a person would type it."""
    return ("TZ=UTC0 " if step.utc else "") + shlex.join(
        ["mpremote", "connect", port, *step.words]
    )


class Line:
    """The way to one board.

    port: what mpremote's `connect` takes; tell: called with each step's title, and with what is
    worth a line of its own; secrets: what is never shown, whoever prints it
    """

    def __init__(self, port: str, tell: Callable[[str], None], verbose: bool = False):
        self.port = port
        self.tell = tell
        self.secrets: list[str] = []
        self._verbose = verbose

    def argv(self, step: Step) -> list[str]:
        return [sys.executable, "-m", "mpremote", "connect", self.port, *step.words]

    def environment(self, step: Step) -> dict[str, str]:
        more = {"TZ": "UTC0"} if step.utc else {}
        return {**os.environ, "PYTHONIOENCODING": "utf-8", **more}

    def announce(self, step: Step) -> None:
        self.tell(step.title)
        if self._verbose:
            self.tell(shown(self.port, step))

    def run(self, step: Step) -> str:
        """Runs a step; gives what was printed.

        Raises Away when the board can't be reached, Problem when the step fails there.
        """
        self.announce(step)
        end = time.monotonic() + step.patience_s
        while True:
            try:
                return self._run(step)
            except Away as away:
                wanted = step.expected or not isinstance(away, Closed)
                if time.monotonic() >= end or not wanted or interrupted.is_set():
                    raise
            time.sleep(_PAUSE_S)

    def ask(self, step: Step) -> dict:
        """Runs a step that prints a JSON object, and gives that."""
        printed = self.run(step)
        for line in reversed(printed.splitlines()):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                return found
        raise Problem(f"{self.port}: the board gave no answer to: {step.title}")

    def clean(self, text: str) -> str:
        """The text without anything that is secret."""
        for secret in self.secrets:
            # A short one is part of many words.
            found = re.escape(secret)
            whole = rf"(?<!\w){found}(?!\w)" if len(secret) < _SHORT else found
            text = re.sub(whole, "***", text)
        return text

    def _run(self, step: Step) -> str:
        try:
            done = subprocess.run(
                self.argv(step),
                cwd=ROOT,
                env=self.environment(step),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=step.timeout_s,
                encoding="utf-8",
                errors="replace",
            )
        except subprocess.TimeoutExpired:
            raise Away(
                f"{self.port}: the board stopped answering (no end of `{step.title}` within "
                f"{step.timeout_s:g} s): press its reset button, then try again"
            ) from None
        if done.returncode:
            raise self.trouble(done.stdout, step)
        return done.stdout

    def trouble(self, printed: str, step: Step) -> Problem:
        """What mpremote's last words mean, as a sentence that says what to do."""
        lines = [line.strip() for line in printed.splitlines() if line.strip()]
        last = lines[-1] if lines else "it gave no reason"
        away = _away(self.port, last, printed)
        if away:
            return away
        if "No space left on device" in last or "ENOSPC" in last:
            return Problem(
                f"{self.port}: the board's file system is full: remove files of yours there "
                f"(mpremote connect {shlex.quote(self.port)} fs rm :FILE), then try again"
            )
        return Problem(f"{self.port}: `{step.title}` failed: {self.clean(last)}")


def _away(port: str, last: str, printed: str) -> Away | None:
    if any(word in last for word in _CLOSED):
        return Closed(
            f"{port} can't be opened: is the board plugged in, no other program (a serial "
            "monitor, an IDE) on it, and may you use it (Linux: group dialout)?"
        )
    if any(word in last for word in _MUTE):
        return Away(
            f"{port}: no MicroPython answers there: is it flashed? If so press the board's "
            "reset button, then try again"
        )
    # The board's own exceptions have the same names, and a traceback with its REPL in it.
    if 'File "<stdin>"' not in printed and any(word in last for word in _LOST):
        return Away(
            f"{port}: the connection to the board broke: check cable and power, then try again"
        )
    return None
