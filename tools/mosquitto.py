"""Finds mosquitto, a real MQTT broker for tests, or fetches it."""

import shutil

from tools import debian
from tools.report import Problem


def find() -> list[str]:
    """The start of a command line for the broker: the installed one, or one from the cache.

    Raises Problem when there is neither.
    """
    # Debian puts it where the PATH of an ordinary user does not lead.
    installed = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if installed:
        return [installed]
    if not debian.available():
        raise Problem("mosquitto is missing: install it with this system's package manager.")
    return debian.program("mosquitto", "usr/sbin/mosquitto", debian.architecture())
