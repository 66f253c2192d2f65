"""A board's processor: MicroPython as a process, and what its program asks of the outside."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import termios

from host_tests.device_interrupt import Interrupt

# What machine.reset_cause() says after each; an RP2 resets itself by its watchdog, and a soft reset
# is none to it.
_CAUSES = {
    "esp32": {"power": 1, "reset": 2, "watchdog": 3, "crash": 3, "deepsleep": 4, "soft": 5},
    "rp2": {"power": 1, "reset": 3, "watchdog": 3, "crash": 3, "deepsleep": 3},
}


def waiting(fd):
    """How many bytes are there to be read."""
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


def take(fd):
    """All that is there to be read."""
    count = waiting(fd)
    return os.read(fd, count) if count else b""


def reset_cause(platform, starts):
    """What machine.reset_cause() gives after these starts."""
    numbers = _CAUSES[platform]
    return next(numbers[cause] for cause in reversed(starts) if cause in numbers)


class Board:
    """One life of the interpreter.

    argv: of the interpreter, up to the descriptor that the firmware's stub reads from
    facts: for the stub
    """

    def __init__(self, argv, env, facts):
        stdin, self._stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        self.line, line = socket.socketpair()
        # Kept open: what the program did not read belongs to the REPL.
        self._untyped = stdin
        os.set_blocking(self._stdin, False)
        self._process = subprocess.Popen(
            [*argv, str(line.fileno())],
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stdout,
            pass_fds=[line.fileno()],
            start_new_session=True,
        )
        os.close(stdout)
        line.close()
        facts = json.dumps(facts).encode()
        self.line.sendall(len(facts).to_bytes(4, "little") + facts)
        self._received = b""
        self._begun = False
        self.interrupted = None  # an Interrupt that is on its way

    def end(self):
        """Take the power away."""
        self._process.kill()
        self._process.wait()
        os.close(self._stdin)
        os.close(self._untyped)
        os.close(self.stdout)
        self.line.close()

    def run(self, kind, source):
        """Have a block run: b"X" as a file, b"S" as a line, b"F" a file's name."""
        self._begun = False
        self.line.sendall(kind + len(source).to_bytes(4, "little") + source)

    def interrupt(self):
        """Raise KeyboardInterrupt in what runs, or in what is about to run."""
        self.interrupted = self.interrupted or Interrupt(self._process.pid)

    def deliver(self):
        """See whether an interrupt can be delivered now."""
        if self._begun and self.interrupted and self.interrupted.deliver():
            self.interrupted = None

    def type_in(self, data):
        """Put bytes where a program reads them; as on a board, what is too much is lost."""
        try:
            os.write(self._stdin, data)
        except BlockingIOError:
            pass

    def untyped(self):
        """Take back what the program did not read."""
        return take(self._untyped)

    def printed(self):
        """What was printed since the last time."""
        return take(self.stdout)

    def told(self):
        """The messages that have arrived: (kind, data). Raises EOFError when the process is gone."""
        try:
            data = self.line.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError
        self._received += data
        while len(self._received) >= 5:
            size = 5 + int.from_bytes(self._received[1:5], "little")
            if len(self._received) < size:
                return
            kind, data = self._received[:1], self._received[5:size]
            self._received = self._received[size:]
            if kind == b"B":
                self._begun = True
            elif kind == b"E":
                self._begun = False
                if data != b"-":
                    self.interrupted = None
            yield kind, data
