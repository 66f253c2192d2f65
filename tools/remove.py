"""`remove`: takes the agent off a board, with the settings and their credentials.

The owner's program stays, and so does the journal: a board that gets the agent again must remember
which commands it has run. --all takes both, and umqtt.simple.
"""

import argparse

from tools import deploy
from tools.report import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    deploy.add_port(parser)
    parser.add_argument(
        "--all", action="store_true", help="also main.py, the journal and umqtt.simple"
    )
    deploy.add_dry_run(parser)
    parser.add_argument("--verbose", action="store_true", help="prints the steps it carries out")


def run(args: argparse.Namespace) -> int:
    from tools.deploy import dry, many, ports, removal  # late: --help needs nothing installed
    from tools.deploy.line import Line

    words = args.port or ["auto"]
    if args.dry_run:
        return removal.show(dry.connects(words), args.all)
    strings = ports.find(words)
    if len(strings) > 1:
        return many.run(strings, lambda line: removal.remove(line, args.all), args.verbose)
    outcome = removal.remove(Line(strings[0], say, args.verbose), args.all)
    print(f"{strings[0]}: {outcome}")
    return 0
