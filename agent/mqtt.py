"""MQTT 3.1.1 over a socket: umqtt.simple puts the packets together, asyncio carries them.

umqtt.simple is what boards have, but it blocks, and it sends one packet in several small writes,
each of which can wait 40 ms for an acknowledgement. So its client is given a buffer for a socket:
what it would send is collected, and where it would wait for an answer, `_Encoded` stops it. Works
with umqtt.simple 1.3.4 and 1.8.0. Packet formats: MQTT 3.1.1 (OASIS), chapters 2 and 3.
"""

import asyncio
import socket
import struct
from errno import EACCES, ECONNRESET, EIO, ETIMEDOUT

import umqtt.simple as umqtt
from micropython import const

from . import log

_CONNACK = const(0x20)
_PUBLISH = const(0x30)
_PUBACK = const(0x40)
_SUBSCRIBE = const(0x82)
_SUBACK = const(0x90)
_PINGRESP = const(0xD0)

_DIAL_MS = const(15000)
_ANSWER_MS = const(10000)

# What is too large is read in pieces of this size; the first is kept.
_PIECE = const(512)

_IPPROTO_TCP = const(6)

# CONNACK return codes, section 3.2.2.3
_REFUSALS = {
    1: "the broker does not speak MQTT 3.1.1",
    2: "the broker refused the client id",
    3: "the broker is not available",
    4: "the broker refused the login: check the login and the password",
    5: "the broker refused the login: check the login and the password",
}


class _Encoded(Exception):
    """The packet is whole; what umqtt.simple would do next is wait."""


class _Buffer:
    """Stands for the socket of umqtt.simple, and in connect() for the socket module as well."""

    def __init__(self):
        self.data = bytearray()

    def socket(self):
        return self

    def getaddrinfo(self, host, port):
        return ((None,),)

    def connect(self, address):
        pass

    def settimeout(self, seconds):
        pass

    def write(self, data, size=None):
        self.data.extend(data if size is None else memoryview(data)[:size])

    def read(self, size):
        raise _Encoded


class _Encoder(umqtt.MQTTClient):
    def wait_msg(self):
        raise _Encoded


