"""Where things are: the checkout, and the folders in it that the tools make for themselves."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tools.report import say

try:
    import fcntl
except ImportError:  # Windows; two set-ups at the same time are not guarded there
    fcntl = None

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
ENVIRONMENT = ROOT / ".venv"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Keeps other processes out of the work called `name` for as long as the block runs.

    The lock is the kernel's, on a file that stays: it goes with the process, however that ends.
    """
    CACHE.mkdir(exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as file:
        if fcntl:
            _wait_for(file, name)
        yield


def _wait_for(file, name: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"waiting: another process is busy with {name}")
        fcntl.flock(file, fcntl.LOCK_EX)
