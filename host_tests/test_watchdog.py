"""The watchdog: a hand-written `machine` stands for the board's hardware."""

import asyncio

import pytest

from agent import watchdog
from agent.settings import SPECIFICATION
from agent.watchdog import Watchdog
from host_tests.fake_clock import FakeClock
from host_tests.rig import Rig


class FakeHardware:
    """The `machine` module of a board, with the watchdog alone."""

    def __init__(self):
        self.timeout = None
        self.feeds = 0
        self.resets = 0

    def WDT(self, timeout):
        self.timeout = timeout
        return self

    def feed(self):
        self.feeds += 1

    def reset(self):
        self.resets += 1


class FakeRunner:
    """What the watchdog looks at: rounds move when the runner is woken, unless it hangs."""

    stuck = 0
    rounds = 0
    hangs = False

    def wake(self):
        self.rounds += not self.hangs


class Scene:
    """A watchdog on fake time; `reasons` are its resets."""

    def __init__(self, **settings):
        self.clock = FakeClock()
        self.runner = FakeRunner()
        self.reasons = []
        chosen = {key: default for key, (_, default) in SPECIFICATION["watchdog"].items()}
        chosen.update(settings)
        limits = {"abandoned": 2}
        self.dog = Watchdog(
            chosen,
            limits,
            self.clock,
            self.runner,
            lambda reason, crash=False: self.reasons.append(reason),
        )

    async def run(self, ms):
        task = asyncio.create_task(self.dog.run())
        await self.clock.advance(ms)
        task.cancel()


@pytest.fixture
def hardware(monkeypatch):
    fake = FakeHardware()
    monkeypatch.setattr(watchdog, "machine", fake)
    return fake


async def test_it_starts_with_the_first_healthy_session_and_only_once(hardware):
    scene = Scene()
    await scene.run(60000)
    assert hardware.timeout is None
    scene.dog.healthy()
    assert hardware.timeout == 8000
    hardware.timeout = None
    scene.dog.healthy()
    assert hardware.timeout is None


async def test_zero_switches_the_hardware_off(hardware):
    scene = Scene(timeout_ms=0)
    scene.dog.healthy()
    assert hardware.timeout is None


async def test_p4_it_is_fed_more_often_than_it_bites_while_the_runner_goes_round(hardware):
    scene = Scene()
    scene.dog.healthy()
    await scene.run(60000)
    assert hardware.feeds >= 60000 // 4000


async def test_p4_it_is_fed_in_time_from_the_moment_it_starts(hardware):
    scene = Scene()
    task = asyncio.create_task(scene.dog.run())
    await scene.clock.advance(31000)
    scene.dog.healthy()
    for fed in (1, 2, 3):
        await scene.clock.advance(4000)
        assert hardware.feeds >= fed
    task.cancel()


async def test_p4_a_runner_that_hangs_is_not_fed(hardware):
    scene = Scene()
    scene.dog.healthy()
    await scene.run(10000)
    scene.runner.hangs = True
    await scene.run(4000)
    fed = hardware.feeds
    await scene.run(60000)
    assert hardware.feeds == fed


async def test_a_day_without_cloud_is_no_reason_to_reset(hardware):
    scene = Scene()
    scene.dog.healthy()
    await scene.run(86400000)
    assert scene.reasons == []


async def test_a_day_without_cloud_is_one_where_the_owner_says_so(hardware):
    scene = Scene(offline_s=3600)
    scene.dog.healthy()
    await scene.run(3500000)
    assert scene.reasons == []
    scene.dog.healthy()
    await scene.run(3590000)
    assert scene.reasons == []
    await scene.run(20000)
    assert scene.reasons and "3600 s" in scene.reasons[0]


async def test_p4_too_many_handlers_that_ignore_their_end_are_a_reason(hardware):
    scene = Scene()
    scene.runner.stuck = 2
    await scene.run(60000)
    assert scene.reasons == []
    scene.runner.stuck = 3
    await scene.run(30000)
    assert scene.reasons


async def test_the_owner_is_told_before_the_board_resets(hardware, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "machine", hardware)

    def program(board):
        async def stubborn(command):
            while not rig.over:
                try:
                    await rig.clock.sleep_ms(10**8)
                except asyncio.CancelledError:
                    pass

        for name in ("a", "b", "c"):
            board.command(name, timeout=1)(stubborn)
        board.on("reset", told.append)

    told = []
    async with Rig(program) as rig:
        rig.over = False
        await rig.start()
        for name in ("a", "b", "c"):
            rig.cloud.insert(name)
        await rig.clock.advance(40000)
        rig.over = True
        assert hardware.resets and "3 handlers" in told[0]
        assert [status for _, status, _ in rig.cloud.updates] == ["timed_out"] * 3


async def test_a_session_that_proved_itself_starts_it(hardware):
    async with Rig() as rig:
        await rig.start()
        await rig.clock.advance(4000)
        assert hardware.timeout is None
        await rig.clock.advance(2000)
        assert hardware.timeout == 8000
