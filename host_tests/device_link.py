"""The wire between mpremote and a device: a TCP socket or a pseudo-terminal."""

import os
import pty
import socket
import tempfile
import tty
from pathlib import Path

# What waits to be sent while the program may go on printing; a real line is no larger.
_BUFFER = 4096


class SocketLink:
    """Listens on a port of 127.0.0.1, for one caller at a time."""

    def __init__(self):
        self._caller = self._listener = None
        self._number = 0
        self.appear()
        self.port = f"socket://127.0.0.1:{self._number}"

    @property
    def connected(self):
        """Whether anybody may be listening."""
        return self._caller is not None

    def source(self):
        """What to wait for: the next caller, or what this one sends; None while it is away."""
        return self._caller or self._listener

    def vanish(self):
        """Be away, as the port of a board whose USB starts anew."""
        self.cut()
        if self._listener:
            self._listener.close()
            self._listener = None

    def appear(self):
        """Be there again."""
        self._listener = socket.create_server(("127.0.0.1", self._number))
        self._number = self._listener.getsockname()[1]

    def receive(self):
        """What was sent; b"" for a caller who came or went."""
        if not self._caller:
            self._caller, _ = self._listener.accept()
            self._caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._caller.setblocking(False)
            return b""
        try:
            data = self._caller.recv(4096)
        except ConnectionError:
            data = b""
        if not data:
            self.cut()
        return data

    def send(self, data):
        """Send what can be sent; give the number of bytes."""
        if not self._caller:
            return len(data)
        try:
            return self._caller.send(data)
        except BlockingIOError:
            return 0
        except ConnectionError:
            return len(data)

    def cut(self):
        """Break the connection."""
        if self._caller:
            self._caller.close()
            self._caller = None

    close = vanish


class PtyLink:
    """A pseudo-terminal, by a name that stays the same when the connection was broken."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="heed-device-")
        self.port = str(Path(self._folder.name) / "ttyACM0")
        self.appear()

    @property
    def connected(self):
        """Whether anybody may be listening: a serial line does not tell."""
        return self._ours is not None

    def source(self):
        """What to wait for; None while it is away."""
        return self._ours

    def receive(self):
        """What was sent."""
        return os.read(self._ours, 4096)

    def send(self, data):
        """Send what can be sent; give the number of bytes."""
        if self._ours is None:
            return len(data)
        try:
            return os.write(self._ours, data)
        except BlockingIOError:
            return 0

    def cut(self):
        """Break the connection: whoever has it open reads an end of file."""
        if self._ours is not None:
            self.vanish()
            self.appear()

    def vanish(self):
        """Be away, as the port of a board whose USB starts anew."""
        if self._ours is not None:
            Path(self.port).unlink()
            os.close(self._ours)
            os.close(self._theirs)
            self._ours = None

    def appear(self):
        """Be there again."""
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._ours, False)
        os.symlink(os.ttyname(self._theirs), self.port)

    def close(self):
        """Be gone for good."""
        self.vanish()
        self._folder.cleanup()
