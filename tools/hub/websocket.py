"""The WebSocket API at `/api/websocket`, which DeviceHive's own client libraries use.

One Session a connection. A frame is a text message with an action's JSON, as over MQTT; what
was subscribed to is pushed in frames that carry no requestId. The pings, the close codes and
the bound for slow readers are those of the server's DeviceHiveWebSocketHandler.
"""

import asyncio
import logging
from collections import deque

from aiohttp import WSCloseCode, WSMsgType, web

from . import fields, frames
from .actions import malformed
from .sessions import Session

log = logging.getLogger(__name__)

_PING_S = 30
# What a client gets for its part of the closing handshake.
_CLOSE_S = 1


class WebSockets:
    """All WebSocket connections of a hub.

    Arguments:
        store, actions: the hub's.

    Attributes:
        frame_limit: most bytes of a frame that is taken.
        backlog_limit: most bytes that may wait for a slow reader.
    """

    def __init__(self, store, actions):
        self.actions = actions
        self.frame_limit = 2**20
        self.backlog_limit = 2**19
        self._peers = set()
        store.listen(self._hear)

    async def serve(self, request):
        """Serve one connection, as an aiohttp handler."""
        socket = web.WebSocketResponse(
            timeout=_CLOSE_S, heartbeat=_PING_S, compress=False, max_msg_size=self.frame_limit
        )
        await socket.prepare(request)
        if request.transport is None:
            return socket  # gone already
        peer = Peer(self, socket, request.transport)
        self._peers.add(peer)
        try:
            await peer.run()
        except Exception:
            log.error("a connection failed", exc_info=log.isEnabledFor(logging.DEBUG))
            peer.abort()
        finally:
            self._peers.discard(peer)
        return socket

    async def close(self):
        """Close every connection, at once where the client does not answer."""
        closing = [asyncio.create_task(peer.close()) for peer in self._peers]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_S)
        for peer in list(self._peers):
            peer.abort()

    def _hear(self, event, record):
        for peer in self._peers:
            peer.hear(event, record)


class Peer:
    """One client; `run` serves it until it goes."""

    def __init__(self, sockets, socket, transport):
        self._sockets = sockets
        self._socket = socket
        self._transport = transport
        self._session = Session()
        # Frames on their way out, their bytes, and whether there are any or none.
        self._queue = deque()
        self._waiting = 0
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._none.set()

    async def run(self):
        """Serve the client until it leaves or sends what no client should."""
        writing = asyncio.create_task(self._write())
        try:
            async for message in self._socket:
                if message.type is not WSMsgType.TEXT:
                    await self._refuse_binary()
                    return
                self._take(message.data)
                # Who does not read its answers is not read from either.
                await self._none.wait()
        finally:
            writing.cancel()

    async def _refuse_binary(self):
        await self._socket.close(
            code=WSCloseCode.UNSUPPORTED_DATA, message=b"Binary messages not supported"
        )

    def _take(self, text):
        try:
            frame = frames.read(text)
        except ValueError:
            self._send(malformed())
            return
        actions = self._sockets.actions
        answer = actions.answer(self._session, frame)
        if answer is None:
            return
        self._send(answer)
        # The answer goes first: it tells the number by which the client knows what follows.
        made = self._session.asked.get(answer.get("subscriptionId"))
        for record in actions.subscriptions.missed(made) if made else ():
            self._send(fields.push(made.event, record, made))

    def hear(self, event, record):
        """Push a change to the client, once for each of its subscriptions that match."""
        if event == "device/delete":
            self._session.forget(lambda one: one.device == record.id)
            return
        # A copy: a push can end the connection of a reader that is too slow.
        for one in list(self._session.asked.values()):
            if one.matches(event, record):
                self._send(fields.push(event, record, one))

    def _send(self, frame):
        if self._transport.is_closing():
            return
        body = frames.write(frame)
        self._queue.append(body)
        self._waiting += len(body)
        self._none.clear()
        self._some.set()
        if self._waiting > self._sockets.backlog_limit:
            log.info("a client reads too slowly")
            self.abort()

    async def _write(self):
        try:
            while True:
                await self._some.wait()
                while self._queue:
                    body = self._queue.popleft()
                    await self._socket.send_frame(body, WSMsgType.TEXT)
                    self._waiting -= len(body)
                self._some.clear()
                self._none.set()
        except ConnectionError:
            # The reading side learns of it as well, and ends.
            pass
        finally:
            self._none.set()

    async def close(self):
        """Close the connection with the handshake that the protocol asks for."""
        await self._socket.close(code=WSCloseCode.GOING_AWAY, message=b"the hub stops")

    def abort(self):
        """Close the connection at once; what waits to be sent is dropped."""
        self._queue.clear()
        self._session.asked.clear()
        self._transport.abort()
