"""A real MQTT broker for tests."""

import getpass
import socket
from pathlib import Path

from host_tests.processes import Child
from tools import mosquitto


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Mosquitto:
    """One broker on one port; it can be stopped and started again there.

    folder: for its configuration file. lines: further configuration, see mosquitto.conf(5);
    without any, everybody may connect. A line of `log_type` says what it prints; without one it
    is everything, each packet included.
    """

    def __init__(self, folder: Path, *lines: str):
        self.port = free_port()
        self._file = folder / "mosquitto.conf"
        # Started by root it would change to a user that a machine without the package lacks.
        head = [f"listener {self.port} 127.0.0.1", f"user {getpass.getuser()}"]
        self._file.write_text("\n".join([*head, *(lines or ["allow_anonymous true"])]) + "\n")
        self._verbose = [] if any("log_type" in line for line in lines) else ["-v"]
        self.process: Child | None = None

    def start(self) -> "Mosquitto":
        """Returns when the broker listens; AssertionError with its output when it does not."""
        self.process = Child([*mosquitto.find(), *self._verbose, "-c", str(self._file)])
        self.process.await_line(r"mosquitto version \S+ running")
        return self

    def stop(self) -> None:
        if self.process and self.process.running:
            self.process.stop()

    def restart(self) -> "Mosquitto":
        self.stop()
        return self.start()
