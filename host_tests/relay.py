"""The cable between agent and hub: a TCP relay that can be cut, and that can go silent."""

import asyncio
import socket


class Relay:
    """Passes on what comes to `port` of 127.0.0.1 to another port there; `async with` ends it.

    target: a function that gives the port, for it may change.

    Attributes:
        port: where it listens, the same for its whole life. dialled: connections taken so far.
    """

    def __init__(self, target):
        self._target = target
        self._server = None
        self._ends = set()
        self._serving = set()
        self._open = asyncio.Event()
        self._open.set()
        self._holder = _bound(0)
        self.port = self._holder.getsockname()[1]
        self.dialled = 0

    async def __aenter__(self):
        await self._listen()
        return self

    async def __aexit__(self, *_):
        self._stop()
        self._holder.close()
        # With their ends gone they end by themselves.
        self._open.set()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def cut(self):
        """End all connections, and have those that come refused."""
        self._stop()
        # Bound and not listening: who dials is refused, and nobody else gets the port.
        self._holder = _bound(self.port)

    def stall(self):
        """Take connections and keep those there are, but pass nothing on, as a half-open link."""
        self._open.clear()

    async def mend(self):
        """Pass on again. What was connected to a silent link stays lost: it is ended."""
        if not self._open.is_set():
            self._open.set()
            self._drop()
        if self._server is None:
            await self._listen()

    async def _listen(self):
        self._server = await asyncio.start_server(self._serve, sock=self._holder)

    def _stop(self):
        if self._server is not None:
            self._server.close()
            self._server = None
        self._drop()

    def _drop(self):
        for writer in self._ends:
            writer.transport.abort()
        self._ends.clear()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._serving.add(task)
        self.dialled += 1
        self._ends.add(writer)
        try:
            await self._open.wait()
            there = await asyncio.open_connection("127.0.0.1", self._target())
            self._ends.add(there[1])
            await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))
        except OSError:
            writer.transport.abort()
        finally:
            self._serving.discard(task)

    async def _pump(self, reader, writer):
        # An end on one side ends the other; a silent link passes on not even that.
        try:
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            await self._open.wait()
            writer.close()


def _bound(port):
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", port))
    return holder
