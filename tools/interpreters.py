"""Finds MicroPython's unix port, or fetches it: an interpreter with 32-bit or 64-bit words.

The 32-bit one is a model of a board's memory: objects have the size they have there.
"""

import ast
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from tools import debian
from tools.report import Problem, say

OLDEST = (1, 24)
PROGRAM = "usr/bin/micropython"


@dataclass(frozen=True)
class Interpreter:
    """A MicroPython that has been started once and gave its word size and version."""

    command: list[str]
    bits: int
    version: str

    def argv(self, *words: object, heap: str = "") -> list[str]:
        """A command line for it. heap: `96k`, `1m`; empty leaves the port's default."""
        limit = ["-X", f"heapsize={heap}"] if heap else []
        return [*self.command, *limit, *map(str, words)]

    def __str__(self) -> str:
        return f"MicroPython {self.version}, {self.bits}-bit"


def find(bits: int | None = None, path: str | None = None) -> Interpreter:
    """Gives an interpreter: `path`, the one MICROPYTHON names, the one on PATH, or a fetched one.

    bits: 32, 64, or None for any (32 is preferred when one has to be fetched).
    Raises Problem when there is none, or when the one asked for by `path` will not do.
    """
    if path:
        found = ask([path])
        if bits and found.bits != bits:
            raise Problem(f"{path} has {found.bits}-bit words, and {bits}-bit ones are needed.")
        return found
    for found in _installed():
        if bits in (None, found.bits):
            return found
    return fetch(bits) if bits else _fetch_any()


def _installed() -> Iterator[Interpreter]:
    named = os.environ.get("MICROPYTHON")
    if named:
        yield ask([named])
    on_path = shutil.which("micropython")
    if on_path:
        try:
            yield ask([on_path])
        except Problem as problem:  # nobody asked for this one: go on without it
            say(f"passed over: {problem}")


def _fetch_any() -> Interpreter:
    try:
        return fetch(32)
    except Problem as problem:
        say(f"no 32-bit MicroPython: {problem}")
        return fetch(64)


def fetch(bits: int) -> Interpreter:
    """The interpreter of the cache; put there first, from the distribution's archive, if need be.

    Raises Problem when the machine's system has no such archive or cannot run the program.
    """
    if platform.system() == "Darwin":
        raise Problem("MicroPython is missing; `brew install micropython` brings it (64-bit).")
    if not debian.available():
        raise Problem(
            f"A {bits}-bit MicroPython is missing, and only Debian and Ubuntu can fetch it: "
            "build the unix port and name it with --micropython or MICROPYTHON."
        )
    arch = debian.architecture(bits)
    return ask(debian.program("micropython", PROGRAM, arch))


def ask(command: list[str]) -> Interpreter:
    """Starts an interpreter to learn its word size and version.

    Raises Problem when it does not start, is no MicroPython, or is older than 1.24.
    """
    question = (
        "import sys;print((sys.implementation[0],tuple(sys.implementation[1])[:3],sys.maxsize))"
    )
    name = command[-1]
    try:
        done = subprocess.run([*command, "-c", question], capture_output=True, timeout=20)
        kind, version, largest = ast.literal_eval(done.stdout.decode().strip())
    except OSError as error:
        raise Problem(f"{name} does not start: {error.strerror}.") from None
    except (ValueError, SyntaxError, TypeError, subprocess.TimeoutExpired):
        raise Problem(f"{name} does not answer like MicroPython.") from None
    return _checked(command, kind, version, largest)


def _checked(command: list[str], kind: str, version: tuple[int, ...], largest: int) -> Interpreter:
    name, text = command[-1], ".".join(map(str, version))
    if kind != "micropython":
        raise Problem(f"{name} is {kind}, not MicroPython.")
    if version < OLDEST:
        raise Problem(f"{name} is MicroPython {text}; the agent needs 1.24 or newer.")
    return Interpreter(command, 32 if largest < 1 << 32 else 64, text)