class MQTTTransport:
    """One connection to a broker. Its owner runs `serve` and `receive` as two tasks.

    clock: the agent's Clock; limit: the largest message in bytes that is read into memory
    """

    def __init__(self, clock, limit):
        self._clock = clock
        self._limit = limit
        self._stream = None
        self._cut = False  # the packet that was read last is not whole
        self.too_large = 0

    async def connect(self, endpoint):
        """Dial, with TLS where asked for, and log in with a clean session.

        endpoint: a dict of host, port, client_id, keepalive (seconds), and where there are any
        tls (an SSLContext), user, password, will (topic, payload). Raises OSError: EACCES when the
        credentials were refused, a negative errno when the host's name is not known.
        """
        self._pid = 0
        self._waiting = {}
        self._wake = asyncio.Event()
        self._buffer = _Buffer()
        self._keepalive_ms = endpoint["keepalive"] * 1000
        try:
            await self._dial(endpoint)
            self._encoder = self._log_in(endpoint)
            # The first bytes bring the TLS handshake along.
            await self._flush()
            await self._clock.bounded(self._connected(), _ANSWER_MS)
        except ValueError as e:
            raise OSError(EIO, "TLS: " + str(e).strip())

    @property
    def backlog(self):
        """How many bytes wait to be written."""
        return len(self._buffer.data)

    def publish(self, topic, payload, qos=0):
        """Queue a message; at QoS 1 return the token for `acknowledged`."""
        if isinstance(payload, str):
            payload = payload.encode()
        token = None
        if qos:
            token = self._expect(self._next_pid())
            # umqtt.simple takes the next number, and would go on past 65535.
            self._encoder.pid = token[0] - 1
        try:
            self._encoder.publish(topic.encode(), payload, False, qos)
        except _Encoded:
            pass
        self._wake.set()
        return token

    async def acknowledged(self, token):
        """Return once the broker has taken the message, or raise OSError(ETIMEDOUT)."""
        await self._answered(token, "a message was not acknowledged in time")

    async def subscribe(self, topics):
        """Subscribe at QoS 0; raises OSError(EACCES) with the first topic that is refused."""
        token = self._expect(self._next_pid())
        body = bytearray(struct.pack("!H", token[0]))
        for topic in topics:
            topic = topic.encode()
            body.extend(struct.pack("!H", len(topic)))
            body.extend(topic)
            body.append(0)
        self._write(_SUBSCRIBE, body)
        codes = await self._answered(token, "a subscription was not answered in time")
        for topic, code in zip(topics, codes):
            if code == 0x80:
                raise OSError(EACCES, "the broker refused the subscription to %s" % topic)

    async def receive(self):
        """Return the next message as (topic, payload, receipt); raises OSError on loss.

        Of a message over the limit the payload is a tuple of its first bytes.
        """
        while True:
            kind, body = await self._packet()
            if kind & 0xF0 == _PUBLISH:
                return self._message(kind, body)
            if kind == _PUBACK:
                self._settle(body, True)
            elif kind == _SUBACK:
                self._settle(body, bytes(body[2:]))
            elif kind != _PINGRESP:
                raise OSError(EIO, "the broker sent a packet of type %d" % (kind >> 4))

    def accept(self, receipt):
        """Acknowledge a message that was received, so that it is not sent again."""
        if receipt is not None:
            self._write(_PUBACK, struct.pack("!H", receipt))

    async def serve(self):
        """Write what is queued and prove the link alive until it is lost: raises OSError.

        Whatever one turn of the loop queued leaves in one write.
        """
        half = self._keepalive_ms // 2
        while True:
            if not await self._clock.wait(self._wake, half):
                if self._clock.ticks() - self._heard >= half * 3:
                    raise OSError(ETIMEDOUT, "the broker was silent for 1.5 times the keepalive")
                self._encoder.ping()
            self._wake.clear()
            await self._flush()

    async def close(self):
        """Let go of the socket. Tasks that read or write must have ended."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        stream.close()
        try:
            await stream.wait_closed()
        except OSError:
            pass

    async def _dial(self, endpoint):
        host, port, tls = endpoint["host"], endpoint["port"], endpoint.get("tls")
        self._reader, self._stream = await self._clock.bounded(
            asyncio.open_connection(host, port, ssl=tls), _DIAL_MS
        )
        self._heard = self._clock.ticks()
        sock = getattr(self._stream, "s", None)
        if hasattr(sock, "setsockopt"):
            sock.setsockopt(_IPPROTO_TCP, getattr(socket, "TCP_NODELAY", 1), 1)

    def _log_in(self, endpoint):
        user, password, will = (endpoint.get(key) for key in ("user", "password", "will"))
        encoder = _Encoder(
            endpoint["client_id"].encode(),
            "",
            1,
            None if user is None else user.encode(),
            None if user is None else (password or "").encode(),
            endpoint["keepalive"],
        )
        if will:
            encoder.set_last_will(will[0].encode(), will[1].encode())
        real = getattr(umqtt, "socket")
        setattr(umqtt, "socket", self._buffer)
        try:
            encoder.connect(True)
        except _Encoded:
            pass
        finally:
            setattr(umqtt, "socket", real)
        return encoder

    async def _connected(self):
        kind, body = await self._packet()
        if kind != _CONNACK or len(body) != 2:
            raise OSError(EIO, "what answers there is not an MQTT broker")
        code = body[1]
        if code:
            errno = EACCES if code in (4, 5) else EIO
            raise OSError(errno, _REFUSALS.get(code) or "the broker refused with %d" % code)

    async def _flush(self):
        data, self._buffer.data = self._buffer.data, bytearray()
        if not data:
            return
        self._stream.write(data)
        # MicroPython's stream writes at once what the socket takes, and most of the time that is
        # all. A peer that takes nothing must not hold the pings back for ever.
        if getattr(self._stream, "out_buf", True):
            await self._clock.bounded(self._stream.drain(), max(self._keepalive_ms, _ANSWER_MS))

    async def _read(self, size):
        try:
            data = await self._reader.readexactly(size)
        except EOFError:
            raise OSError(ECONNRESET, "the broker closed the connection")
        self._heard = self._clock.ticks()
        return data

    async def _packet(self):
        # (first byte, body); of what is too large only its first piece.
        kind, size = await self._read(2)
        if size & 0x80:
            size &= 0x7F
            for shift in (7, 14, 21):
                byte = (await self._read(1))[0]
                size |= (byte & 0x7F) << shift
                if not byte & 0x80:
                    break
            else:
                raise OSError(EIO, "the broker sent a malformed length")
        self._cut = size > self._limit
        if not self._cut:
            return kind, await self._read(size) if size else b""
        self.too_large += 1
        log.error("mqtt: a message of %d bytes is not kept, the limit is %d", size, self._limit)
        first = await self._read(min(size, _PIECE))
        size -= len(first)
        while size:
            size -= len(await self._read(min(size, _PIECE)))
        return kind, first

    def _message(self, kind, body):
        size = (body[0] << 8 | body[1]) if len(body) > 1 else len(body)
        start, qos, receipt = 2 + size, kind & 6, None
        if qos:
            receipt = body[start : start + 2]
            start += 2
        if start > len(body) or qos > 2:
            raise OSError(EIO, "the broker sent a malformed message")
        try:
            topic = str(body[2 : 2 + size], "utf-8")
        except UnicodeError:
            raise OSError(EIO, "the broker sent a topic that is not UTF-8")
        payload = (body[start:],) if self._cut else body[start:]
        return topic, payload, receipt and receipt[0] << 8 | receipt[1]

    def _next_pid(self):
        while True:
            self._pid = self._pid % 65535 + 1
            if self._pid not in self._waiting:
                return self._pid

    def _expect(self, pid):
        token = [pid, asyncio.Event(), None]
        self._waiting[pid] = token
        return token

    def _settle(self, body, value):
        # An acknowledgement that nobody waits for any more is passed over.
        token = self._waiting.pop(body[0] << 8 | body[1], None) if len(body) > 1 else None
        if token:
            token[2] = value
            token[1].set()

    async def _answered(self, token, complaint):
        try:
            if not await self._clock.wait(token[1], _ANSWER_MS):
                raise OSError(ETIMEDOUT, complaint)
        finally:
            self._waiting.pop(token[0], None)
        return token[2]

    def _write(self, kind, body):
        data, size = self._buffer.data, len(body)
        data.append(kind)
        while size > 0x7F:
            data.append(size & 0x7F | 0x80)
            size >>= 7
        data.append(size)
        data.extend(body)
        self._wake.set()
