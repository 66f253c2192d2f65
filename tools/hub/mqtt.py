"""The broker: what a device meets on port 1883.

It behaves as devicehive-mqtt does towards a sound client: requests on `dh/request`, answers
on `dh/response/<action>@<client id>` to whom has subscribed exactly that, pushes at QoS 0,
no takeover of a client id, no sessions that outlive a connection. Topics outside `dh/` are
ordinary MQTT. Publishing to `dh/command` and the like has no effect.
"""

import asyncio
import logging

from .connection import Connection

log = logging.getLogger(__name__)


class Broker:
    """All MQTT connections of a hub.

    Arguments:
        store, tokens, actions: the hub's.
        packet_limit: most bytes of a packet. connect_timeout_s: from dialling to CONNECT.
        keepalive_factor: how many keepalives may pass without a packet (MQTT 3.1.1,
            3.1.2.10). backlog_limit: most bytes that may wait for a slow reader.
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
    ):
        self.store = store
        self.tokens = tokens
        self.actions = actions
        self.packet_limit = packet_limit
        self.connect_timeout_s = connect_timeout_s
        self.keepalive_factor = keepalive_factor
        self.backlog_limit = backlog_limit
        # Those that have sent a good CONNECT, by client id.
        self.clients = {}
        # The writer of every connection, by the task that serves it.
        self._tasks = {}
        self._server = None
        store.listen(self._hear)

    async def start(self, listener):
        """Serve on a listening socket."""
        self._server = await asyncio.start_server(self._serve, sock=listener)

    async def stop(self):
        """Close the listening socket and every connection; no last will is carried out."""
        self._server.close()
        tasks = dict(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in tasks.values():
            writer.transport.abort()
        await self._server.wait_closed()

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
        for client in list(self.clients.values()):
            client.hear(event, record)

    def spread(self, topic, payload):
        """Deliver an ordinary message at QoS 0 to whom it matches."""
        for client in list(self.clients.values()):
            client.deliver(topic, payload)
