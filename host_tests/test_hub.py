"""The hub as a whole: its start, its end, the verb, its times."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from host_tests.hub_kit import Person, device, good, until
from host_tests.mqtt_client import PATIENCE_S, Client
from tools.hub import stamp
from tools.hub.hub import Hub

ROOT = Path(__file__).parents[1]


def test_stop_frees_the_ports_and_start_serves_on_them_again():
    async def go():
        first = Hub()
        await first.start()
        client = await device(first)
        idle = await Client.dial(first)
        async with aiohttp.ClientSession() as http:
            person = Person(first, http)
            await person.log_in()
            _status, sent = await person.ask("POST", "/device/d/command", {"command": "on"})
            path = f"/device/d/command/{sent['id']}/poll"
            poll = asyncio.create_task(person.ask("GET", path))
            await until(lambda: first._web.polls.waiting)
            await asyncio.wait_for(first.stop(), PATIENCE_S)
            assert await poll == (204, None)
        await client.closed()
        await idle.closed()
        async with Hub(mqtt_port=first.mqtt_port, http_port=first.http_port) as second:
            assert (second.rest, second.store.devices) == (first.rest, {})
            assert await (await Client.dial(second)).connect() == 0
        await first.start()
        again = await Client.dial(first, "board")
        assert await again.connect() == 0
        good(await again.ask("device/get", deviceId="d"))
        await first.stop()

    asyncio.run(go())


def test_stop_does_not_wait_for_a_reader_that_is_slow():
    async def go():
        async with Hub(backlog_limit=2**25) as hub:
            client = await device(hub)
            await client.subscribe("flood")
            client.reader._transport.pause_reading()
            (writer,) = hub._broker._tasks.values()
            sent = 0
            while not writer.transport.get_write_buffer_size():
                hub._broker.spread("flood", b"x" * 500_000)
                sent += 500_000
                await asyncio.sleep(0)
            await asyncio.wait_for(hub.stop(), PATIENCE_S)
            await hub.start()
        client.reader._transport.resume_reading()
        assert len(await client.closed()) < sent

    asyncio.run(go())


def test_port_in_use_is_said_and_nothing_stays_open():
    async def go():
        async with Hub() as first:
            second = Hub(http_port=first.http_port)
            with pytest.raises(OSError, match=f"port {first.http_port} of 127.0.0.1"):
                await second.start()

    asyncio.run(go())


VERB = """
import argparse, sys
from tools import hub
parser = argparse.ArgumentParser()
hub.add_arguments(parser)
sys.exit(hub.run(parser.parse_args()))
"""


def verb(*words):
    return subprocess.Popen(
        [sys.executable, "-c", VERB, *words],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_verb_says_where_it_is_and_ends_cleanly(number):
    with verb("--json", "--mqtt-port", "0", "--http-port", "0") as process:
        said = json.loads(process.stdout.readline())
        assert said == {
            "mqtt_port": said["mqtt_port"],
            "http_port": said["http_port"],
            "login": "heed",
            "password": "heed",
            "rest": f"http://127.0.0.1:{said['http_port']}/api/rest",
            "websocket": f"ws://127.0.0.1:{said['http_port']}/api/websocket",
        }
        for port in (said["mqtt_port"], said["http_port"]):
            socket.create_connection(("127.0.0.1", port)).close()
        process.send_signal(number)
        assert process.communicate(timeout=PATIENCE_S) == ("", "")
        assert process.returncode == 0


def test_verb_with_a_port_in_use_says_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with verb("--mqtt-port", str(port), "--http-port", "0") as process:
            out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1)
    assert f"port {port}" in err


def test_verb_refuses_the_default_password_where_others_reach_it():
    with verb("--host", "0.0.0.0", "--mqtt-port", "0", "--http-port", "0") as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (2, "", 1)
    assert "--password" in err


@pytest.mark.parametrize(
    ("given", "ms"),
    [
        ("1970-01-01T00:00:00.000", 0),
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01 01:00:00.5+01:00", 500),
        ("1969-12-31T23:59:59.999", -1),
        (1500, 1500),
        ("1800000000000", 1_800_000_000_000),
        ("2027-01-15T08:00:00.123456", 1_800_000_000_123),
    ],
)
def test_times_are_read_leniently(given, ms):
    assert stamp.read(given) == ms
    assert stamp.read(stamp.write(ms)) == ms


@pytest.mark.parametrize(
    "given",
    [
        "",
        "now",
        "2027-13-01T00:00:00",
        "2027-01-15T08",
        10**30,
        True,
        1.5,
        [],
        None,
    ],
)
def test_what_is_no_time_is_refused(given):
    with pytest.raises(ValueError):
        stamp.read(given)
