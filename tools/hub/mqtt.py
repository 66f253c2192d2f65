"""The broker: what a device meets on port 1883.

It behaves as devicehive-mqtt does towards a sound client: requests on `dh/request`, answers
on `dh/response/<action>@<client id>` to whom has subscribed exactly that, pushes at QoS 0,
no takeover of a client id, no sessions that outlive a connection. Topics outside `dh/` are
ordinary MQTT. Publishing to `dh/command` and the like has no effect. Where things go wrong with
the real one, a trap makes them go wrong here: see `points` and `traps`.
"""

import asyncio
import logging
import socket

from . import fields, frames, topics
from .connection import Connection
from .points import Traps

log = logging.getLogger(__name__)


class Broker:
    """All MQTT connections of a hub.

    Arguments:
        store, tokens, actions: the hub's.
        packet_limit: most bytes of a packet. connect_timeout_s: from dialling to CONNECT.
        keepalive_factor: how many keepalives may pass without a packet (MQTT 3.1.1,
            3.1.2.10). backlog_limit: most bytes that may wait for a slow reader.
        traps: the Traps that are on, none by default.
    """

    def __init__(
        self,
        store,
        tokens,
        actions,
        *,
        packet_limit=2**20,
        connect_timeout_s=10,
        keepalive_factor=1.5,
        backlog_limit=2**22,
        traps=None,
    ):
        self.store = store
        self.tokens = tokens
        self.actions = actions
        self.packet_limit = packet_limit
        self.connect_timeout_s = connect_timeout_s
        self.keepalive_factor = keepalive_factor
        self.backlog_limit = backlog_limit
        self.traps = Traps() if traps is None else traps
        # Those that have sent a good CONNECT, by client id.
        self.clients = {}
        # The writer of every connection, by the task that serves it.
        self._tasks = {}
        self._server = None
        self._revival = None
        store.listen(self._hear)

    async def start(self, listener):
        """Serve on a listening socket."""
        self._stopping = asyncio.Event()
        self._server = await asyncio.start_server(self._serve, sock=listener)

    async def stop(self):
        """Close the listening socket and every connection; no last will is carried out."""
        self._stopping.set()
        if self._revival is not None:
            await self._revival
        self._server.close()
        tasks = dict(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in tasks.values():
            writer.transport.abort()
        await self._server.wait_closed()

    def crash(self, down_s):
        """Die at once, as the real broker's process does, and come back empty.

        Arguments:
            down_s: seconds until it listens again on the same port.
        """
        if not self._server.is_serving():
            return
        listener = _take_over(self._server)
        for task, writer in self._tasks.items():
            task.cancel()
            writer.transport.abort()
        self._revival = asyncio.create_task(self._revive(listener, list(self._tasks), down_s))

    async def _revive(self, listener, tasks, down_s):
        await asyncio.gather(*tasks, return_exceptions=True)
        self.traps.restarted()
        try:
            await asyncio.wait_for(self._stopping.wait(), down_s)
        except asyncio.TimeoutError:
            await self.start(listener)
        else:
            listener.close()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks[task] = writer
        try:
            await Connection(self, reader, writer).run()
        except asyncio.CancelledError:
            # Only `stop` cancels; passing it on would have the event loop print it.
            pass
        except Exception:
            log.error("a connection failed", exc_info=log.isEnabledFor(logging.DEBUG))
        finally:
            del self._tasks[task]

    def _hear(self, event, record):
        # A copy: a push can end the connection of a reader that is too slow.
        clients = list(self.clients.values())
        if event == "device/delete":
            for client in clients:
                client.drop(record.id)
        elif topic := topics.push(event, record):
            self._push(clients, topic, event, record)

    def _push(self, clients, topic, event, record):
        copies = [
            (client, topic_filter, subscription)
            for client in clients
            for topic_filter, subscription in client.awaiting(topic, event, record)
        ]
        if not copies:
            return
        # Once to each client, however many of its filters match.
        heard = {client: subscription for client, _filter, subscription in reversed(copies)}
        for _ in range(self.traps.pushes(copies)):
            for client, subscription in heard.items():
                client.push(topic, event, record, subscription)
            if self.traps.ask("overhears"):
                payload = frames.write(fields.push(event, record, copies[0][2]))
                for client in clients:
                    if client not in heard:
                        client.deliver(topic, payload)

    def spread(self, topic, payload):
        """Deliver an ordinary message at QoS 0 to whom it matches."""
        for client in list(self.clients.values()):
            client.deliver(topic, payload)


def _take_over(server):
    # Closes a server; gives a socket that keeps its port without listening on it.
    address = server.sockets[0].getsockname()
    listener = socket.socket(server.sockets[0].family)
    server.close()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    return listener
