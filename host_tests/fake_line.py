"""The connection of a bench: a test can cut it, and it keeps the board's limit."""

import json
from errno import ECONNREFUSED

from agent import log
from host_tests.fake_transport import FakeTransport

# MQTTTransport keeps the first 512 bytes of a packet, the topic among them.
_KEPT = 400


class Line(FakeTransport):
    """The fake transport of one life of a board.

    limit: the largest payload in bytes; reachable: a function that says whether a dial succeeds
    """

    def __init__(self, clock, cloud, limit, reachable):
        super().__init__(clock, cloud.answer)
        self._device_cloud = cloud
        self._limit = limit
        self._reachable = reachable

    async def connect(self, endpoint):
        """Connect, unless the bench is offline; the cloud's device is the one that dials."""
        if not self._reachable():
            raise OSError(ECONNREFUSED, "the bench is offline")
        await super().connect(endpoint)
        self._device_cloud.device = endpoint["client_id"].rpartition("-")[0]

    def push(self, topic, payload, receipt=None):
        """Have the agent receive a message; of one over the limit it gets the first bytes."""
        if len(payload) > self._limit:
            text = "mqtt: a message of %d bytes is not kept, the limit is %d"
            log.error(text, len(payload), self._limit)
            payload = (_as_sent(payload)[:_KEPT],)
        super().push(topic, payload, receipt)


def _as_sent(payload):
    # As DeviceHive writes it: without spaces, and a command's id, name and time come first.
    frame = json.loads(payload)
    entry = frame.get("command")
    if entry:
        first = {key: entry[key] for key in ("id", "command", "timestamp")}
        frame["command"] = {**first, **entry}
    return json.dumps(frame, separators=(",", ":")).encode()


class Steady:
    """Stands for `random`: the pause before a new dial is a second at most on the bench."""

    @staticmethod
    def randrange(end):
        """Return a number below `end`, always the same."""
        return min(end - 1, 999)
