"""The connection of a bench: a test can cut it, and it keeps the board's limit."""

from errno import ECONNREFUSED

from host_tests.fake_transport import FakeTransport


class Line(FakeTransport):
    """The fake transport of one life of a board.

    limit: the largest payload in bytes; reachable: a function that says whether a dial succeeds
    """

    def __init__(self, clock, cloud, limit, reachable):
        super().__init__(clock, cloud.answer)
        self._device_cloud = cloud
        self.limit = limit
        self._reachable = reachable

    async def connect(self, endpoint):
        """Connect, unless the bench is offline; the cloud's device is the one that dials."""
        if not self._reachable():
            raise OSError(ECONNREFUSED, "the bench is offline")
        await super().connect(endpoint)
        self._device_cloud.device = endpoint["client_id"].rpartition("-")[0]


class Steady:
    """Stands for `random`: the pause before a new dial is a second at most on the bench."""

    @staticmethod
    def randrange(end):
        """Return a number below `end`, always the same."""
        return min(end - 1, 999)
