"""DeviceHive's own client libraries, unmodified, for the tests that drive the hub with them.

Each is put into a folder of its own in the cache, by pip or npm with the person's own
configuration. The versions of the JavaScript one and of all that it needs are pinned, with their
hashes, in `package-lock.json` beside this file; those of the Python one in `requirements.txt`.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tools import environment
from tools.places import CACHE, locked
from tools.report import Problem, say

_HERE = Path(__file__).parent
_NPM_FILES = ("package.json", "package-lock.json")


def python() -> Path:
    """The folder that holds the Python library and what it needs; for PYTHONPATH.

    Raises Problem when it cannot be had.
    """
    requirements = environment.pinned("client")
    # A part of it is compiled for one version of Python.
    key = "\n".join([*requirements, "%d.%d" % sys.version_info[:2]])

    def install(folder: Path) -> None:
        environment.pip_install(["--target", str(folder), *requirements])

    return _folder("python", key.encode(), install)


def javascript() -> Path:
    """The folder that holds the JavaScript library and what it needs; for NODE_PATH.

    Raises Problem when Node.js or npm is missing, or the library cannot be had.
    """
    node()
    pins = b"".join((_HERE / name).read_bytes() for name in _NPM_FILES)
    return _folder("javascript", pins, _npm_install) / "node_modules"


def node() -> str:
    """The path of Node.js; Problem where it or npm is missing."""
    found = shutil.which("node")
    if not found or not shutil.which("npm"):
        missing = "npm" if found else "Node.js"
        raise Problem(
            f"{missing} is missing, and DeviceHive's JavaScript client needs Node.js 20 or newer "
            "with npm: install them (Debian, Ubuntu: sudo apt install nodejs npm)."
        )
    return found


def _folder(language: str, pins: bytes, install: Callable[[Path], None]) -> Path:
    """The folder for these pins; made beside first, then renamed."""
    folder = CACHE / "clients" / f"{language}-{hashlib.sha256(pins).hexdigest()[:12]}"
    if not folder.is_dir():
        with locked("clients"):
            if not folder.is_dir():
                say(f"fetching DeviceHive's {language} client")
                beside = folder.with_name(folder.name + ".part")
                shutil.rmtree(beside, ignore_errors=True)
                beside.mkdir(parents=True)
                install(beside)
                beside.rename(folder)
    return folder


def _npm_install(folder: Path) -> None:
    for name in _NPM_FILES:
        shutil.copyfile(_HERE / name, folder / name)
    # `ci` takes exactly what the lock file names; none of it gets to run a script.
    argv = [shutil.which("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        argv,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_UPDATE_NOTIFIER": "1"},
    )
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines()
        errors = [line for line in lines if line.startswith("npm error") and line[9:].strip()]
        reason = (errors or lines or ["nothing"])[0]
        raise Problem(
            "DeviceHive's JavaScript client could not be fetched; is the network there? "
            f"npm says: {reason}"
        )
