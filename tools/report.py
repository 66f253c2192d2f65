"""What the tools say to a person: progress, and one sentence when something is in the way."""

import shutil
import sys


class Problem(Exception):
    """Something the person can act on: printed as it stands, without a traceback.

    code: the exit code of the process; 2 for a wrong call, 1 for the rest.
    """

    def __init__(self, sentence: str, code: int = 1):
        super().__init__(sentence)
        self.code = code


def say(text: str) -> None:
    """Prints one line of progress, on stderr: stdout belongs to results."""
    print(text, file=sys.stderr, flush=True)


class Ticker:
    """One line on a terminal that shows what is being done right now; elsewhere nothing."""

    def __enter__(self) -> "Ticker":
        return self

    def show(self, text: str) -> None:
        if sys.stderr.isatty():
            width = shutil.get_terminal_size().columns - 1
            print("\r\x1b[K" + text[:width], end="", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        self.show("")
