"""`agent`: runs an agent on MicroPython's unix port, in a folder of its own."""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

from tools import bytecode, interpreters
from tools.places import CACHE
from tools.report import Problem

STARTER = Path(__file__).with_name("starter.py")


class Launch(NamedTuple):
    """How to start an agent: the arguments of subprocess.Popen."""

    argv: list[str]
    cwd: Path
    env: dict[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--settings", required=True, metavar="F", help="the settings, JSON")
    parser.add_argument("--main", default=STARTER, metavar="F", help="the program, main.py")
    parser.add_argument("--heap", default="96k", help="heap size, default 96k")
    parser.add_argument("--micropython", metavar="PATH", help="the interpreter to use")


def run(args: argparse.Namespace) -> int:
    if not re.fullmatch(r"[1-9]\d*[kKmM]?", args.heap):
        raise Problem(f"--heap wants a size like 96k or 1m, not {args.heap!r}", 2)
    if not Path(args.main).is_file():
        raise Problem(f"--main: there is no file {args.main}", 2)
    settings = Path(args.settings)
    interpreter = interpreters.find(path=args.micropython)
    folder = CACHE / "agents" / device_name(settings)
    return _stay_with(launch(settings, Path(args.main), folder, args.heap, interpreter))


def device_name(settings: Path) -> str:
    """The device's id, fit for a folder's name; `agent` where the file does not tell."""
    try:
        device = json.loads(settings.read_text())["device"]["id"]
    except (OSError, ValueError, KeyError, TypeError):
        return "agent"
    return re.sub(r"[^\w-]", "_", str(device)) or "agent"


def launch(
    settings: dict | Path,
    main: Path,
    folder: Path,
    heap: str = "96k",
    interpreter: interpreters.Interpreter | None = None,
) -> Launch:
    """Lays out an agent's folder as a board's file system and says how to start it.

    settings: the contents or the file; a file that is not there stays away, so that the agent
    itself says what is missing. folder: made if need be; what an earlier run left there stays.
    interpreter: by default the 32-bit one. Raises Problem when something cannot be fetched.
    """
    interpreter = interpreter or interpreters.find(32)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(main, folder / "main.py")
    _put_settings(settings, folder / "settings.json")
    path = f"{folder}:{bytecode.compiled()}:.frozen"
    return Launch(
        interpreter.argv("main.py", heap=heap), folder, {**os.environ, "MICROPYPATH": path}
    )


def _put_settings(settings: dict | Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    if isinstance(settings, dict):
        target.write_text(json.dumps(settings))
    elif settings.is_file():
        shutil.copyfile(settings, target)


def _stay_with(plan: Launch) -> int:
    """Runs the agent until it ends or is interrupted; gives the exit code.

    The agent does not get the terminal's Ctrl-C: its traceback would be all that is seen of it.
    Whatever ends this process in the ordinary ways ends the agent too.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, _interrupt)
    agent = subprocess.Popen(
        plan.argv, cwd=plan.cwd, env=plan.env, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return agent.wait()
    finally:
        agent.kill()
        agent.wait()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
