"""A transport without a socket, driven by the test's script."""

import asyncio
from errno import ECONNRESET


class FakeTransport:
    """Has the members of MQTTTransport; what the agent publishes goes to `cloud`.

    cloud: a function of (topic, payload) that returns the (topic, payload) messages it sends back
    """

    backlog = 0

    def __init__(self, clock, cloud):
        self._clock = clock
        self._cloud = cloud
        self._inbox = []
        self._arrived = asyncio.Event()
        self._error = None
        self.limit = 8192
        self.refusals = []  # errors that the next calls of `connect` raise
        self.endpoints = []
        self.topics = []
        self.accepted = []
        self.connected = False

    async def connect(self, endpoint):
        """Connect, unless the script has a refusal for it."""
        self._clock.activity += 1
        self.endpoints.append(endpoint)
        if self.refusals:
            raise self.refusals.pop(0)
        self._inbox = []
        self._error = None
        self.connected = True

    async def subscribe(self, topics):
        """Note the topics."""
        self._fail_if_lost()
        self.topics.extend(topics)

    def publish(self, topic, payload, qos=0):
        """Hand a message to the cloud and queue what it answers."""
        self._clock.activity += 1
        self._fail_if_lost()
        for message in self._cloud(topic, payload):
            self.push(*message)

    async def acknowledged(self, token):
        """Every message is acknowledged at once."""

    def push(self, topic, payload, receipt=None):
        """Have the agent receive a message; `receipt` stands for a QoS 1 packet id.

        Of one over the limit it gets the first and the last 512 bytes, as from the real one.
        """
        if len(payload) > self.limit:
            payload = payload[:512], payload[512:][-512:]
        self._inbox.append((topic, payload, receipt))
        self._arrived.set()

    def cut(self, error=None):
        """Lose the connection."""
        self._error = error or OSError(ECONNRESET, "the broker closed the connection")
        self.connected = False
        self._arrived.set()

    async def receive(self):
        """Return the next message, or raise the error of `cut`."""
        while not self._inbox:
            self._fail_if_lost()
            self._arrived.clear()
            await self._arrived.wait()
        self._fail_if_lost()
        self._clock.activity += 1
        return self._inbox.pop(0)

    def accept(self, receipt):
        """Note the acknowledgement."""
        if receipt is not None:
            self.accepted.append(receipt)

    async def serve(self):
        """There is nothing to write and no link to prove alive."""
        await asyncio.Event().wait()

    async def close(self):
        """Disconnect."""
        self.connected = False

    def _fail_if_lost(self):
        if self._error:
            raise self._error
