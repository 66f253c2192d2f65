"""A small MQTT 3.1.1 client for tests, on bare bytes: it can also say what no client should."""

import asyncio
import json

PATIENCE_S = 5


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return len(data).to_bytes(2, "big") + data


def packet(first, body=b""):
    size, length = b"", len(body)
    while length > 127:
        size += bytes([length % 128 + 128])
        length //= 128
    return bytes([first]) + size + bytes([length]) + body


def connect(
    client_id,
    user=None,
    password=None,
    *,
    keepalive=0,
    will=None,
    level=4,
    clean=True,
    name="MQTT",
):
    flags = 2 * clean
    body = text(client_id)
    if will is not None:
        flags |= 4
        body += text(will[0]) + text(will[1])
    if user is not None:
        flags |= 0x80
        body += text(user)
    if password is not None:
        flags |= 0x40
        body += text(password)
    return packet(0x10, text(name) + bytes([level, flags]) + keepalive.to_bytes(2, "big") + body)


def subscribe(number, *filters, qos=0):
    body = b"".join(text(one) + bytes([qos]) for one in filters)
    return packet(0x82, number.to_bytes(2, "big") + body)


def publish(topic, payload, number=None):
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    if number is None:
        return packet(0x30, text(topic) + data)
    return packet(0x32, text(topic) + number.to_bytes(2, "big") + data)


class Client:
    """One connection; use `await Client.dial(hub)`, then the verbs."""

    def __init__(self, reader, writer, client_id):
        self.reader = reader
        self.writer = writer
        self.client_id = client_id
        self.messages = []
        self._number = 0

    @classmethod
    async def dial(cls, hub, client_id="c1"):
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.mqtt_port)
        return cls(reader, writer, client_id)

    def send(self, data):
        self.writer.write(data)

    async def _read(self):
        first = (await self.reader.readexactly(1))[0]
        length = shift = 0
        while True:
            byte = (await self.reader.readexactly(1))[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first, await self.reader.readexactly(length)

    async def read(self):
        """(first byte, body) of the next packet."""
        return await asyncio.wait_for(self._read(), PATIENCE_S)

    async def expect(self, kind):
        """The body of the next packet of that first byte; messages on the way are kept."""
        while True:
            first, body = await self.read()
            if first == kind:
                return body
            assert first == 0x30, hex(first)
            self.messages.append(_message(body))

    async def message(self):
        """(topic, value) of the next message."""
        if not self.messages:
            self.messages.append(_message(await self.expect(0x30)))
        return self.messages.pop(0)

    async def closed(self):
        """Wait until the hub has closed the connection; the bytes that came before."""
        came = bytearray()
        try:
            while piece := await asyncio.wait_for(self.reader.read(65536), PATIENCE_S):
                came += piece
        except ConnectionError:
            pass
        return bytes(came)

    async def connect(self, user="heed", password="heed", **options):
        """CONNECT; the code of the CONNACK."""
        self.send(connect(self.client_id, user, password, **options))
        return (await self.expect(0x20))[1]

    async def subscribe(self, *filters, qos=0):
        """SUBSCRIBE; the codes of the SUBACK."""
        self._number += 1
        self.send(subscribe(self._number, *filters, qos=qos))
        return list((await self.expect(0x90))[2:])

    async def unsubscribe(self, *filters):
        self._number += 1
        body = self._number.to_bytes(2, "big") + b"".join(map(text, filters))
        self.send(packet(0xA2, body))
        await self.expect(0xB0)

    async def ask(self, action, **fields):
        """Send a request and give its answer, whose topic is subscribed first.

        Pushes that come before it are kept for `message`.
        """
        await self.subscribe(f"dh/response/{action}@{self.client_id}")
        self.send(publish("dh/request", {"action": action, "requestId": 7, **fields}))
        wanted, others = f"dh/response/{action}@{self.client_id}", []
        while True:
            topic, answer = await self.message()
            if topic == wanted:
                break
            others.append((topic, answer))
        self.messages = others + self.messages
        assert answer["action"] == action and answer["requestId"] == 7, answer
        return answer

    async def quiet(self):
        """That nothing has come up to now: the next packet is the answer to a PINGREQ."""
        self.send(packet(0xC0))
        assert (await self.read())[0] == 0xD0
        return not self.messages

    def close(self):
        self.writer.transport.abort()


def _message(body):
    size = int.from_bytes(body[:2], "big")
    topic, payload = body[2 : 2 + size].decode(), body[2 + size :]
    try:
        return topic, json.loads(payload)
    except ValueError:
        return topic, payload
