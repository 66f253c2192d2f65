"""Child processes that tests read line by line, every wait with a bound."""

import re
import subprocess
import threading
import time
from pathlib import Path


class Child:
    """A process and all it has printed, stdout and stderr together. `with Child(...)` stops it."""

    def __init__(
        self, argv: list[str], cwd: Path | str | None = None, env: dict[str, str] | None = None
    ):
        self.argv = list(map(str, argv))
        self.lines: list[str] = []
        self._ended = False
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            self.argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """All lines so far, for a failure's message."""
        with self._news:
            return "\n".join(self.lines)

    def await_line(self, pattern: str, timeout_s: float = 10, start: int = 0) -> re.Match:
        """The first line from number `start` on in which the pattern is found, printed or to come.

        Raises AssertionError with the whole output when the time is up or the process ends first.
        """
        end = time.monotonic() + timeout_s
        with self._news:
            while not (match := self._find(pattern, start)):
                left = end - time.monotonic()
                if self._ended or left <= 0:
                    why = "ended" if self._ended else f"took longer than {timeout_s:g} s"
                    printed = "\n".join(self.lines)
                    raise AssertionError(
                        f"{self.argv[0]} {why} without {pattern!r}; it printed:\n{printed}"
                    )
                self._news.wait(left)
        return match

    def wait(self, timeout_s: float = 10) -> int:
        """The exit code; AssertionError when the process is still there after the time given."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            message = (
                f"{self.argv[0]} still runs after {timeout_s:g} s; it printed:\n{self.output}"
            )
            raise AssertionError(message) from None
        self._reader.join(timeout_s)
        return code

    def stop(self, grace_s: float = 5) -> int:
        """Ends this one process, politely first; gives its exit code."""
        self._process.terminate()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.wait()

    def kill(self) -> int:
        """Ends it as a power cut would, without a word of warning."""
        self._process.kill()
        return self.wait()

    def _find(self, pattern: str, start: int) -> re.Match | None:
        matches = (re.search(pattern, line) for line in self.lines[start:])
        return next((match for match in matches if match), None)

    def _read(self) -> None:
        for line in self._process.stdout:
            self._note(line.rstrip("\n"))
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _note(self, line: str) -> None:
        with self._news:
            self.lines.append(line)
            self._news.notify_all()
