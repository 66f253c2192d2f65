"""The MQTT transport on a scripted stream: its packets, its limits, and how a link is lost."""

import asyncio
import sys
from errno import EACCES, ECONNABORTED, ECONNRESET, EIO, ETIMEDOUT

from host_tests.fake_link import FakeTLS, Link


async def refusal(connack, **endpoint):
    """Return the errno and the text with which connecting fails."""
    async with Link(None, **endpoint) as link:
        link.stream.feed(connack)
        link.stream.end()
        try:
            await link.transport.connect(link.endpoint)
        except OSError as e:
            return e.errno, e.args[1]
        return None


async def test_connect_is_one_write_of_a_clean_session():
    async with Link() as link:
        assert link.stream.writes == [b"\x10\x16\x00\x04MQTT\x04\x02\x00\x3c\x00\x0adev-1-ab12"]


async def test_connect_counts_bytes_not_characters_in_login_and_will():
    async with Link(user="Jürgen", password="日本", will=("dh/ü", "{}")) as link:
        packet = link.stream.writes[0]
        assert packet[1] == len(packet) - 2
        assert packet[9] == 0xC6
        assert packet.endswith(
            b"\x00\x05dh/\xc3\xbc\x00\x02{}\x00\x07J\xc3\xbcrgen\x00\x06\xe6\x97\xa5\xe6\x9c\xac"
        )


async def test_connect_with_an_empty_password_sends_one():
    async with Link(user="u", password="") as link:
        assert link.stream.writes[0].endswith(b"\x00\x01u\x00\x00")


async def test_a_refused_login_is_told_apart_from_other_refusals():
    for code in (4, 5):
        errno, text = await refusal(bytes([0x20, 2, 0, code]))
        assert errno == EACCES and "password" in text
    errno, text = await refusal(b"\x20\x02\x00\x01")
    assert errno == EIO and "3.1.1" in text
    assert (await refusal(b"\x20\x02\x00\x63"))[0] == EIO


async def test_session_present_in_connack_is_no_error():
    async with Link(connack=b"\x20\x02\x01\x00") as link:
        assert link.error is None


async def test_what_is_no_broker_is_said_to_be_none():
    errno, text = await refusal(b"\x30\x02ab")
    assert errno == EIO and "not an MQTT broker" in text
    assert (await refusal(b""))[0] == ECONNRESET
    assert (await refusal(b"\x20"))[0] == ECONNRESET


async def test_a_broker_that_closes_at_the_log_in_may_mean_the_password():
    errno, text = await refusal(b"", user="u", password="wrong")
    assert errno == ECONNABORTED and "check login and password" in text


async def test_p4_a_message_that_finds_no_room_in_the_heap_is_passed_over():
    mqtt = sys.modules["agent.mqtt"]

    def crowded(size=0):
        if size > 1100:
            raise MemoryError
        return bytearray(size)

    mqtt.bytearray = crowded
    try:
        async with Link(limit=8192) as link:
            link.stream.feed(b"\x30\xb9\x0a\x00\x01a" + b"x" * 1334 + b"\x30\x04\x00\x01bc")
            await link.clock.settle()
            topic, payload, _ = link.messages[0]
            assert topic == "a" and isinstance(payload, tuple)
            assert link.messages[1] == ("b", b"c", None)
    finally:
        del mqtt.bytearray


async def test_p4_a_broker_that_says_nothing_after_connect_is_given_up():
    async with Link(None) as link:
        task = asyncio.create_task(link.transport.connect(link.endpoint))
        await link.clock.advance(19999)
        assert not task.done()
        await link.clock.advance(1)
        try:
            await task
        except OSError as e:
            assert e.errno == ETIMEDOUT
        else:
            raise AssertionError("it connected to a broker that never answered")


async def test_whatever_one_turn_queues_leaves_in_one_write():
    async with Link() as link:
        link.transport.accept(7)
        link.transport.publish("a", "first")
        link.transport.publish("b", b"second", 1)
        await link.clock.settle()
        assert link.stream.writes[1:] == [
            b"\x40\x02\x00\x07\x30\x08\x00\x01afirst\x32\x0b\x00\x01b\x00\x01second"
        ]


async def test_publish_counts_the_bytes_of_a_topic_and_a_long_payload():
    async with Link() as link:
        link.transport.publish("ü", "x" * 200)
        await link.clock.settle()
        assert link.stream.writes[1] == b"\x30\xcc\x01\x00\x02\xc3\xbc" + b"x" * 200


async def test_subscribe_puts_all_topics_into_one_packet_and_waits_for_its_answer():
    async with Link() as link:
        task = asyncio.create_task(link.transport.subscribe(["a/b", "c" * 130]))
        await link.clock.settle()
        assert link.stream.writes[1] == (
            b"\x82\x8d\x01\x00\x01\x00\x03a/b\x00\x00\x82" + b"c" * 130 + b"\x00"
        )
        assert not task.done()
        link.stream.feed(b"\x90\x04\x00\x01\x00\x01")
        await link.clock.settle()
        assert task.done()
        await task


