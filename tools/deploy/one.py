"""One board's deploy, from the first question to the line that says it is online."""

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tools import boards
from tools.deploy import log, parcel, plan, ports, wishes
from tools.deploy.fleet import Fleet, Row, serial
from tools.deploy.line import Away, Line
from tools.deploy.parcel import Parcel
from tools.deploy.plan import Found, Order
from tools.places import CACHE
from tools.report import Problem

FOLDER = CACHE / "deploy"

_HOLDS = "The board waits, without a program, for the next deploy"


class Wish(NamedTuple):
    """What a person asked for, the same for all boards.

    settings: None: what the board has is kept; given by file, hub and environment. whole: they come
    from a file, which decides about Wi-Fi, too. ask: there may be questions at the terminal.
    wait_s: for "online"; 0 for not at all.
    """

    parcel: Parcel
    settings: dict | None
    whole: bool
    ask: bool
    main: Path | None
    board: str | None
    fleet: Fleet | None
    wait_s: float


def files(port: str) -> tuple[Path, Path]:
    """Where a board's settings and starter are for as long as its deploy takes."""
    name = re.sub(r"[^\w.-]", "_", port)
    return FOLDER / f"{name}.settings.json", FOLDER / f"{name}.main.py"


def deploy(line: Line, wish: Wish) -> str:
    """Deploys to one board; gives how it went, in a few words.

    Raises Problem, which says what to do.
    """
    who = line.ask(plan.WHO)
    version = ".".join(map(str, who["version"]))
    line.tell(f"{who['machine']}, MicroPython {version}, .mpy version {who['mpy']}")
    with _put_back(line):
        plan.check_firmware(who, wish.parcel)
        facts = _facts(wish.board, who)
        row, number = None, ""
        if wish.fleet:
            number = serial(_usb_serial(line.port), who["unique_id"])
            row = wish.fleet.claim(number)
        settings = None if wish.fleet and not row else _settings(wish, who, row)
    if wish.fleet and not row:
        _restart(line)
        return "done earlier"
    line.secrets = wishes.secrets(settings)
    outcome = _replace(line, wish, who["held"], facts, settings)
    if wish.fleet and row and wish.wait_s:
        wish.fleet.finish(number, row)
    return outcome


def _replace(line: Line, wish: Wish, cut: bool, facts: dict | None, settings: dict | None) -> str:
    with _laid_out(line.port, wish, facts, settings) as order, held(line):
        found = Found(**line.ask(plan.LOOK), cut=cut)
        _describe(line.tell, found)
        for step in plan.steps(order, found):
            _carry_out(line, step, order)
    return start(line, wish.wait_s)


@contextlib.contextmanager
def held(line: Line) -> Iterator[None]:
    """Has the board run no program; whoever is cut short in the block learns that it stays so."""
    line.run(plan.HOLD)
    try:
        yield
    except Problem as problem:
        end = "" if str(problem).endswith(("?", ".")) else "."
        raise type(problem)(f"{problem}{end} {_HOLDS}.", problem.code) from None
    except KeyboardInterrupt:
        line.tell(_HOLDS)
        raise


@contextlib.contextmanager
def _put_back(line: Line) -> Iterator[None]:
    """A board that is refused goes on with what it ran."""
    try:
        yield
    except BaseException:
        _restart(line)
        raise


def _restart(line: Line) -> None:
    with contextlib.suppress(Away):
        line.run(plan.RESTART)


def _facts(name: str | None, who: dict) -> dict | None:
    guessed = boards.guess(who["machine"])
    if name and guessed and name != guessed:
        raise Problem(f"the board says that it is {guessed}, and --board says {name}")
    chosen = name or guessed
    return boards.load(chosen) if chosen else None


def _usb_serial(port: str) -> str:
    kind, _, rest = port.partition(":")
    if kind == "id":
        return rest
    return next((each.serial for each in ports.attached() if each.device == port), "")


def _settings(wish: Wish, who: dict, row: Row | None) -> dict | None:
    if wish.settings is None and not row:
        if who["settings"]:
            return None
        settings, whole = {}, False
    else:
        settings, whole = (
            wishes.merged(wish.settings or {}, row.settings if row else {}),
            wish.whole,
        )
    return wishes.completed(settings, not whole, wish.ask)


@contextlib.contextmanager
def _laid_out(port: str, wish: Wish, facts: dict | None, settings: dict | None) -> Iterator[Order]:
    secret, program = files(port)
    with contextlib.ExitStack() as stack:
        if settings is not None:
            stack.enter_context(wishes.kept(json.dumps(settings), secret))
        if not wish.main:
            stack.enter_context(wishes.kept(parcel.starter(facts), program))
        yield Order(
            wish.parcel,
            None if settings is None else secret,
            wish.main or program,
            wish.main is not None,
        )


def _describe(tell: Callable[[str], None], found: Found) -> None:
    tell(
        f"{found.free // 1024} KB of flash free, {found.memory // 1024} KB of memory free, "
        f"epoch {found.epoch}"
    )
    if found.agent:
        tell(f"the firmware holds agent {found.agent}, which comes first: none is copied")
    if found.main not in (None, parcel.starter_mark()):
        tell("the board has a program of its own; --main replaces it")


def _carry_out(line: Line, step: plan.Step, order: Order) -> None:
    if step == plan.VERIFY:
        complaint = line.ask(step)["settings"]
        if complaint:
            raise Problem(f"the settings: {line.clean(complaint)}; mend them, then deploy again")
        return
    printed = line.run(step)
    for package in ("agent", "umqtt"):
        if step.words == order.parcel.words(package):
            same, all_files = printed.count("Up to date:"), len(order.parcel.files(package))
            line.tell(f"  {all_files - same} of {all_files} files copied")


def start(line: Line, wait_s: float) -> str:
    """Takes the hold away, resets, reads the log until the board is online; gives that in words.

    wait_s: 0 reads nothing. Raises Problem, with advice, for a board that is not online by then.
    """
    step = plan.FINISH
    line.announce(step)
    with log.Log(line.port, line.argv(step), line.environment(step)) as reading:
        if not any("restarting" in text for text in reading.lines(step.timeout_s, first=True)):
            raise Away(f"{line.port}: the board was not restarted: try again")
        if not wait_s:
            return "started"
        verdict = log.judge(reading.lines(wait_s), [])
    if verdict.online:
        return f"online as {verdict.device}" if verdict.device else "online"
    raise Problem(
        f"{line.port}: the board was started, but is not online: {line.clean(verdict.advice)}"
    )
