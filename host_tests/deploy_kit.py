"""A hub, a board and `python3 -m tools deploy` between them, for tests."""

import json
import os
import sys

from host_tests.device import PICO_W, Device
from host_tests.processes import Child
from tools import __main__ as door
from tools.deploy import line
from tools.places import ROOT

# Its connection stays over a reset, so that none of its log is lost.
BOARD = PICO_W._replace(usb=False)

PASSWORD = "wifi-Secret-1"
TOKEN = "hive-Secret-2"


class Hub:
    """A hub in a process of its own; `with Hub() as hub` stops it."""

    def __init__(self):
        words = ("hub", "--mqtt-port", "0", "--http-port", "0", "--json", "--password", TOKEN)
        self._child = Child([sys.executable, "-m", "tools", *words], cwd=ROOT)

    def __enter__(self):
        found = json.loads(self._child.await_line(r"^\{.*\}$")[0])
        self.port = found["mqtt_port"]
        return self

    def __exit__(self, *_):
        self._child.stop()

    def settings(self, device="board-1"):
        """Settings of an agent for this hub."""
        return {
            "device": {"id": device},
            "network": {"ssid": "home", "password": PASSWORD},
            "devicehive": {
                "host": "127.0.0.1",
                "port": self.port,
                "login": "heed",
                "password": TOKEN,
            },
        }


class Desk:
    """Where a person sits who deploys: a folder for files, and what the tools answered.

    capsys: pytest's; patches: a pytest.MonkeyPatch
    """

    def __init__(self, folder, hub, capsys, patches):
        self.folder = folder
        self.hub = hub
        self.out = self.err = ""
        self._capsys = capsys
        self.patches = patches
        for name in list(os.environ):
            if name.startswith("HEED_"):
                patches.delenv(name)

    def put(self, name, text):
        """A file of that text, or of that JSON; gives its path as a word."""
        file = self.folder / name
        file.write_text(text if isinstance(text, str) else json.dumps(text))
        return str(file)

    def tools(self, *words):
        """Runs a verb; gives its exit code. `out` and `err` hold what it printed."""
        code = door.main([str(word) for word in words])
        self.out, self.err = self._capsys.readouterr()
        return code

    def deploy(self, device, *words, settings=None, wait=20):
        """Deploys with the hub's settings; gives the exit code."""
        file = self.put("settings.json", settings or self.hub.settings())
        common = ("--port", device.port, "--settings", file, "--wait", wait)
        return self.tools("deploy", *common, *words)

    def at(self, title, act, port=None):
        """Has `act` called once, right before the step of that title, on any port or this one."""
        announce, left = line.Line.announce, [act]

        def announced(self, step):
            announce(self, step)
            if step.title == title and port in (None, self.port) and left:
                left.pop()()

        self.patches.setattr(line.Line, "announce", announced)


def lines(text):
    """The command lines of mpremote in what was printed, without the words round them."""
    words = ("mpremote ", "TZ=UTC0 mpremote ")
    return [each for each in text.splitlines() if each.startswith(words)]


def files(device, folder="", without=("journal",)):
    """The files of a device: {path: (content, when it was written)}."""
    root = device.folder / folder
    return {
        file.relative_to(device.folder).as_posix(): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in sorted(root.rglob("*"))
        if file.is_file() and file.relative_to(device.folder).parts[0] not in without
    }


def contents(device, folder="", without=("journal",)):
    """The files of a device: {path: content}."""
    return {path: content for path, (content, _) in files(device, folder, without).items()}


def remember(device):
    """Has the board's journal hold something, while no agent runs that would tidy it up."""
    (device.folder / "journal").mkdir(exist_ok=True)
    (device.folder / "journal" / "memory").write_text("kept")


__all__ = [
    "BOARD",
    "PASSWORD",
    "TOKEN",
    "Desk",
    "Device",
    "Hub",
    "contents",
    "files",
    "lines",
    "remember",
]
