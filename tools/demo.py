"""`demo`: the main job from end to end, on this machine alone.

A hub stands for the cloud and MicroPython for the board. Each command is inserted over REST,
reaches the agent over MQTT, and its outcome is read back over REST.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from tools.report import Problem, say

BOARD = Path(__file__).with_name("demo_board.py")
DEVICE = "demo-board"
LOGIN = "heed"

_START_S = 20
_OUTCOME_S = 15

# What is sent, and what must become of it. The third one waits behind the second for longer
# than it may.
SCRIPT = (
    ("pump", {"seconds": 1}, 30, "succeeded"),
    ("pump", {"seconds": 3}, 30, "succeeded"),
    ("pump", {"seconds": 1}, 2, "expired"),
    ("pump", {"seconds": 500}, 30, "rejected"),
    ("dance", None, 30, "unknown"),
    ("calibrate", {"reading": 0}, 30, "failed"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stay", action="store_true", help="keep hub and agent running")
    parser.add_argument("--heap", default="96k", help="the board's heap, default 96k")
    parser.add_argument("--micropython", metavar="PATH", help="the interpreter to use")


def run(args: argparse.Namespace) -> int:
    """Returns 0 when each command had the outcome that the demo expects, else 1."""
    from tools import interpreters  # late: --help needs nothing installed

    bits = None if args.micropython else 32
    interpreter = interpreters.find(bits, args.micropython)
    with tempfile.TemporaryDirectory(prefix="heed-demo-") as folder:
        try:
            return asyncio.run(_demo(args, interpreter, Path(folder)))
        except KeyboardInterrupt:
            return 130


async def _demo(args, interpreter, folder: Path) -> int:
    from tools.hub.hub import Hub
    from tools.rest import REST

    async with Hub(login=LOGIN, password=LOGIN) as hub, REST(hub.rest, LOGIN, LOGIN) as rest:
        say(f"the cloud: a hub on this machine, MQTT port {hub.mqtt_port}, REST {hub.rest}")
        say(f"the board: {interpreter}, {args.heap} heap")
        board = await _start_board(hub, interpreter, folder, args.heap)
        try:
            await rest.login()
            await _online(rest, board, folder / "log")
            commands = await _send_all(rest)
            good = _show(commands)
            if args.stay:
                await _stay(hub, board)
        finally:
            if board.returncode is None:
                board.kill()
            await board.wait()
    return 0 if good else 1


async def _start_board(hub, interpreter, folder: Path, heap: str):
    from tools.agent import launch

    settings = {
        "device": {"id": DEVICE, "name": "Demo board"},
        "cloud": "devicehive",
        "devicehive": {
            "host": hub.host,
            "port": hub.mqtt_port,
            "login": LOGIN,
            "password": LOGIN,
        },
    }
    plan = launch(settings, BOARD, folder, heap, interpreter)
    # The table tells it better; the log is looked at when something went wrong.
    log = os.open(folder / "log", os.O_CREAT | os.O_WRONLY)
    try:
        return await asyncio.create_subprocess_exec(
            *plan.argv, cwd=plan.cwd, env=plan.env, stdout=log, stderr=log
        )
    finally:
        os.close(log)


async def _online(rest, board, log: Path) -> None:
    """Waits until the board has registered itself and listens: its first command is answered."""
    from tools.rest import Refused

    for _ in range(_START_S * 10):
        if board.returncode is not None:
            raise Problem("the agent ended before it was online; it said:\n" + _said(log))
        try:
            await rest.insert(DEVICE, "hello", None, 1)
            return
        except Refused as refused:
            if refused.status != 404:
                raise
        await asyncio.sleep(0.1)
    raise Problem(f"the agent was not online within {_START_S} s; it said:\n" + _said(log))


def _said(log: Path) -> str:
    return log.read_text(errors="replace")


async def _send_all(rest) -> list:
    sent = [await rest.insert(DEVICE, *entry[:3]) for entry in SCRIPT]
    return await asyncio.gather(
        *(rest.wait(DEVICE, command["id"], _OUTCOME_S) for command in sent)
    )


def _show(commands: list) -> bool:
    """Prints a row a command; returns whether each status is the expected one."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="What became of each command")
    for heading in ("command", "parameters", "lifetime", "after", "status", "result"):
        table.add_column(heading, overflow="fold")
    good = True
    for command, (name, parameters, lifetime, expected) in zip(commands, SCRIPT, strict=True):
        status = command["status"] if command else "no answer"
        good = good and status == expected
        table.add_row(
            name,
            "" if parameters is None else json.dumps(parameters),
            f"{lifetime} s",
            _seconds(command),
            status if status == expected else f"{status}, expected {expected}",
            json.dumps(command["result"]) if command else "",
        )
    # A pipe has no width of its own, and a folded table is hard to read in a log.
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return good


def _seconds(command: dict | None) -> str:
    from datetime import datetime

    if not command:
        return ""
    inserted, answered = (
        datetime.fromisoformat(command[key]) for key in ("timestamp", "lastUpdated")
    )
    return f"{(answered - inserted).total_seconds():.3f} s"


async def _stay(hub, board) -> None:
    say("hub and agent stay until Ctrl-C. From another terminal:")
    print(f"  python3 -m tools send {DEVICE} pump '{{\"seconds\": 2}}' --url {hub.rest}")
    sys.stdout.flush()
    await board.wait()
    raise Problem("the agent ended")