async def test_a_refused_subscription_names_its_topic():
    async with Link() as link:
        task = asyncio.create_task(link.transport.subscribe(["good", "bad"]))
        await link.clock.settle()
        link.stream.feed(b"\x90\x04\x00\x01\x00\x80")
        try:
            await task
        except OSError as e:
            assert e.errno == EACCES and e.args[1].endswith("bad")
        else:
            raise AssertionError("a refusal was taken for a grant")


async def test_acknowledgements_may_come_in_any_order_and_twice():
    async with Link() as link:
        tokens = [link.transport.publish("t", "m", 1) for _ in range(3)]
        tasks = [asyncio.create_task(link.transport.acknowledged(token)) for token in tokens]
        link.stream.feed(b"\x40\x02\x00\x03\x40\x02\x00\x03\x40\x02\x00\x01\x40\x02\x99\x99")
        await link.clock.settle()
        assert [task.done() for task in tasks] == [True, False, True]
        link.stream.feed(b"\x40\x02\x00\x02")
        await link.clock.settle()
        assert tasks[1].done() and link.error is None


async def test_a_message_that_is_never_acknowledged_times_out():
    async with Link() as link:
        token = link.transport.publish("t", "m", 1)
        task = asyncio.create_task(link.transport.acknowledged(token))
        await link.clock.advance(10000)
        try:
            await task
        except OSError as e:
            assert e.errno == ETIMEDOUT
        else:
            raise AssertionError("acknowledged by nobody")
        assert not link.transport._waiting


async def test_packet_ids_wrap_and_pass_over_those_still_in_use():
    async with Link() as link:
        held = link.transport.publish("t", "m", 1)
        link.transport._pid = 65534
        await link.clock.settle()
        for _ in range(2):
            link.transport.publish("t", "m", 1)
        await link.clock.settle()
        assert held[0] == 1
        assert link.stream.writes[-1] == b"\x32\x06\x00\x01t\xff\xffm\x32\x06\x00\x01t\x00\x02m"


async def test_messages_arrive_whole_in_pieces_and_back_to_back():
    async with Link() as link:
        packet = b"\x30\x07\x00\x03a/bhi" + b"\x32\x06\x00\x01t\x00\x2ax" + b"\xd0\x00"
        for byte in packet:
            link.stream.feed(bytes([byte]))
            await link.clock.settle()
        assert link.messages == [("a/b", b"hi", None), ("t", b"x", 42)]
        link.stream.feed(packet + b"\x30\x02\x00\x00")
        await link.clock.settle()
        assert link.messages[2:] == [("a/b", b"hi", None), ("t", b"x", 42), ("", b"", None)]


async def test_p4_a_message_over_the_limit_is_passed_over_and_the_next_one_arrives():
    async with Link(limit=100) as link:
        link.stream.feed(b"\x30\xb9\x0a\x00\x01a" + b"x" * 1334 + b"\x30\x04\x00\x01bc")
        await link.clock.settle()
        assert [message[0] for message in link.messages] == ["a", "b"]
        assert link.messages[1] == ("b", b"c", None)
        assert link.transport.too_large == 1


