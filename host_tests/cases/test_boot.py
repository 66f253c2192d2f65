"""How a start came about, and what a row of crashes does to the next one."""

import asyncio
import os
import sys

from agent import log
from host_tests.rig import Rig, blinking
from host_tests.scratch import Scratch

MINUTE_MS = 60000


class Machine:
    """Stands for `machine`: what it says about the last reset is the case's."""

    PWRON_RESET, WDT_RESET = 1, 3

    def __init__(self):
        self.cause = self.PWRON_RESET

    def reset_cause(self):
        return self.cause


class Board:
    """A rig with a folder and a machine, for one case."""

    async def __aenter__(self):
        self._real = sys.modules.get("machine")
        self.machine = sys.modules["machine"] = Machine()
        self.scratch = Scratch()
        self.folder = self.scratch.__enter__()
        self.ran = []
        self.rig = Rig(self._program, folder=self.folder)
        await self.rig.__aenter__()
        return self

    async def __aexit__(self, *exc):
        await self.rig.__aexit__(*exc)
        self.scratch.__exit__(*exc)
        sys.modules.pop("machine")
        if self._real:
            sys.modules["machine"] = self._real

    def _program(self, board):
        board.command("note")(self.ran.append)

    async def die(self, cause):
        """End the life of the board as `cause` does, and start it again."""
        self.machine.cause = cause
        # The power goes: nothing of the agent has a chance to say a word.
        self.rig.board._crashes_path = None
        await self.rig.reset()

    def told(self):
        """Return what the last birth told."""
        return [value for name, value in self.rig.cloud.notifications if name == "online"][-1]

    def files(self):
        return os.listdir(self.folder)

    def write(self, name, text=""):
        with open(self.folder + "/" + name, "w") as file:
            file.write(text)


async def test_p4_the_third_crash_in_a_row_starts_the_agent_without_handlers():
    async with Board() as board:
        rig = board.rig
        await rig.start()
        for count in (1, 2, 3):
            await board.die(Machine.WDT_RESET)
            assert rig.board.online
            text = "the watchdog reset the board"
            assert board.told()["crash"] == {"crashes": count, "error": text}
        id = rig.cloud.insert("note")
        await rig.clock.settle()
        assert not board.ran
        status, result = rig.cloud.updates[-1][1:]
        assert status == "rejected" and "deploy to it again" in result["error"]
        assert "remove the file" in rig.said(log.ERROR)[-1]
        # It stays so whatever ends this start, and until the file is gone.
        await rig.clock.advance(5 * MINUTE_MS)
        await board.die(Machine.PWRON_RESET)
        assert rig.board._registry.closed
        os.remove(board.folder + "/crashes")
        await board.die(Machine.PWRON_RESET)
        rig.cloud.insert("note")
        await rig.clock.settle()
        assert len(board.ran) == 1 and id


async def test_power_cuts_and_deliberate_resets_are_no_crashes():
    async with Board() as board:
        await board.rig.start()
        for _ in range(5):
            await board.die(Machine.PWRON_RESET)
            assert board.rig.board._crashes == 0 and "crash" not in board.told()
        # An RP2040 says of its own reset that it was the watchdog's.
        board.rig.board._mark(None)
        await board.die(Machine.WDT_RESET)
        assert board.rig.board._crashes == 0


async def test_a_healthy_minute_forgets_the_crashes_before_it():
    async with Board() as board:
        await board.rig.start()
        for _ in range(2):
            await board.die(Machine.WDT_RESET)
        await board.rig.clock.advance(2 * MINUTE_MS)
        await board.die(Machine.WDT_RESET)
        assert board.rig.board._crashes == 1


async def test_a_crash_by_an_exception_is_told_with_its_place_and_bounded():
    async with Board() as board:
        await board.rig.start()
        try:
            raise ValueError("x" * 2000)
        except ValueError as e:
            board.rig.board._mark(e)
        await board.die(Machine.PWRON_RESET)
        crash = board.told()["crash"]
        assert crash["crashes"] == 1 and len(crash["error"]) <= 600
        await board.die(Machine.PWRON_RESET)
        assert "crash" not in board.told() and board.rig.board._crashes == 1


async def test_a_file_of_crashes_that_makes_no_sense_is_no_crash():
    async with Board() as board:
        for text in ("", "[]", "null", '{"crashes": "x", "error": "y"}', '{"crashes": 1}'):
            board.write("crashes", text)
            await board.rig.start()
            assert board.rig.board.online and not board.rig.board._registry.closed, text
            await board.die(Machine.PWRON_RESET)
            await board.rig.stop()


async def test_while_a_deploy_is_under_way_nothing_starts():
    async with Board() as board:
        board.write("hold")
        assert board.rig.board.run() is False
        await board.rig.start()
        await board.rig.clock.advance(MINUTE_MS)
        assert not board.rig.transport.endpoints
        assert "the file hold is there" in board.rig.said(log.WARNING)[-1]
        os.remove(board.folder + "/hold")
        await board.rig.clock.advance(2000)
        assert board.rig.board.online


async def test_a_stop_on_purpose_leaves_no_mark():
    async with Board() as board:
        await board.rig.start()
        assert "crashes" in board.files()
        board.rig._task.cancel()
        try:
            await board.rig._task
        except asyncio.CancelledError:
            pass
        assert "crashes" not in board.files()


async def test_without_a_journal_nothing_is_written():
    async with Rig() as rig:
        blinking(rig)
        before = sorted(os.listdir("."))
        await rig.start()
        assert sorted(os.listdir(".")) == before
