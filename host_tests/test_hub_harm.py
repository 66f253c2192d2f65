"""The hub's broker towards clients that break the protocol, fall silent or do not read."""

import asyncio
import socket

import pytest

from host_tests.hub_kit import device, good, run, told, until, will
from host_tests.mqtt_client import Client, connect, packet, publish, subscribe, text

CONNECT = connect("bad", "heed", "heed")
BREACHES = {
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "nothing before connect": packet(0xC0),
    "reserved type": CONNECT + packet(0xF0),
    "server's packet": CONNECT + packet(0x20, b"\0\0"),
    "second connect": CONNECT + CONNECT,
    "length without end": b"\x10\xff\xff\xff\xff\xff",
    "wrong flags": CONNECT + packet(0x80, b"\0\1" + text("a") + b"\0"),
    "qos 2": CONNECT + packet(0x34, text("a") + b"\0\1"),
    "qos 3": CONNECT + packet(0x36, text("a") + b"\0\1"),
    "topic not utf-8": CONNECT + publish(b"a\xff", b""),
    "topic with nul": CONNECT + publish("a\0", b""),
    "topic with wildcard": CONNECT + publish("a/+", b""),
    "no topic": CONNECT + publish("", b""),
    "topic cut off": CONNECT + packet(0x30, b"\0\x09abc"),
    "publish without id": CONNECT + packet(0x32, text("a")),
    "publish with id 0": CONNECT + publish("a", b"", number=0),
    "filter not utf-8": CONNECT + subscribe(1, b"\xc3\x28"),
    "filter with # inside": CONNECT + subscribe(1, "a/#/b"),
    "filter with a+": CONNECT + subscribe(1, "a+/b"),
    "empty filter": CONNECT + subscribe(1, ""),
    "subscribe qos 3": CONNECT + subscribe(1, "a", qos=3),
    "subscribe id 0": CONNECT + subscribe(0, "a"),
    "subscribe to nothing": CONNECT + packet(0x82, b"\0\1"),
    "subscribe cut off": CONNECT + packet(0x82, b"\0\1" + text("a")),
    "unsubscribe nothing": CONNECT + packet(0xA2, b"\0\1"),
    "ping with a body": CONNECT + packet(0xC0, b"x"),
    "client id not utf-8": connect(b"\xff"),
    "connect cut off": packet(0x10, text("MQTT") + b"\x04\xc2\0\0" + text("bad") + text("u")),
    "connect with more": packet(0x10, text("MQTT") + b"\x04\x02\0\0" + text("bad") + b"x"),
    "connect reserved flag": packet(0x10, text("MQTT") + b"\x04\x03\0\0" + text("bad")),
    "password alone": packet(0x10, text("MQTT") + b"\x04\x42\0\0" + text("bad") + text("p")),
    "will qos alone": packet(0x10, text("MQTT") + b"\x04\x0a\0\0" + text("bad")),
    "will with wildcard": connect("bad", will=("a/#", b"")),
    "empty connect": packet(0x10),
    "connect too large": b"\x10\xff\xff\xff\x7f",
    "publish too large": CONNECT + b"\x30\x81\x80\x40",
    "list too large": CONNECT + subscribe(1, *["a"] * 20_000),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_breach_closes_one_connection_and_disturbs_nobody(breach, caplog, capfd):
    async def story(hub, _clock):
        client = await device(hub)
        bad = await Client.dial(hub)
        bad.send(BREACHES[breach])
        came = await bad.closed()
        # At most the CONNACK of a CONNECT that was good.
        assert came in (b"", packet(0x20, b"\0\0") * BREACHES[breach].startswith(CONNECT))
        good(await client.ask("server/info"))
        again = await Client.dial(hub, "bad")
        assert await again.connect() == 0

    run(story)
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
    assert capfd.readouterr().err == ""


def test_packet_at_the_limit_passes():
    async def story(hub, _clock):
        client = await Client.dial(hub)
        await client.connect()
        await client.subscribe("big")
        client.send(publish("big", b"x" * (2**20 - 5)))
        assert (await client.message())[1] == b"x" * (2**20 - 5)

    run(story)


def test_silence_before_connect_ends_the_connection_also_byte_by_byte():
    async def story(hub, _clock):
        silent = await Client.dial(hub)
        slow = await Client.dial(hub)
        slow.send(CONNECT[:5])
        await silent.closed()
        await slow.closed()

    run(story, connect_timeout_s=0.05)


def test_silence_for_longer_than_the_keepalive_ends_the_connection():
    async def story(hub, _clock):
        await device(hub)
        client = await Client.dial(hub)
        # A keepalive of 1 s, that is 50 ms here; none at all for the other.
        assert await client.connect(keepalive=1, will=will("silent")) == 0
        forever = await Client.dial(hub, "forever")
        await forever.connect()
        for _ in range(10):
            assert await client.quiet()
        await client.closed()
        await told(hub, "silent")
        assert await forever.quiet()

    run(story, keepalive_factor=0.05)


def test_keepalive_counts_one_and_a_half_times_unless_told_otherwise():
    async def story(hub, _clock):
        client = await Client.dial(hub)
        loop = asyncio.get_running_loop()
        assert await client.connect(keepalive=1) == 0
        before = loop.time()
        await client.closed()
        assert loop.time() - before > 1.4

    run(story)


def test_slow_reader_is_closed_before_it_fills_the_memory():
    async def story(hub, _clock):
        client = await device(hub)
        slow = await Client.dial(hub, "slow")
        slow.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.reader._transport.pause_reading()
        slow.send(connect("slow", "heed", "heed") + subscribe(1, "flood"))
        clients = hub._broker.clients
        await until(lambda: "slow" in clients and clients["slow"].session.subscriptions)
        sent = 0
        while "slow" in clients:
            client.send(publish("flood", b"x" * 500_000))
            assert await client.quiet()
            sent += 1
            assert sent < 100
        good(await client.ask("server/info"))

    run(story, backlog_limit=2**21)


def test_client_that_asks_without_reading_is_held_back_not_closed():
    async def story(hub, _clock):
        client = await device(hub)
        hub.store.insert_command(hub.store.devices["d"], 1, "on", parameters="x" * 100_000)
        await client.subscribe("dh/response/command/list@board")
        request = {"action": "command/list", "deviceId": "d"}
        for _ in range(200):
            client.send(publish("dh/request", request))
        for _ in range(200):
            assert len((await client.message())[1]["commands"]) == 1

    run(story, backlog_limit=2**20)


def test_filters_of_one_client_are_bounded():
    async def story(hub, _clock):
        client = await Client.dial(hub)
        await client.connect()
        codes = await client.subscribe(*[f"t/{n}" for n in range(1001)])
        assert codes == [0] * 1000 + [0x80]

    run(story)
