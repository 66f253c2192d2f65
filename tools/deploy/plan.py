"""The steps of a deploy, from what is known of the board. Nothing here talks to it.

While the steps after HOLD run, no program is on the board: it lies aside as /main.held until FINISH
puts it back. So a deploy may be cut anywhere, and the next one finds a board that listens.
"""

from pathlib import Path
from typing import NamedTuple

from tools.deploy import parcel
from tools.deploy.line import Step
from tools.deploy.parcel import Parcel
from tools.report import Problem

OLDEST = (1, 24)

_SCRIPTS = Path(__file__).with_name("on_board")

# A board that was just reset needs a while: USB comes up anew, and an emulated one is slow.
_RETURN_S = 60
_FIRST_S = 20
_COPY_S = 600


def _script(name: str) -> str:
    return parcel.local(_SCRIPTS / name)


WHO = Step(
    "asking the board who it is", ("resume", "run", _script("who.py")), _FIRST_S, expected=False
)
HOLD = Step(
    "stopping its program",
    ("resume", "run", _script("hold.py"), "+", "reset"),
    _RETURN_S,
)
LOOK = Step("looking what is there", ("run", _script("look.py")), _RETURN_S)
CLOCK = Step("setting its clock", ("resume", "rtc", "--set"), utc=True)
VERIFY = Step("checking agent and settings", ("resume", "run", _script("verify.py")))
FINISH = Step("starting the board", ("resume", "run", _script("finish.py")))
RESTART = Step("starting it again", ("resume", "reset"))


class Order(NamedTuple):
    """What is to be on the board: files of this machine, None for what the board keeps."""

    parcel: Parcel
    settings: Path | None
    main: Path | None
    chosen: bool  # main was asked for: it replaces whatever program is there


class Found(NamedTuple):
    """What look.py found; the defaults are a board as it comes with its firmware."""

    free: int = 1 << 30
    memory: int = 0
    epoch: int = 1970
    files: dict[str, int] = {}
    main: str | None = None
    agent: str | None = None
    umqtt: str | None = None
    cut: bool = False  # an earlier deploy did not come to its end


def check_firmware(who: dict, bytecode: Parcel) -> None:
    """Raises Problem for a firmware that can't run what is to be copied."""
    version, text = tuple(who["version"]), ".".join(map(str, who["version"]))
    if version[:2] < OLDEST:
        raise Problem(
            f"the board has MicroPython {text}, and the agent needs 1.24 or newer: put a newer "
            "firmware on it, then deploy again. Nothing was changed"
        )
    if bytecode.mpy not in (None, who["mpy"]):
        reads = f".mpy version {who['mpy']}" if who["mpy"] else "no .mpy files"
        raise Problem(
            f"the board's MicroPython {text} reads {reads}, and mpy-cross writes version "
            f"{bytecode.mpy}: deploy with --source, or put another firmware on it"
        )


def steps(order: Order, found: Found) -> list[Step]:
    """The steps between LOOK and FINISH. Raises Problem for what they can't mend."""
    return [
        *_clearing(order, found),
        *_copies(order, found),
        VERIFY,
        CLOCK,
    ]


def _clearing(order: Order, found: Found) -> list[Step]:
    files = found.files
    shadows = [path for path in ("/agent.py", "/agent.mpy") if path in files]
    if shadows:
        raise Problem(f"the board's own {shadows[0]} hides the agent: give it another name")
    made = []
    if any(path.startswith("/agent/") for path in files):
        made.append(_remove("removing an old copy in /agent, which would come first", "/agent"))
    wanted = order.parcel.files("agent")
    # Of two files of one name, MicroPython takes the .py.
    stale = [path for path in sorted(files) if _belongs(path) and path not in wanted]
    if stale:
        words = ("resume", "fs", "rm", *(":" + path for path in stale))
        made.append(Step("removing what the agent no longer has", words))
    return made


def _belongs(path: str) -> bool:
    return path.startswith("/lib/agent/") and path.endswith((".py", ".mpy"))


def _remove(title: str, folder: str) -> Step:
    return Step(title, ("resume", "fs", "rm", "-r", ":" + folder))


def _copies(order: Order, found: Found) -> list[Step]:
    made, growth = [], 0
    for package, title in (("umqtt", "copying umqtt.simple"), ("agent", "copying the agent")):
        if _wants(package, order, found):
            made.append(Step(title, order.parcel.words(package), timeout_s=_COPY_S))
            growth += _growth(order.parcel.files(package), found.files)
    for title, file, target in _singles(order, found):
        words = ("resume", "fs", "cp", parcel.local(file), ":" + target)
        made.append(Step(title, words))
        if file.exists():
            growth += _growth({target: file.stat().st_size}, found.files)
    if growth > found.free:
        raise Problem(
            f"the board has {found.free // 1024} KB free, and {growth // 1024 + 1} KB are to be "
            "copied: remove files of yours there (mpremote fs rm :FILE), then try again"
        )
    return made


def _wants(package: str, order: Order, found: Found) -> bool:
    if package == "agent":
        return not found.agent
    there = {path: size for path, size in found.files.items() if "/lib/umqtt/simple." in path}
    if found.umqtt or not there:
        return not found.umqtt
    # A copy from elsewhere stays; ours is compared again, and what may be half of one replaced.
    ours = order.parcel.files("umqtt")
    return found.cut or any(there.get(path) == size for path, size in ours.items())


def _singles(order: Order, found: Found) -> list[tuple[str, Path, str]]:
    singles = []
    if order.settings:
        singles.append(("copying the settings", order.settings, "/settings.json"))
    if order.main and (order.chosen or found.main in (None, parcel.starter_mark())):
        singles.append(("copying the program, main.py", order.main, "/main.held"))
    return singles


def _growth(files: dict[str, int], there: dict[str, int]) -> int:
    return sum(size - there.get(path, 0) for path, size in files.items())
