"""An agent on fake time and a fake DeviceHive: what most cases start from."""

import asyncio

from agent import log
from agent.agent import Agent
from host_tests.fake_clock import FakeClock
from host_tests.fake_devicehive import FakeDeviceHive

DEVICEHIVE = {"host": "devicehive.test", "login": "dhuser", "password": "correct horse"}


class Rig:
    """The parts that a case moves: clock, cloud, transport, board, and the lines of the log."""

    def __init__(self, clock=None, **settings):
        self.clock = clock or FakeClock()
        self.cloud = FakeDeviceHive(self.clock)
        self.transport = self.cloud.transport
        found = {"device": {"id": "dev-1"}, "devicehive": DEVICEHIVE}
        found.update(settings)
        self.board = Agent(found, clock=self.clock, transport=self.transport)
        self.lines = []
        self._task = None

    async def __aenter__(self):
        log.sink = self._note
        log.level = log.DEBUG
        return self

    async def __aexit__(self, *exc):
        await self.stop()
        log.sink = log._print
        log.level = log.INFO

    def _note(self, severity, text):
        self.lines.append((severity, text))

    async def start(self):
        """Start the agent and let it come online."""
        self._task = asyncio.create_task(self.board.start())
        await self.clock.settle()

    async def stop(self):
        """End the agent as a reset does: nothing of it runs on."""
        task, self._task = self._task, None
        if task:
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass

    def said(self, severity):
        """Return the log's lines of this severity."""
        return [text for found, text in self.lines if found == severity]
