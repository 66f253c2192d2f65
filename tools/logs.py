"""`logs`: what a board prints, line by line, over its resets. Nothing is sent to it."""

import argparse

from tools import deploy
from tools.report import Problem, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    deploy.add_port(parser)
    parser.add_argument("--seconds", type=float, metavar="S", help="ends after so long")
    parser.add_argument("--until", metavar="TEXT", help="ends with the first line that holds it")


def run(args: argparse.Namespace) -> int:
    """Gives 0, and 1 when --until did not come within --seconds."""
    from tools.deploy import log, ports  # late: --help needs nothing installed

    found = ports.find(args.port or ["auto"])
    if len(found) > 1:
        raise Problem("logs reads one board at a time: name its port", 2)
    say(f"reading {found[0]}; Ctrl-C ends it")
    with log.Log(found[0]) as reading:
        for line in reading.lines(args.seconds):
            print(line, flush=True)
            if args.until and args.until in line:
                return 0
    return 1 if args.until else 0
