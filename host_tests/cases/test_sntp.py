"""The board's clock by SNTP: real datagrams on 127.0.0.1, a hand-written `machine`, fake time."""

import asyncio
import errno
import os
import socket
import sys

from agent import log, sntp
from agent.clock import parse_iso8601
from host_tests.fake_clock import MORNING_MS, FakeClock

ESP32_POWER_UP = parse_iso8601("2000-01-01T00:00:03")
RP2_POWER_UP = parse_iso8601("2021-01-01T00:00:03")
_TO_UNIX_S = 2208988800


class FakeMachine:
    """The `machine` module of a board, with the RTC alone; it sets a FakeClock."""

    def __init__(self, clock):
        self._clock = clock
        self.settings = []

    def RTC(self):
        return self

    def datetime(self, when):
        year, month, day, _, hours, minutes, seconds, _ = when
        self.settings.append(when)
        text = "%04d-%02d-%02dT%02d:%02d:%02d" % (year, month, day, hours, minutes, seconds)
        self._clock.step_board_ms(parse_iso8601(text) - self._clock._time.unix_ms)


def answering(seconds=MORNING_MS // 1000, first=0x24, stratum=2, originate=None, size=48):
    """Return a server's manners: a function of the question that gives the answer."""

    def answer(question):
        packet = bytearray(48)
        packet[0], packet[1] = first, stratum
        packet[24:32] = question[40:48] if originate is None else originate
        packet[40:44] = (seconds + _TO_UNIX_S & 0xFFFFFFFF).to_bytes(4, "big")
        return [bytes(packet[:size])]

    return answer


def silent(question):
    return []


class Host:
    """An NTP host on a free port; `answer(question)` gives the datagrams that it sends back."""

    def __init__(self, answer):
        self._answer = answer
        self.questions = []
        while True:
            port = 20000 + int.from_bytes(os.urandom(2), "big") % 40000
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self._socket.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
                break
            except OSError:
                self._socket.close()
        self._socket.setblocking(False)
        self.name = "127.0.0.1:%d" % port

    def turn(self):
        try:
            question, asker = self._socket.recvfrom(1000)
        except OSError as e:
            assert e.errno == errno.EAGAIN, e
            return
        self.questions.append(question)
        for datagram in self._answer(question):
            self._socket.sendto(datagram, asker)

    def close(self):
        self._socket.close()


class Scene:
    """A board that was just powered up, and the hosts it may ask."""

    def __init__(self, *manners, unix_ms=ESP32_POWER_UP):
        self.hosts = [Host(answer) for answer in manners]
        self.clock = FakeClock(unix_ms)
        self.machine = FakeMachine(self.clock)
        self.error = None
        self.lines = []

    async def run(self, *names, past_ms=-1):
        """Set the clock; return the milliseconds that it took."""
        names = names or [host.name for host in self.hosts]
        before = sys.modules.get("machine")
        sys.modules["machine"] = self.machine
        log.sink = lambda severity, text: self.lines.append(text)
        began = self.clock.ticks()
        task = asyncio.create_task(self._set_clock(list(names), past_ms))
        try:
            while not task.done() and self.clock.ticks() < began + 20000:
                await self.clock.advance(25)
                for host in self.hosts:
                    host.turn()
            await task
        finally:
            log.sink = log._print
            del sys.modules["machine"]
            if before:
                sys.modules["machine"] = before
            for host in self.hosts:
                host.close()
        return self.clock.ticks() - began

    async def _set_clock(self, names, past_ms):
        try:
            await sntp.set_clock(self.clock, names, past_ms)
        except OSError as e:
            self.error = e


async def test_the_answer_sets_the_boards_clock():
    for power_up in (ESP32_POWER_UP, RP2_POWER_UP):
        scene = Scene(answering(), unix_ms=power_up)
        assert not scene.clock.plausible
        await scene.run()
        assert scene.machine.settings == [(2026, 11, 21, 0, 9, 0, 0, 0)]
        assert scene.clock.plausible and not scene.clock.known
        assert scene.lines[0].startswith("sntp: 2026-11-21T09:00:00"), scene.lines


async def test_the_question_is_a_clients_and_no_two_are_alike():
    asked = []
    for _ in range(2):
        scene = Scene(answering())
        await scene.run()
        asked.extend(scene.hosts[0].questions)
    assert [(len(question), question[0]) for question in asked] == [(48, 0x23)] * 2
    assert asked[0][40:] != asked[1][40:]
    assert asked[0][1:40] == bytes(39)


async def test_the_era_from_2036_on_is_understood():
    for text in ("2036-02-07T06:28:15", "2036-02-07T06:28:17", "2100-03-01T00:00:00"):
        scene = Scene(answering(parse_iso8601(text) // 1000))
        await scene.run()
        assert scene.error is None
        assert abs(scene.clock.now_ms() - parse_iso8601(text)) < 1000, text


async def test_what_does_not_answer_the_question_is_passed_over():
    good = answering()
    for wrong in (
        answering(0, originate=b"\x00" * 8),
        answering(0, originate=b"strange!"),
        answering(0, first=0x23),  # mode 3: another client's question
        answering(0, size=47),
        answering(0, size=0),
    ):
        scene = Scene(lambda question: wrong(question) + good(question))
        await scene.run()
        assert scene.error is None and len(scene.machine.settings) == 1
        assert scene.clock.now_ms() // 1000 == MORNING_MS // 1000
    alone = Scene(wrong)
    assert await alone.run() >= 2000
    assert "it is silent" in alone.error.args[1] and alone.machine.settings == []


async def test_a_host_that_knows_no_time_is_left_for_the_next_one():
    for bad in (
        answering(stratum=0),  # kiss-o'-death
        answering(stratum=16),
        answering(first=0xE4),  # not synchronised
        answering(-_TO_UNIX_S),
        answering(parse_iso8601("2019-06-01T00:00:00") // 1000),
    ):
        scene = Scene(bad, answering())
        assert await scene.run() < 500
        assert scene.clock.now_ms() // 1000 == MORNING_MS // 1000
        assert len(scene.hosts[0].questions) == 1
        alone = Scene(bad)
        await alone.run()
        assert "it gives no time (stratum" in alone.error.args[1]
        assert alone.machine.settings == []


async def test_p4_a_host_that_is_silent_has_two_seconds():
    scene = Scene(silent, answering())
    assert 2000 <= await scene.run() < 2500
    assert scene.error is None and scene.clock.plausible
    scene = Scene(silent, silent)
    assert 4000 <= await scene.run() < 4500
    for host in scene.hosts:
        assert host.name in scene.error.args[1]
    assert "UDP port 123" in scene.error.args[1]


async def test_a_host_that_is_not_there_is_left_for_the_next_one():
    gone = Host(silent)
    gone.close()
    scene = Scene(answering())
    names = gone.name, "no-such-host.invalid", "127.0.0.1:x", scene.hosts[0].name
    assert await scene.run(*names) < 500  # a closed port is no silence
    assert scene.error is None and scene.clock.plausible
    scene = Scene()
    await scene.run("no-such-host.invalid", "127.0.0.1:x")
    assert "no-such-host.invalid: " in scene.error.args[1]
    assert "127.0.0.1:x: name or name:port fits" in scene.error.args[1]


async def test_without_an_answer_the_newest_time_that_is_past_has_to_do_until_there_is_one():
    scene = Scene(silent, unix_ms=RP2_POWER_UP)
    await scene.run(past_ms=MORNING_MS - 5000)
    assert scene.error is None
    assert scene.machine.settings == [(2026, 11, 21, 0, 8, 59, 55, 0)]
    # It is behind, and may be too far behind for a certificate: the next session asks again.
    assert scene.clock.guessed and not scene.clock.plausible
    assert "will do" in scene.lines[-1]
    again = Scene(silent)
    again.clock = scene.clock
    again.machine = scene.machine
    await again.run(past_ms=MORNING_MS - 5000)
    assert len(scene.machine.settings) == 1  # it never goes back
    found = Scene(answering(MORNING_MS // 1000 + 60))
    found.clock = scene.clock
    found.machine = scene.machine
    await found.run(past_ms=MORNING_MS - 5000)
    assert scene.clock.plausible and not scene.clock.guessed


async def test_a_guess_is_mended_by_the_clouds_time():
    scene = Scene()
    await scene.run(past_ms=MORNING_MS - 86400000)
    assert scene.clock.guessed
    scene.clock.set_ms(MORNING_MS, scene.clock.ticks(), scene.clock.ticks())
    assert not scene.clock.plausible  # TLS sees the board's clock
    await scene.run(past_ms=MORNING_MS - 86400000)
    assert scene.machine.settings[1] == (2026, 11, 21, 0, 9, 0, 0, 0)
    assert scene.clock.plausible


async def test_without_any_host_the_certificate_decides():
    scene = Scene()
    await scene.run()
    assert scene.error is None and scene.machine.settings == []
    assert len(scene.lines) == 1 and "2000-01-01" in scene.lines[0]
