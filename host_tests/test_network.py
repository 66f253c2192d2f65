"""Wi-Fi: a hand-written `network` module stands for the board's radio."""

import asyncio
from errno import EACCES, ECONNREFUSED, ECONNRESET, EIO, ENOTCONN, ETIMEDOUT

import pytest

from agent import network
from agent.network import Network
from agent.settings import SPECIFICATION
from host_tests.fake_clock import FakeClock
from host_tests.fake_radio import FakeRadio
from host_tests.rig import Rig

BARN = {"ssid": "barn", "password": "horse battery"}
SILENCE = OSError(ETIMEDOUT, "no answer")


class Board:
    """A board's network on fake time; `radio` is its radio."""

    def __init__(self, monkeypatch, points, port="esp32", modes=True, **settings):
        self.clock = FakeClock()
        self.radio = FakeRadio(self.clock, points, port, modes)
        monkeypatch.setattr(network, "network", self.radio)
        chosen = {key: default for key, (_, default) in SPECIFICATION["network"].items()}
        self.network = Network({**chosen, **settings}, self.clock)

    async def up(self, ms=0):
        """Have it up in `ms` milliseconds; return the error, or None."""
        task = asyncio.create_task(self.network.up())
        await self.clock.advance(ms)
        assert task.done()
        return task.exception()

    @property
    def tried(self):
        """The networks that it wanted to join, in order."""
        return [call[1] for call in self.radio.calls if call[0] == "connect"]


@pytest.fixture
def board(monkeypatch):
    def make(points, *words, **settings):
        return Board(monkeypatch, points, *words, **settings)

    return make


@pytest.mark.parametrize(("port", "pm"), [("esp32", 2), ("rp2", 17)])
async def test_it_joins_with_country_host_name_and_power_mode(board, port, pm):
    one = board(
        {"barn": "horse battery"}, port, **BARN, country="DE", hostname="pump", power="powersave"
    )
    assert await one.up(2000) is None
    assert one.radio.isconnected()
    assert one.radio.calls == [
        ("country", "DE"),
        ("hostname", "pump"),
        ("active", True),
        ("pm", pm),
        ("connect", "barn", "horse battery"),
    ]


async def test_a_firmware_without_power_modes_is_left_as_it_is(board):
    one = board({"barn": "horse battery"}, "esp32", False, **BARN, power="none")
    assert await one.up(2000) is None
    assert one.radio.calls == [("active", True), ("connect", "barn", "horse battery")]


async def test_a_board_that_is_joined_already_is_left_alone(board):
    one = board({"other": None}, **BARN)
    one.radio.active(True)
    one.radio.connect("other")
    await one.clock.advance(2000)
    one.radio.calls.clear()
    assert await one.up() is None
    assert one.radio.calls == []


async def test_without_the_name_of_a_network_the_radio_is_not_touched(board):
    one = board({})
    assert await one.up() is None
    for _ in range(20):
        one.network.dialled(False, SILENCE)
    assert await one.up() is None
    await asyncio.wait_for(one.network.watch(), 1)
    assert one.radio.calls == []


async def test_an_open_network_is_joined_without_a_key(board):
    one = board({"fair": None}, ssid="fair")
    assert await one.up(2000) is None


@pytest.mark.parametrize("port", ["esp32", "rp2"])
async def test_known_networks_are_tried_in_turn_and_the_last_one_joined_comes_first(board, port):
    known = [{"ssid": "house", "password": "h"}, {"ssid": "yard", "password": "y"}]
    one = board({"house": "h", "yard": "y"}, port, **BARN, known=known)
    assert await one.up(40000) is None
    assert one.tried == ["barn", "house"]
    del one.radio.points["house"]
    assert await one.up(70000) is None
    assert one.tried == ["barn", "house", "house", "barn", "yard"]
    one.radio.disconnect()
    assert await one.up(2500) is None
    assert one.tried[5:] == ["yard"]


async def test_p4_networks_that_do_not_answer_are_given_up_and_named_with_the_reason(board):
    known = [{"ssid": "house", "password": "hush"}]
    one = board({"house": "h"}, **BARN, known=known)
    error = await one.up(61000)
    assert isinstance(error, OSError) and error.errno == ETIMEDOUT
    assert "barn (no ap found), house (wrong password)" in error.args[1]
    assert "battery" not in error.args[1] and "hush" not in error.args[1]


async def test_a_status_without_a_name_is_told_as_a_number(board, monkeypatch):
    one = board({"barn": "horse battery"}, **BARN)
    monkeypatch.setattr(one.radio, "status", lambda: 212)
    error = await one.up(31000)
    assert "barn (status 212)" in error.args[1]


async def test_on_an_rp2_a_wrong_password_takes_no_half_minute(board):
    one = board({"barn": "another"}, "rp2", **BARN)
    error = await one.up(2000)
    assert "barn (wrong password)" in error.args[1]


