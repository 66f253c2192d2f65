"""The real Clock under freezegun: the board's epoch, the server's time, a deadline's exact edge."""

import asyncio
import importlib
import time
from datetime import datetime, timedelta, timezone

import pytest
from freezegun import freeze_time

from agent import clock as clock_module
from agent.agent import Agent
from agent.clock import Clock, format_iso8601, parse_iso8601
from host_tests.fake_devicehive import FakeDeviceHive

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
NOON_MS = int(NOON.timestamp() * 1000)


def test_the_boards_clock_counts_until_the_server_has_spoken():
    with freeze_time(NOON) as frozen:
        clock = Clock()
        assert clock.now_ms() == NOON_MS
        frozen.tick(5)
        assert clock.now_ms() == NOON_MS + 5000 and not clock.known


@pytest.mark.parametrize("year", [1970, 2000])
def test_every_epoch_gives_unix_time(monkeypatch, year):
    epoch = datetime(year, 1, 1, tzinfo=timezone.utc).timestamp()
    monkeypatch.setattr(time, "gmtime", lambda seconds: (year, 1, 1, 0, 0, 0, 0, 1))
    monkeypatch.setattr(time, "time_ns", lambda: int((NOON.timestamp() - epoch) * 10**9))
    try:
        assert importlib.reload(clock_module).Clock().now_ms() == NOON_MS
    finally:
        monkeypatch.undo()
        importlib.reload(clock_module)


def test_the_servers_time_runs_on_ticks_and_ignores_the_boards_clock():
    with freeze_time(NOON, real_asyncio=True) as frozen:
        clock = Clock()
        sent = clock.ticks()
        frozen.tick(0.2)
        clock.set_ms(NOON_MS - 86400000, sent, clock.ticks())
        frozen.tick(10)
        assert clock.now_ms() == NOON_MS - 86400000 + 10200


@pytest.mark.parametrize("text", ["2026-11-21T12:00:00.999", "2026-02-28T23:59:59.000"])
def test_times_agree_with_the_standard_library(text):
    there = datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    assert parse_iso8601(text) == round(there.timestamp() * 1000)
    assert format_iso8601(parse_iso8601(text)) == text


class Wall:
    """What a fake DeviceHive needs of a clock, on the frozen wall clock."""

    activity = 0

    @property
    def _time(self):
        return self

    @property
    def unix_ms(self):
        return time.time_ns() // 1000000


@pytest.mark.parametrize(
    ("age_ms", "status"), [(29999, "succeeded"), (30000, "expired"), (30001, "expired")]
)
def test_p2_a_command_at_the_exact_edge_of_its_lifetime(age_ms, status):
    ran = []

    async def scene(frozen):
        cloud = FakeDeviceHive(Wall())
        settings = {"device": {"id": "dev-1"}, "journal": "off"}
        settings["devicehive"] = {"host": "h", "login": "l", "password": "p"}
        board = Agent(settings, transport=cloud.transport)
        board.command("note")(lambda command: ran.append(command.id))
        task = asyncio.create_task(board.start())
        await until(lambda: board.online)
        entry = cloud.entry("note", None, 30)
        frozen.tick(timedelta(milliseconds=age_ms))
        cloud.push(entry)
        await until(lambda: cloud.updates)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return cloud.updates

    with freeze_time(NOON, real_asyncio=True) as frozen:
        updates = asyncio.run(scene(frozen))
    assert [update[1] for update in updates] == [status]
    assert len(ran) == (status == "succeeded")


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")
