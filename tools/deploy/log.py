"""A board's log, line by line, over its resets; and what to do when it tells no good news."""

import queue
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from tools.deploy import ports
from tools.deploy.line import interrupted
from tools.places import ROOT

_READ_S = 0.2
_PAUSE_S = 0.05

# A byte of noise from a board that starts can end what mpremote shows, and it waits for another.
_QUIET_S = 3

_TIME = r"^\d+\.\d{3} [A-Z]+ "


class Log:
    """Reads what a board prints; `with Log(...)` ends the reading.

    port: what mpremote's `connect` takes. argv: a command line of mpremote's that restarts the board
    and prints what comes; so nothing is missed where the port stays open over a reset. The port
    itself is read after that, and opened again whenever it went away. Nothing is sent to the board.
    """

    def __init__(self, port: str, argv: list[str] | None = None, env: dict | None = None):
        self._port = port
        self._argv = argv
        self._env = env
        self._lines: queue.Queue[str] = queue.Queue()
        self._stop = threading.Event()
        self._handed_over = threading.Event()
        self._process: subprocess.Popen | None = None
        self._rest = b""

    def __enter__(self) -> "Log":
        if self._argv:
            self._process = subprocess.Popen(
                self._argv,
                cwd=ROOT,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._process:
            self._process.terminate()
            self._process.wait()
        self._thread.join(5)

    def lines(self, seconds: float | None, first: bool = False) -> Iterator[str]:
        """The lines as they come, for so many seconds; None: for ever.

        first: only those of the command line that restarts the board.
        """
        heard = time.monotonic()
        end = None if seconds is None else heard + seconds
        while not interrupted.is_set() and (end is None or time.monotonic() < end):
            try:
                # The pause lets Ctrl-C through on every system.
                yield self._lines.get(timeout=_READ_S)
                heard = time.monotonic()
            except queue.Empty:
                if first and self._handed_over.is_set():
                    return
                if self._process and not first and time.monotonic() - heard > _QUIET_S:
                    self._process.terminate()

    def _read(self) -> None:
        if self._process:
            while data := self._process.stdout.read1():
                self._take(data)
        self._handed_over.set()
        while not self._stop.is_set():
            try:
                self._read_port()
            except OSError:  # pyserial's exception is one
                self._stop.wait(_PAUSE_S)

    def _read_port(self) -> None:
        import serial  # needs the environment

        port = serial.serial_for_url(
            ports.device(self._port), baudrate=115200, timeout=_READ_S, do_not_open=True
        )
        port.open()
        try:
            while not self._stop.is_set():
                self._take(port.read(max(1, port.in_waiting)))
        finally:
            _close(port)

    def _take(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            text = line.decode("utf-8", "replace").replace("\x04", "").strip("\r")
            if text.strip():
                self._lines.put(text)


def _close(port) -> None:
    # In this order an ESP32's adapter does not take it for the reset button.
    try:
        port.rts = False
        port.dtr = False
    except (OSError, AttributeError):
        pass  # sockets and terminals of this machine have no such lines
    port.close()


class Verdict(NamedTuple):
    """How a start went: whether the board is online, under which id if it told, or what to do."""

    online: bool
    device: str
    advice: str


def judge(lines: Iterator[str], seen: list[str]) -> Verdict:
    """Reads a board's log until it is online, can't be any more, or the lines end.

    seen: takes the lines read.
    """
    for line in lines:
        seen.append(line)
        # USB comes up after the program, so the first lines may be lost: the second proof is that
        # the watchdog starts, with the first session that lasted.
        if found := re.search(r"session \d+: online as (\S+)|watchdog: started", line):
            return Verdict(True, found[1] or "", "")
        # The prompt comes up: whatever program there was has ended.
        if re.match(r"(>>> )?MicroPython v", line):
            break
    return Verdict(False, "", advice(seen))


def advice(lines: list[str]) -> str:
    """A sentence on what to do, from the log of a board that did not come online."""
    joined = any(re.search(_TIME + r"network: \d+\.\d+", line) for line in lines)
    for tier in _ADVICE:
        for line in reversed(lines):  # what came last tells most
            for pattern, sentence in tier:
                if found := re.search(pattern, line):
                    wifi = "Wi-Fi is joined, but " if joined else ""
                    return wifi * sentence.startswith("{") + sentence.format(*found.groups())
    if not lines:
        return (
            "it printed nothing: does its main.py start the agent? `python3 -m tools logs` listens"
        )
    return "the last it printed was: " + lines[-1]


_SILENCE = "the connection was refused|there was no answer in time|there is no route to it"
_SILENCE += "|the connection was closed"

_FIREWALL = """{0} does not answer on port {1} ({2}): does it run there, in a network that the board \
reaches, and does its firewall let TCP port {1} in (Linux: sudo ufw allow {1}/tcp; Windows, macOS: \
allow Python to take connections)?"""

_ADVICE = (
    (
        (
            r"(no Wi-Fi joined.*); next try",
            "no network: {0}. Check network.ssid and network.password; boards want 2.4 GHz",
        ),
        (_TIME + r"settings: (.+)", "the settings: {0}"),
        (_TIME + rf"session: (\S+):(\d+): ({_SILENCE})", _FIREWALL),
        (
            _TIME + r"session: (\S+): its name could not be resolved",
            "{0}: the name could not be resolved: check the settings' host, the network's DNS",
        ),
        (_TIME + r"session: (\S+:\d+): (.+); next try", "{0}: {1}"),
        (_TIME + r"boot: (no handlers after.+)", "its program crashed again and again: {0}"),
    ),
    ((r"^(\w*(?:Error|Exception|Interrupt)\b.*)", "its program ended: {0}"),),
    (
        (r"^(?:>>> )?MicroPython v", "its program ended: does main.py start the agent?"),
        (
            _TIME + r"network: joining (\S+)",
            "it is still joining the Wi-Fi {0}: is that in reach? --wait waits longer",
        ),
    ),
)
