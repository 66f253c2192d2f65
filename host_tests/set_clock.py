"""A board whose clock a test sets, and it itself: real MicroPython under libfaketime.

mbedTLS in that process sees the same time as the program.
"""

import os
from pathlib import Path

from tools import debian, interpreters

# The `machine` of such a board: what its RTC is set to, libfaketime reads from a file.
_MACHINE = """
import os
import time

class RTC:
    def datetime(self, when):
        year, month, day, _, hours, minutes, seconds, _ = when
        wanted = time.mktime((year, month, day, hours, minutes, seconds, 0, 0))
        with open("offset") as file:
            offset = int(file.read()) + int(wanted - time.time())
        with open("offset.new", "w") as file:
            file.write("%+d" % offset)
        os.rename("offset.new", "offset")
"""


def interpreter(bits: int) -> interpreters.Interpreter:
    """A MicroPython that reads the offset of its clock from the file `offset` beside it.

    The one of the cache, whatever is installed: the two must go with one C library.
    """
    found = interpreters.fetch(bits)
    package = debian.program("libfaketime", "", debian.architecture(bits))
    library = next(Path(package[-1]).glob("usr/lib/*/faketime/libfaketime.so.1"))
    loader, *words = found.command
    command = [loader, "--preload", str(library), *words]
    return interpreters.Interpreter(command, found.bits, found.version)


def power_up(folder: Path, offset_s: int) -> dict[str, str]:
    """Make a board's clock differ from the real one by that; gives the environment to start it in."""
    folder.mkdir(exist_ok=True)
    (folder / "machine.py").write_text(_MACHINE)
    (folder / "offset").write_text(f"{offset_s:+d}")
    return {
        "TZ": "UTC",
        "FAKETIME_TIMESTAMP_FILE": str(folder / "offset"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PATH": os.environ["PATH"],
    }
