"""An agent on fake time and a fake DeviceHive: what most cases start from."""

import asyncio

from agent import log
from agent.agent import Agent
from host_tests.fake_clock import FakeClock
from host_tests.fake_devicehive import FakeDeviceHive

DEVICEHIVE = {"host": "devicehive.test", "login": "dhuser", "password": "correct horse"}


class Rig:
    """The parts that a case moves: clock, cloud, transport, board, and the lines of the log.

    program(board): registers the handlers, again after each reset
    folder: for the journal, which is off without one
    """

    def __init__(self, program=None, folder="", **settings):
        self.clock = FakeClock()
        self.cloud = FakeDeviceHive(self.clock)
        self.transport = self.cloud.transport
        self.settings = {"device": {"id": "dev-1"}, "devicehive": DEVICEHIVE}
        self.settings["journal"] = "full" if folder else "off"
        self.settings.update(settings)
        limits = self.settings.get("limits", {})
        self.transport.limit = limits.get("payload", self.transport.limit)
        self.program = program
        self.folder = folder
        self.board = self._board()
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
        """End the agent as a reset does: nothing of it runs on, and nothing is written any more."""
        if not self._task:
            return
        runner = self.board._runner
        runner._done = lambda outcome: None
        self.board._journal._mode = "off"
        for task in [self._task] + [run.task for run in runner._runs]:
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
        self._task = None

    def _board(self):
        board = Agent(
            self.settings, clock=self.clock, transport=self.transport, folder=self.folder
        )
        if self.program:
            self.program(board)
        return board

    async def reset(self, away_ms=1000):
        """Cut the power for a while and start the board again: its clock knows nothing."""
        await self.stop()
        self.transport.connected = False
        await self.clock.advance(away_ms)
        self.clock.forget()
        self.board = self._board()
        await self.start()

    def said(self, severity):
        """Return the log's lines of this severity."""
        return [text for found, text in self.lines if found == severity]


def blinking(rig):
    """Register a handler that notes its commands; return the notes."""
    ran = []

    @rig.board.command("blink", params={"times": (int, 1, 100)})
    def blink(command):
        ran.append(command)
        return {"blinked": command.parameters["times"]}

    return ran
