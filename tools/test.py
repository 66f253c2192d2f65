"""`test`: all tests; what they run on is fetched first, so that no test waits for a download.

With --port the board test alone, on a board.
"""

import argparse
import os
import socket
import subprocess
import sys

from tools import clients, interpreters, mosquitto, umqtt
from tools.places import ROOT
from tools.report import Problem, say

HANDS_ON = True

_KEY = "HEED_NETWORK_PASSWORD"

# In seconds; emulated boards are slow.
_LONGEST = 3600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "All further words go to pytest: -k WORDS, -x, a file, a test's id."
    board = parser.add_argument_group("the board test, alone, on a board")
    board.add_argument(
        "--port", metavar="CONNECT", help="auto, or what mpremote's connect takes: the board"
    )
    board.add_argument(
        "--hub-host", metavar="ADDRESS", help="this machine's address, as the board sees it"
    )
    board.add_argument("--ssid", metavar="S", help="the Wi-Fi for the board to join")
    board.add_argument("--wifi-key", metavar="K", help=f"its password; or {_KEY} is set")


def run(args: argparse.Namespace) -> int:
    if args.port:
        return _on_a_board(args)
    if args.hub_host or args.ssid or args.wifi_key:
        raise Problem("--hub-host, --ssid and --wifi-key go with --port CONNECT", 2)
    for bits in (64, 32):
        _prepare(lambda bits=bits: str(interpreters.find(bits)))
    _prepare(lambda: f"umqtt.simple {umqtt.VERSION} in {umqtt.folder().relative_to(ROOT)}")
    _prepare(lambda: "mosquitto: " + mosquitto.find()[-1])
    for client in (clients.python, clients.javascript):
        _prepare(lambda client=client: f"client of DeviceHive: {client().relative_to(ROOT)}")
    return subprocess.call([sys.executable, "-m", "pytest", *args.rest], cwd=ROOT)


def _on_a_board(args: argparse.Namespace) -> int:
    from tools.deploy import ports

    _check_host(args.hub_host)
    key = os.environ.get(_KEY) if args.wifi_key is None else args.wifi_key
    if args.ssid and key is None:
        raise Problem(f"--ssid wants its --wifi-key, or {_KEY} set (empty: an open network)", 2)
    found = ports.find([args.port])
    if len(found) > 1:
        raise Problem("the board test takes one board at a time: name its port", 2)
    words = ["host_tests/test_board.py", "-k", "test_p1", "-s"]
    words += ["-o", f"faulthandler_timeout={_LONGEST}"]
    words += ["--port", found[0], "--hub-host", args.hub_host]
    words += ["--ssid", args.ssid] if args.ssid else []
    # Other users of this machine see a command line, and no environment.
    env = {**os.environ, _KEY: key or ""}
    return subprocess.call([sys.executable, "-m", "pytest", *words, *args.rest], cwd=ROOT, env=env)


def _check_host(host: str | None) -> None:
    if not host:
        raise Problem("--hub-host is missing: this machine's address, as the board sees it", 2)
    try:
        socket.create_server((host, 0)).close()
    except OSError:
        raise Problem(f"--hub-host: {host} is no address of this machine", 2) from None


def _prepare(look) -> None:
    """On CI everything has to be there; a person's machine tests with what it can have."""
    try:
        say(look())
    except Problem as problem:
        if os.environ.get("CI") == "true":
            raise
        say(f"going on without: {problem}")
