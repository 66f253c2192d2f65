"""Wi-Fi: a hand-written `network` module stands for the board's radio."""

import asyncio

import pytest

from agent import network
from host_tests.fake_clock import FakeClock

SETTINGS = {"ssid": "barn", "password": "horse battery", "country": "DE", "hostname": "pump"}


class FakeRadio:
    """The `network` module of a board, with one access point that answers after a while."""

    STA_IF = 0

    def __init__(self, clock, joins_after_ms):
        self._clock = clock
        self._joins_after_ms = joins_after_ms
        self._joined_at = None
        self.calls = []

    def WLAN(self, interface):
        assert interface == self.STA_IF
        return self

    def country(self, code):
        self.calls.append(("country", code))

    def hostname(self, name):
        self.calls.append(("hostname", name))

    def active(self, on):
        self.calls.append(("active", on))

    def connect(self, ssid, password):
        self.calls.append(("connect", ssid, password))
        self._joined_at = self._clock.ticks() + self._joins_after_ms

    def disconnect(self):
        self.calls.append(("disconnect",))
        self._joined_at = None

    def isconnected(self):
        return self._joined_at is not None and self._clock.ticks() >= self._joined_at

    def status(self):
        return 201

    def ifconfig(self):
        return ("192.0.2.7", "255.255.255.0", "192.0.2.1", "192.0.2.1")


@pytest.fixture
def radio(monkeypatch):
    def install(joins_after_ms):
        fake = FakeRadio(FakeClock(), joins_after_ms)
        monkeypatch.setattr(network, "network", fake)
        return fake

    return install


async def join(radio, settings, ms):
    task = asyncio.create_task(network.up(settings, radio._clock))
    await radio._clock.advance(ms)
    assert task.done()
    return task.exception()


async def test_it_joins_with_country_and_host_name_set_before(radio):
    wifi = radio(1500)
    assert await join(wifi, SETTINGS, 2000) is None
    assert wifi.calls == [
        ("country", "DE"),
        ("hostname", "pump"),
        ("active", True),
        ("connect", "barn", "horse battery"),
    ]


async def test_a_board_that_is_joined_already_is_left_alone(radio):
    wifi = radio(0)
    wifi.connect("other", "")
    wifi.calls.clear()
    assert await join(wifi, SETTINGS, 0) is None
    assert wifi.calls == []


async def test_without_a_name_of_a_network_the_radio_is_not_touched(radio):
    wifi = radio(0)
    assert await join(wifi, {**SETTINGS, "ssid": ""}, 0) is None
    assert wifi.calls == []


async def test_p4_a_network_that_does_not_answer_is_given_up_and_named(radio):
    wifi = radio(10**9)
    error = await join(wifi, SETTINGS, 31000)
    assert isinstance(error, OSError)
    assert "barn" in error.args[1] and "status 201" in error.args[1]
    assert "battery" not in error.args[1]
    assert wifi.calls[-1] == ("disconnect",)