async def test_p3_of_a_message_over_the_limit_its_beginning_and_its_end_are_kept():
    # An id may stand at either. No byte is there twice.
    for size in (101, 1020, 1021, 1022, 1532, 1533, 1534, 5000):
        payload = bytes((n * 7 + n // 256) & 0xFF for n in range(size))
        async with Link(limit=100) as link:
            body = b"\x00\x01a\x12\x34" + payload
            link.stream.feed(bytes([0x32, len(body) & 0x7F | 0x80, len(body) >> 7]) + body)
            await link.clock.settle()
            ((topic, (head, tail), receipt),) = link.messages
            assert (topic, receipt) == ("a", 0x1234)
            assert len(head) == min(size, 1019) and head == payload[: len(head)]
            assert len(tail) == min(size - len(head), 512), size
            assert tail == payload[size - len(tail) :]


async def test_p4_a_topic_of_a_kilobyte_on_top_of_the_limit_costs_neither_link_nor_agent():
    async with Link(limit=100) as link:
        link.stream.feed(b"\x30\xd6\x0f\x04\x00" + b"a" * 1024 + b"x" * 980)
        link.stream.feed(b"\x30\x04\x00\x01bc")
        await link.clock.settle()
        assert link.messages == [("b", b"c", None)] and link.error is None


async def test_the_limit_is_the_largest_message_that_is_taken():
    async with Link(limit=100) as link:
        link.stream.feed(b"\x30\x64\x00\x01a" + b"x" * 97 + b"\x30\x65\x00\x01a" + b"x" * 98)
        await link.clock.settle()
        assert link.messages == [("a", b"x" * 97, None), ("a", (b"x" * 98, b""), None)]


async def test_p4_malformed_packets_end_the_link_with_a_reason():
    for junk in (
        b"\x30\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x30\x03\x00\x09a",  # a topic longer than its packet
        b"\x36\x05\x00\x01t\x00\x01",  # QoS 3
        b"\x34\x05\x00\x01t\x00\x01",  # QoS 2 was never asked for
        b"\x32\x04\x00\x01t\x00",  # no room for its packet id
        b"\x30\x04\x00\x02\xff\xfe",  # a topic that is not UTF-8
        b"\x30\x01\x00",  # no room for a topic's length
        b"\x10\x00",  # a CONNECT from a broker
    ):
        async with Link() as link:
            link.stream.feed(junk)
            await link.clock.settle()
            assert link.error and link.error.errno == EIO, junk
            assert not link.messages


async def test_the_end_of_the_stream_in_the_middle_of_a_packet_is_a_loss():
    async with Link() as link:
        link.stream.feed(b"\x30\x64\x00\x01ahalf a mess")
        link.stream.end()
        await link.clock.settle()
        assert link.error.errno == ECONNRESET and not link.messages


async def test_pings_go_out_at_half_the_keepalive_and_silence_is_noticed():
    async with Link() as link:
        await link.clock.advance(30000)
        assert link.stream.writes[1:] == [b"\xc0\x00"]
        link.stream.feed(b"\xd0\x00")
        await link.clock.advance(30000)
        assert link.stream.writes[1:] == [b"\xc0\x00"] * 2
        await link.clock.advance(59000)
        assert link.error is None
        await link.clock.advance(1000)
        assert link.error.errno == ETIMEDOUT


async def test_p4_whoever_publishes_all_the_time_notices_silence_all_the_same():
    async with Link() as link:
        for _ in range(89):
            link.transport.publish("t", "m")
            await link.clock.advance(1000)
        assert link.error is None
        assert link.stream.writes.count(b"\xc0\x00") == 2
        link.transport.publish("t", "m")
        await link.clock.advance(1000)
        assert link.error.errno == ETIMEDOUT


async def test_p4_memory_that_runs_out_in_a_publish_leaves_no_half_packet():
    async with Link() as link:
        buffer = link.transport._buffer
        link.transport.publish("a", "first")

        def write(data, size=None):
            if data == b"large":
                raise MemoryError
            type(buffer).write(buffer, data, size)

        buffer.write = write
        try:
            link.transport.publish("b", "large", 1)
        except MemoryError:
            pass
        else:
            raise AssertionError("the test did not run out of memory")
        link.transport.publish("c", "third")
        await link.clock.settle()
        assert link.stream.writes[1] == b"\x30\x08\x00\x01afirst\x30\x08\x00\x01cthird"


async def test_packets_do_not_wait_for_acknowledgements_of_the_one_before():
    async with Link() as link:
        assert link.top is link.socket and link.socket.options == [(6, 1, 1)]
    assert link.socket.closings == 1


async def test_tls_stands_on_a_socket_that_is_set_up_and_closed_as_well():
    # After a failed handshake the one on top no longer knows the one below.
    tls = FakeTLS()
    async with Link(tls=tls) as link:
        assert link.top is tls.socket and link.socket.options == [(6, 1, 1)]
        assert tls.options == {"server_hostname": "127.0.0.1", "do_handshake_on_connect": False}
    assert (tls.socket.closings, link.socket.closings) == (1, 1)


async def test_a_dial_that_fails_leaves_no_socket_behind():
    async with Link(None) as link:

        async def dial(host, port, ssl=None, server_hostname=None):
            ssl.wrap_socket(link.socket)
            raise OSError(ECONNRESET, "reset")

        asyncio.open_connection = dial
        try:
            await link.transport.connect(link.endpoint)
        except OSError as e:
            assert e.errno == ECONNRESET
        else:
            raise AssertionError("it connected to nobody")
    assert link.socket.closings == 1


async def test_p4_a_name_is_looked_up_once_and_again_when_its_address_answers_no_more():
    # On a board a lookup that nobody answers blocks for longer than the watchdog waits.
    mqtt, asked = sys.modules["agent.mqtt"], []

    class Names:
        def getaddrinfo(self, host, port):
            asked.append(host)
            return [(2, 1, 0, "", ("192.0.2.%d" % len(asked), port))]

    real, mqtt.socket = mqtt.socket, Names()
    try:
        async with Link(None, host="broker.test") as link:
            for _ in range(8):
                try:
                    link.stream.feed(b"\x20\x02\x00\x05")
                    await link.transport.connect(link.endpoint)
                except OSError as e:
                    assert e.errno == EACCES
            assert link.dialled[0] == "192.0.2.1" and link.dialled[-1] == "192.0.2.2"
            assert asked == ["broker.test"] * 2
    finally:
        mqtt.socket = real


async def test_p4_a_peer_that_takes_nothing_does_not_hold_the_agent_for_ever():
    async with Link() as link:

        async def never():
            await asyncio.Event().wait()

        link.stream.out_buf = b"unsent"
        link.stream.drain = never
        link.transport.publish("t", "m")
        await link.clock.advance(59999)
        assert link.error is None
        await link.clock.advance(1)
        assert link.error.errno == ETIMEDOUT
