"""`test`: all tests; what they run on is fetched first, so that no test waits for a download."""

import argparse
import os
import subprocess
import sys

from tools import clients, interpreters, mosquitto, umqtt
from tools.places import ROOT
from tools.report import Problem, say

HANDS_ON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "All further words go to pytest: -k WORDS, -x, a file, a test's id."


def run(args: argparse.Namespace) -> int:
    for bits in (64, 32):
        _prepare(lambda bits=bits: str(interpreters.find(bits)))
    _prepare(lambda: f"umqtt.simple {umqtt.VERSION} in {umqtt.folder().relative_to(ROOT)}")
    _prepare(lambda: "mosquitto: " + mosquitto.find()[-1])
    for client in (clients.python, clients.javascript):
        _prepare(lambda client=client: f"client of DeviceHive: {client().relative_to(ROOT)}")
    return subprocess.call([sys.executable, "-m", "pytest", *args.rest], cwd=ROOT)


def _prepare(look) -> None:
    """On CI everything has to be there; a person's machine tests with what it can have."""
    try:
        say(look())
    except Problem as problem:
        if os.environ.get("CI") == "true":
            raise
        say(f"going on without: {problem}")
