"""MQTTTransport on a scripted stream: the test is the broker."""

import asyncio
from errno import ECONNRESET

from agent.mqtt import MQTTTransport
from host_tests.fake_clock import FakeClock

ENDPOINT = {"host": "127.0.0.1", "port": 1883, "client_id": "dev-1-ab12", "keepalive": 60}
CONNACK = b"\x20\x02\x00\x00"


class FakeSocket:
    """What asyncio dials with, or TLS on top of it."""

    def __init__(self, error=None):
        self.options = []
        self.closings = 0
        self._error = error

    def setsockopt(self, *option):
        self.options.append(option)

    def close(self):
        self.closings += 1
        if self._error:
            raise self._error


class FakeTLS:
    """An SSLContext; its sockets can't be closed without an error."""

    def wrap_socket(self, sock, **options):
        self.options = options
        self.socket = FakeSocket(OSError(ECONNRESET))
        return self.socket


class FakeStream:
    """Both directions of a connection: `feed` is the broker speaking, `writes` what it heard."""

    out_buf = b""

    def __init__(self):
        self.writes = []
        self._inbox = b""
        self._ended = False
        self._arrived = asyncio.Event()

    def feed(self, data):
        self._inbox += data
        self._arrived.set()

    def end(self):
        self._ended = True
        self._arrived.set()

    async def readinto(self, buffer):
        while not self._inbox and not self._ended:
            self._arrived.clear()
            await self._arrived.wait()
        size = min(len(buffer), len(self._inbox))
        buffer[:size] = self._inbox[:size]
        self._inbox = self._inbox[size:]
        return size

    def write(self, data):
        self.writes.append(bytes(data))

    async def drain(self):
        pass


class Link:
    """A connected transport with its two tasks, the messages that came, and the loss."""

    def __init__(self, connack=CONNACK, limit=1000, **endpoint):
        self.clock = FakeClock()
        self.stream = FakeStream()
        self.socket = FakeSocket()
        self.transport = MQTTTransport(self.clock, limit)
        self.endpoint = dict(ENDPOINT)
        self.endpoint.update(endpoint)
        self.connack = connack
        self.messages = []
        self.dialled = []
        self.error = None
        self._tasks = []

    async def __aenter__(self):
        self._real = asyncio.open_connection
        asyncio.open_connection = self._open
        if self.connack:
            self.stream.feed(self.connack)
            await self.transport.connect(self.endpoint)
            self.serve()
        return self

    def serve(self):
        for function in (self.transport.serve, self._receive):
            self._tasks.append(asyncio.create_task(self._watch(function)))

    async def __aexit__(self, *exc):
        asyncio.open_connection = self._real
        for task in self._tasks:
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
        await self.transport.close()

    async def _open(self, host, port, ssl=None, server_hostname=None):
        # As MicroPython's: it connects first.
        self.dialled.append(host)
        self.top = ssl.wrap_socket(
            self.socket, server_hostname=server_hostname, do_handshake_on_connect=False
        )
        return self.stream, self.stream

    async def _receive(self):
        while True:
            self.messages.append(await self.transport.receive())

    async def _watch(self, function):
        try:
            await function()
        except OSError as e:
            self.error = e