@pytest.mark.parametrize("wrong", [{"country": "Germany"}, {"hostname": "x" * 33}])
async def test_what_the_driver_refuses_is_an_error_of_the_link(board, wrong):
    one = board({"barn": "horse battery"}, **BARN, **wrong)
    error = await one.up()
    assert isinstance(error, OSError) and "no Wi-Fi joined, check network: barn (" in error.args[1]


async def test_a_join_that_is_pending_is_left_before_the_next(board):
    one = board({}, **BARN)
    assert await one.up(31000)  # the ESP32's driver goes on trying
    one.radio.points["barn"] = "horse battery"
    one.radio.disconnect()
    one.radio._on = True
    one.radio._wanted = ("barn", "wrong")  # by whoever ran before a soft reset
    assert await one.up(2500) is None


async def test_a_join_that_came_late_is_taken(board):
    one = board({}, **BARN)
    assert await one.up(31000)
    one.radio.points["barn"] = "horse battery"
    assert await one.up() is None
    assert one.tried == ["barn"]


async def test_tcp_is_tried_five_times_before_the_wifi_is_touched(board):
    one = board({"barn": "horse battery"}, **BARN)
    assert await one.up(2000) is None
    for _ in range(4):
        one.network.dialled(False, SILENCE)
        assert await one.up() is None
    assert one.tried == ["barn"]
    one.network.dialled(False, SILENCE)
    assert await one.up(2500) is None
    assert one.tried == ["barn", "barn"]
    # And then it has another five.
    for _ in range(4):
        one.network.dialled(False, SILENCE)
        assert await one.up() is None


@pytest.mark.parametrize("errno", [EACCES, ECONNREFUSED, ECONNRESET, EIO])
async def test_whoever_answers_was_reached_whatever_it_says(board, errno):
    one = board({"barn": "horse battery"}, **BARN)
    assert await one.up(2000) is None
    for _ in range(20):
        one.network.dialled(False, OSError(errno, "no"))
        assert await one.up() is None
    assert one.tried == ["barn"]


async def test_losses_of_sessions_are_not_held_against_the_wifi(board):
    one = board({"barn": "horse battery"}, **BARN)
    assert await one.up(2000) is None
    for _ in range(4):
        one.network.dialled(False, SILENCE)
    one.network.dialled(True, SILENCE)
    for _ in range(4):
        one.network.dialled(False, OSError(-2, "no name"))
        assert await one.up() is None
    assert one.tried == ["barn"]


async def test_wifi_that_is_gone_is_noticed(board):
    one = board({"barn": "horse battery"}, **BARN)
    assert await one.up(2000) is None
    task = asyncio.create_task(one.network.watch())
    await one.clock.advance(60000)
    assert not task.done()
    del one.radio.points["barn"]
    await one.clock.advance(2000)
    assert task.exception().errno == ENOTCONN


def online(rig):
    return rig.board.online and rig.transport.connected


async def rig_on(monkeypatch, rig):
    """The agent online, through a radio."""
    radio = FakeRadio(rig.clock, {"barn": "horse battery"})
    monkeypatch.setattr(network, "network", radio)
    await rig.start()
    await rig.clock.advance(2000)
    assert online(rig)
    return radio


async def test_the_agent_joins_at_once_when_the_wifi_is_gone(monkeypatch):
    async with Rig(network=BARN) as rig:
        radio = await rig_on(monkeypatch, rig)
        radio.disconnect()
        await rig.clock.advance(2000 + 500 + 2000)
        assert online(rig)
        assert [call[0] for call in radio.calls].count("connect") == 2
        assert any("the Wi-Fi is gone" in text for _, text in rig.lines)


async def test_the_agent_leaves_the_wifi_alone_when_the_broker_is_gone(monkeypatch):
    async with Rig(network=BARN) as rig:
        radio = await rig_on(monkeypatch, rig)
        rig.transport.refusals = [OSError(ECONNREFUSED, "refused") for _ in range(12)]
        rig.transport.cut()
        await rig.clock.advance(1200000)
        assert online(rig)
        assert [call[0] for call in radio.calls].count("connect") == 1


async def test_the_agent_joins_anew_when_nothing_answers(monkeypatch):
    async with Rig(network=BARN) as rig:
        radio = await rig_on(monkeypatch, rig)
        rig.transport.refusals = [OSError(ETIMEDOUT, "silence") for _ in range(5)]
        rig.transport.cut()
        await rig.clock.advance(120000)
        assert online(rig)
        assert [call[0] for call in radio.calls].count("connect") == 2


async def test_the_agent_leaves_the_wifi_alone_when_the_cloud_behind_the_broker_is_silent(
    monkeypatch,
):
    async with Rig(network=BARN) as rig:
        radio = await rig_on(monkeypatch, rig)
        rig.cloud.silent = ["server/info"]
        rig.transport.cut()
        await rig.clock.advance(1200000)
        assert len(rig.transport.endpoints) > 8 and not rig.board.online
        assert [call[0] for call in radio.calls].count("connect") == 1
