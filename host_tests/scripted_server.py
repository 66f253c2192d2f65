"""A TCP server on 127.0.0.1 that does what a real broker can't be made to do."""

import socket
import threading
from collections.abc import Callable

# What a server that behaves says to CONNECT.
CONNACK = b"\x20\x02\x00\x00"


class ScriptedServer:
    """Each connection is served by `script`, in a thread; `with` ends them all.

    script: called with the connection; its result, or its AssertionError, is what `result` gives
    receive_buffer: bytes that the kernel takes for a script that does not read
    """

    def __init__(self, script: Callable[[socket.socket], object], receive_buffer: int = 0):
        self._script = script
        self._results: list[object] = []
        self._ended = threading.Condition()
        self._connections: list[socket.socket] = []
        self._listener = socket.socket()
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(20)
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> "ScriptedServer":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # To close it alone does not wake the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def drop(self) -> None:
        """Closes the connections, politely."""
        for connection in self._connections:
            connection.close()

    def result(self, timeout_s: float = 10) -> object:
        """What the script returned for the first connection, once it has."""
        with self._ended:
            assert self._ended.wait_for(lambda: self._results, timeout_s), "it goes on"
            if isinstance(self._results[0], BaseException):
                raise self._results[0]
            return self._results[0]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(10)
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            result = self._script(connection)
        except (AssertionError, OSError) as error:
            result = error
        with self._ended:
            self._results.append(result)
            self._ended.notify_all()


def take_connect(connection: socket.socket) -> bytes:
    """Reads the CONNECT packet, which is shorter than 128 bytes."""
    head = connection.recv(2, socket.MSG_WAITALL)
    assert head[:1] == b"\x10" and head[1] < 0x80, head
    return head + connection.recv(head[1], socket.MSG_WAITALL)


def publish(topic: str, payload: bytes, packet_id: int = 0) -> bytes:
    """A PUBLISH packet, at QoS 1 where it has a packet id."""
    body = len(topic).to_bytes(2, "big") + topic.encode()
    body += packet_id.to_bytes(2, "big") if packet_id else b""
    size = len(body) + len(payload)
    length = bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes([0x32 if packet_id else 0x30]) + bytes(length) + body + payload
