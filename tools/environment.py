"""The Python environment of the tools: `.venv` in the checkout, made on the first run.

One small file in it, the stamp, says for which requirements and which Python it was made. The
stamp is written before anything else as "unfinished" and with its value after everything else. So
a set-up that was cut off shows as such and is begun again from nothing, and a `.venv` without a
stamp is somebody else's and is left alone.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections import deque
from pathlib import Path

from tools.places import ENVIRONMENT, REQUIREMENTS, ROOT, locked
from tools.report import Problem, Ticker, say

STAMP = ENVIRONMENT / "heed-stamp"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def enter(words: list[str]) -> None:
    """Goes on inside the environment: returns there, and nowhere else.

    words: the command line to run again inside, the verb first.
    Raises Problem when the environment cannot be made.
    """
    inside = Path(sys.prefix).resolve() == ENVIRONMENT.resolve()
    if inside and _stands():
        return
    # From inside, an outdated environment cannot be replaced: the Python it was made with does it.
    python = sys._base_executable if inside else _prepared()
    _become([str(python), "-m", "tools", *words])


def _prepared() -> Path:
    if not _stands():
        with locked("set-up"):
            if not _stands():  # while this process waited, the other one may have done it
                _make()
    return PYTHON


def _become(argv: list[str]) -> None:
    if os.name == "nt":  # exec there returns to the prompt at once
        sys.exit(subprocess.call(argv))
    sys.stdout.flush()
    os.execv(argv[0], argv)


def _stamp() -> str:
    version = "%d.%d" % sys.version_info[:2]
    return hashlib.sha256(version.encode() + REQUIREMENTS.read_bytes()).hexdigest()


def _stands() -> bool:
    try:
        return STAMP.read_text() == _stamp() and PYTHON.exists()
    except OSError:
        return False


def _make() -> None:
    say(f"setting up {ENVIRONMENT.name} (once; about 20 seconds)")
    _clear()
    ENVIRONMENT.mkdir()
    STAMP.write_text("unfinished")
    _make_venv()
    pip_install(["-r", str(REQUIREMENTS)], PYTHON)
    STAMP.write_text(_stamp())


def _clear() -> None:
    if not ENVIRONMENT.exists():
        return
    if any(ENVIRONMENT.iterdir()) and not STAMP.exists():
        raise Problem(f"{ENVIRONMENT} was not made by these tools: move it away, then try again.")
    shutil.rmtree(ENVIRONMENT)


def _make_venv() -> None:
    advice = (
        "install it (Debian, Ubuntu: sudo apt install python%d.%d-venv)" % sys.version_info[:2]
    )
    if not importlib.util.find_spec("ensurepip") or not importlib.util.find_spec("venv"):
        raise Problem(f"This Python comes without its `venv` module: {advice}, then try again.")
    made = subprocess.run(
        [sys.executable, "-m", "venv", str(ENVIRONMENT)], capture_output=True, text=True
    )
    if made.returncode:
        raise Problem(f"`python3 -m venv` failed: {_last_line(made.stdout + made.stderr)}")


def pip_install(words: list[str], python: Path | str = sys.executable) -> None:
    """Runs `pip install` with the person's own pip configuration.

    words: what to install and where. python: into whose environment.
    Raises Problem with pip's own last word when it fails.
    """
    argv = [str(python), "-m", "pip", "install", "--progress-bar", "off", "--no-input", *words]
    tail: deque[str] = deque(maxlen=40)
    pip = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    with pip, Ticker() as ticker:
        for line in pip.stdout:
            tail.append(line.strip())
            ticker.show("  " + line.strip())
    if pip.returncode:
        raise Problem(
            "The packages could not be installed; is the network there? pip says: "
            + _last_line("\n".join(tail))
        )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["nothing"])[-1]


def pinned(extra: str) -> list[str]:
    """The pinned requirements of one extra, without their marker: what `check` fetches late."""
    marker = f'; extra == "{extra}"'
    lines = REQUIREMENTS.read_text().splitlines()
    return [line.removesuffix(marker) for line in lines if line.endswith(marker)]
