"""What goes onto a board: the agent and umqtt.simple as files of this machine, and the program."""

import shutil
from pathlib import Path

from tools import bytecode, umqtt
from tools.agent import STARTER
from tools.places import CACHE, ROOT, locked
from tools.report import Problem

_PLAIN = CACHE / "source"
_LED = "LED, LIT = None, 1"


class Parcel:
    """The folders `agent` and `umqtt` of one kind, bytecode or source.

    folder: holds both; mpy: the version of the bytecode, None for source.
    """

    def __init__(self, source: bool):
        """Raises Problem when something does not compile or can't be fetched."""
        self.folder = _plain() if source else bytecode.compiled()
        self.mpy = None if source else version(self.folder / "agent" / "__init__.mpy")

    def files(self, package: str) -> dict[str, int]:
        """The sizes of a package's files, by the names that they get on the board."""
        found = (self.folder / package).rglob("*.*")
        return {
            "/lib/" + file.relative_to(self.folder).as_posix(): file.stat().st_size
            for file in found
        }

    def words(self, package: str) -> tuple[str, ...]:
        """mpremote's words that copy a package; it leaves alone what is there already."""
        return ("resume", "fs", "cp", "-r", local(self.folder / package), ":/lib")


def version(file: Path) -> int:
    """The .mpy version that a compiled file needs (py/persistentcode.c: the second byte)."""
    return file.read_bytes()[1]


def local(path: Path) -> str:
    """A path as command lines show it: they run in the checkout."""
    try:
        return path.resolve().relative_to(ROOT).as_posix()
    except ValueError:
        return str(path.resolve())


def _plain() -> Path:
    """A folder with the sources alone: beside them lie pages, and what Python keeps for itself."""
    with locked("source"):
        wanted = _mirror(ROOT / "agent", ROOT) | _mirror(umqtt.folder() / "umqtt", umqtt.folder())
        for stale in set(_PLAIN.rglob("*.*")) - wanted:
            stale.unlink()
    return _PLAIN


def _mirror(folder: Path, root: Path) -> set[Path]:
    made = set()
    for file in folder.rglob("*.py"):
        copy = _PLAIN / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        made.add(copy)
    return made


def starter(facts: dict | None) -> str:
    """The starter with the pin of this board's LED, where the board has one."""
    text = STARTER.read_text()
    if _LED not in text:
        raise Problem(f"{local(STARTER)} has no line `{_LED}`")
    led = (facts or {}).get("led")
    return text.replace(_LED, f"LED, LIT = {led['pin']!r}, {led['active']}") if led else text


def starter_mark() -> str:
    """The first line, by which a starter is known on a board."""
    return STARTER.read_text().partition("\n")[0].strip()
