"""`deploy`: puts agent, settings and program on boards through mpremote, and waits till they are online.

Each step is one command line of mpremote; --dry-run prints them all.
"""

import argparse
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tools.report import Problem, say

_EPILOG = """settings: from --settings, --hub, these variables, the fleet's row; what comes later wins:
  %s
What is missing is asked for at the terminal; without any of these a board keeps the settings it has.

fleet: a table with a first line of columns: id, and of name, login, password, refresh_token, serial
(the board that a row is for) what is wanted. Which board has which row is noted in F.claims.

exit code: 0 the board is online, 1 it is not, and a sentence says what to do, 2 a wrong call"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from tools.deploy import wishes

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG % "\n  ".join(wishes.VARIABLES)
    add_port(parser)
    parser.add_argument("--settings", metavar="F", help="the settings, JSON")
    parser.add_argument("--hub", action="store_true", help="to the hub that `hub --lan` started")
    parser.add_argument(
        "--fleet", metavar="F", help="a table of devices, CSV: a row a board; see below"
    )
    parser.add_argument(
        "--again", action="store_true", help="also the fleet's boards that are done"
    )
    parser.add_argument("--main", metavar="F", help="the program, main.py; else a starter")
    parser.add_argument("--board", metavar="NAME", help="what it is, a folder of boards/")
    parser.add_argument("--source", action="store_true", help="copies .py instead of .mpy")
    parser.add_argument(
        "--wait", type=float, default=120, metavar="S", help="for online, default 120; 0: not"
    )
    add_dry_run(parser)
    parser.add_argument("--verbose", action="store_true", help="prints the steps it carries out")


def add_port(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port",
        action="append",
        metavar="PORT",
        help="auto (default), all, or what mpremote's connect takes; again for more boards",
    )


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="prints the steps and sends nothing"
    )


def run(args: argparse.Namespace) -> int:
    from tools import boards  # late, as all that follows: --help needs nothing installed
    from tools.deploy import dry, many, one, ports
    from tools.deploy.line import Line

    if args.board and args.board not in boards.names():
        raise Problem(f"--board: there is {', '.join(boards.names())}, not {args.board}", 2)
    words = args.port or (["all"] if args.fleet else ["auto"])
    if args.dry_run:
        wish = _wish(args, ask=False)
        return dry.show(dry.connects(words), wish, args.board)
    strings = ports.find(words)
    wish = _wish(args, ask=len(strings) == 1)
    with _ended_tidily():
        if len(strings) > 1:
            _check_many(wish)
            return many.run(strings, lambda line: one.deploy(line, wish), args.verbose)
        outcome = one.deploy(Line(strings[0], say, args.verbose), wish)
    print(f"{strings[0]}: {outcome}")
    return 0


@contextlib.contextmanager
def _ended_tidily() -> Iterator[None]:
    """Whatever ends this process in the ordinary ways leaves no file with secrets behind."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}
    for name, handler in before.items():
        if handler == signal.SIG_DFL:
            signal.signal(getattr(signal, name), _interrupt)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _wish(args: argparse.Namespace, ask: bool):
    from tools.deploy import wishes
    from tools.deploy.fleet import Fleet
    from tools.deploy.one import Wish
    from tools.deploy.parcel import Parcel

    if args.main and not Path(args.main).is_file():
        raise Problem(f"--main: there is no file {args.main}", 2)
    if not args.wait >= 0:
        raise Problem(f"--wait wants seconds, not {args.wait:g}", 2)
    parts = [
        wishes.from_file(args.settings) if args.settings else {},
        wishes.from_hub() if args.hub else {},
        wishes.from_environment(os.environ),
    ]
    return Wish(
        Parcel(args.source),
        wishes.merged(*parts) if any(parts) else None,
        bool(args.settings),
        ask,
        Path(args.main) if args.main else None,
        args.board,
        Fleet(Path(args.fleet), args.again) if args.fleet else None,
        args.wait,
    )


def _check_many(wish) -> None:
    if not wish.fleet and wish.settings and wish.settings.get("device", {}).get("id"):
        raise Problem("several boards, and one device.id for all: give them rows of a --fleet", 2)
