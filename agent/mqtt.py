"""MQTT 3.1.1 over a socket: umqtt.simple puts the packets together, asyncio carries them.

umqtt.simple is what boards have, but it blocks, and it sends one packet in several small writes,
each of which can wait 40 ms for an acknowledgement. So its client is given a buffer for a socket:
what it would send is collected, and where it would wait for an answer, `_Encoded` stops it. Works
with umqtt.simple 1.3.4 and 1.8.0. Packet formats: MQTT 3.1.1 (OASIS), chapters 2 and 3.
"""

import asyncio
import gc
import socket
from errno import EACCES, ECONNABORTED, ECONNRESET, EIO, ETIMEDOUT

import umqtt.simple as umqtt
from micropython import const

from . import borrow, log

_CONNACK = const(0x20)
_PUBLISH = const(0x30)
_PUBACK = const(0x40)
_SUBSCRIBE = const(0x82)
_SUBACK = const(0x90)
_PINGRESP = const(0xD0)

_DIAL_MS = const(15000)
_MISSES = const(5)
# The first bytes bring the TLS handshake along, which takes small boards some seconds.
_LOG_IN_MS = const(20000)
_ANSWER_MS = const(10000)

# What is too large is read in pieces of this size. Two of them hold a topic and the first 512
# bytes of its message.
_PIECE = const(512)

_IPPROTO_TCP = const(6)

# CONNACK return codes, section 3.2.2.3; 4 and 5 are about the login.
_REFUSALS = {1: "1: no MQTT 3.1.1", 2: "2: the client id", 3: "3: not available now"}


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

    def connect(self, value):
        pass

    settimeout = connect

    def write(self, data, size=None):
        self.data.extend(data if size is None else memoryview(data)[:size])

    def read(self, size=0):
        raise _Encoded


class MQTTTransport:
    """One connection to a broker. Its owner runs `serve` and `receive` as two tasks.

    clock: the agent's Clock; limit: the largest message in bytes that is read into memory
    """

    def __init__(self, clock, limit):
        self._clock = clock
        self._limit = limit
        self._sockets = ()
        self._taken = False  # the broker has taken this login before
        self._address = None
        self._misses = 0  # dials in a row that came to nothing
        self.too_large = 0

    async def connect(self, endpoint):
        """Dial, with TLS where asked for, and log in with a clean session.

        endpoint: a dict of host, port, client_id, keepalive (seconds), and where there are any
        tls (an SSLContext), user, password, will (topic, payload). Raises OSError: EACCES when the
        credentials were refused, a negative errno when the host's name is not known. Whatever
        comes of it, `close` is due.
        """
        self._pid = 0
        self._waiting = {}
        self._wake = asyncio.Event()
        self._buffer = _Buffer()
        self._keepalive_ms = endpoint["keepalive"] * 1000
        self._tls = endpoint.get("tls")
        host, port = endpoint["host"], endpoint["port"]
        # asyncio shows the socket to nobody but its `ssl`.
        dial = asyncio.open_connection(
            self._resolved(host, port), port, ssl=self, server_hostname=host
        )
        self._stream = (await self._clock.bounded(dial, _DIAL_MS))[0]
        self._encode_connect(endpoint)
        await self._clock.bounded(self._log_in(), _LOG_IN_MS)
        self._misses = 0

    def _resolved(self, host, port):
        # A lookup blocks the loop, and when nobody answers it does so for longer than a watchdog
        # is patient: an address that was good is asked for again only when it no longer is.
        if not self._address or self._misses > _MISSES:
            self._misses = 0
            found = socket.getaddrinfo(host, port)[0][-1]
            self._address = (
                found[0] if isinstance(found, tuple) else host
            )  # the unix port's: bytes
        self._misses += 1
        return self._address

    def wrap_socket(self, sock, **options):
        """Take the place of an SSLContext: for asyncio, while it dials."""
        # A failed handshake lets go of the socket below it without closing it.
        self._sockets = (sock,)
        sock.setsockopt(_IPPROTO_TCP, getattr(socket, "TCP_NODELAY", 1), 1)
        if self._tls:
            sock = self._tls.wrap_socket(sock, **options)
            self._sockets = sock, self._sockets[0]
        return sock

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
            token = self._expect()
            # umqtt.simple takes the next number, and would go on past 65535.
            self._encoder.pid = token[0] - 1
        data = self._buffer.data
        whole = len(data)
        try:
            self._encoder.publish(topic.encode(), payload, False, qos)
        except _Encoded:
            pass
        except MemoryError:
            # Half a packet would spoil all that follow.
            data[whole:] = b""
            raise
        self._wake.set()
        return token

    async def acknowledged(self, token):
        """Return once the broker has answered, or raise OSError(ETIMEDOUT)."""
        try:
            if not await self._clock.wait(token[1], _ANSWER_MS):
                raise OSError(ETIMEDOUT, "the broker did not acknowledge in time")
        finally:
            self._waiting.pop(token[0], None)
        return token[2]

    async def subscribe(self, topics):
        """Subscribe at QoS 0; raises OSError(EACCES) with the first topic that is refused."""
        token = self._expect()
        body = bytearray(token[0].to_bytes(2, "big"))
        for topic in topics:
            topic = topic.encode()
            body.extend(len(topic).to_bytes(2, "big"))
            body.extend(topic)
            body.append(0)
        self._write(_SUBSCRIBE, body)
        codes = await self.acknowledged(token)
        for topic, code in zip(topics, codes):
            if code == 0x80:
                raise OSError(EACCES, "the broker refused the subscription to %s" % topic)

    async def receive(self):
        """Return the next message as (topic, payload, receipt); raises OSError on loss.

        Of a message over the limit the payload is a tuple: its first bytes, 512 or more, and its
        last, 512 at most.
        """
        while True:
            kind, body, tail = await self._packet()
            if kind & 0xF0 == _PUBLISH:
                message = self._message(kind, body, tail)
                if message:
                    return message
            elif kind in (_PUBACK, _SUBACK) and len(body) > 1:
                # One that nobody waits for any more is passed over.
                token = self._waiting.pop(body[0] << 8 | body[1], None)
                if token:
                    token[2] = body[2:]
                    token[1].set()
            elif kind != _PINGRESP:
                raise OSError(EIO, "the broker sent a packet of type %d" % (kind >> 4))

    def accept(self, receipt):
        """Acknowledge a message that was received, so that it is not sent again."""
        if receipt is not None:
            self._write(_PUBACK, receipt.to_bytes(2, "big"))

    async def serve(self):
        """Write what is queued and prove the link alive until it is lost: raises OSError.

        Whatever one turn of the loop queued leaves in one write.
        """
        half = self._keepalive_ms // 2
        due = self._clock.ticks() + half
        while True:
            # However much is sent: only what comes back proves anything.
            wait = min(due, self._heard + half * 3) - self._clock.ticks()
            await self._clock.wait(self._wake, wait)
            now = self._clock.ticks()
            if now - self._heard >= half * 3:
                raise OSError(ETIMEDOUT, "the broker was silent for 1.5 times the keepalive")
            if now >= due:
                self._encoder.ping()
                due = now + half
            self._wake.clear()
            await self._flush()

    async def close(self):
        """Let go of the socket. Tasks that read or write must have ended."""
        sockets, self._sockets = self._sockets, ()
        for sock in sockets:
            try:
                sock.close()
            except OSError:
                pass

    def _encode_connect(self, endpoint):
        user, password, will = (endpoint.get(key) for key in ("user", "password", "will"))
        self._encoder = encoder = umqtt.MQTTClient(
            endpoint["client_id"].encode(),
            "",
            1,
            None if user is None else user.encode(),
            None if user is None else (password or "").encode(),
            endpoint["keepalive"],
        )
        setattr(encoder, "wait_msg", self._buffer.read)
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

    async def _log_in(self):
        await self._flush()
        try:
            kind, body, _ = await self._packet()
        except OSError as e:
            if e.errno == ECONNRESET and self._encoder.user and not self._taken:
                # DeviceHive's broker dies of a wrong password.
                text = "the broker closed the connection at the log-in: check login and password"
                raise OSError(ECONNABORTED, text)
            raise
        if kind != _CONNACK or len(body) != 2:
            raise OSError(EIO, "what answers there is not an MQTT broker")
        code = body[1]
        if code in (4, 5):
            text = "the broker refused the login: check the login and the password"
            raise OSError(EACCES, text)
        if code:
            raise OSError(EIO, "the broker refused with %s" % (_REFUSALS.get(code) or code))
        self._taken = True

    async def _flush(self):
        data, self._buffer.data = self._buffer.data, bytearray()
        if not data:
            return
        try:
            self._stream.write(data)
            # MicroPython's stream writes at once what the socket takes, and most of the time that
            # is all. A peer that takes nothing must not hold the pings back for ever.
            if self._stream.out_buf:
                bound = max(self._keepalive_ms, _ANSWER_MS)
                await self._clock.bounded(self._stream.drain(), bound)
        except (OSError, ValueError) as e:
            raise self._explained(e)

    async def _read(self, size):
        return await self._fill(bytearray(size))

    async def _fill(self, data):
        view, at = memoryview(data), 0
        while at < len(data):
            try:
                size = await self._stream.readinto(view[at:])
            except (OSError, ValueError) as e:
                raise self._explained(e)
            if size == 0:
                raise OSError(ECONNRESET, "the broker closed the connection")
            at += size or 0  # None: only TLS had something to read
        self._heard = self._clock.ticks()
        return data

    def _explained(self, error):
        if self._tls:
            return borrow("tls").explain(error)
        return error

    async def _packet(self):
        # (first byte, body, None); of what is too large (first byte, first pieces, last piece).
        kind, byte = await self._read(2)
        size, shift = byte & 0x7F, 7
        while byte & 0x80:
            if shift > 21:
                raise OSError(EIO, "the broker sent a malformed length")
            byte = (await self._read(1))[0]
            size |= (byte & 0x7F) << shift
            shift += 7
        room = self._room(size)
        if room is not None:
            return kind, await self._fill(room), None
        self.too_large += 1
        log.error("mqtt: a message of %d bytes is not kept, the limit is %d", size, self._limit)
        head = await self._read(min(size, 2 * _PIECE))
        size -= len(head)
        while size > _PIECE:
            size -= len(await self._read(min(size - _PIECE, _PIECE)))
        return kind, head, await self._read(size)

    def _room(self, size):
        # What the heap has no room for, in one piece, is as good as over the limit.
        try:
            return bytearray(size) if size <= self._limit else None
        except MemoryError:
            gc.collect()
        try:
            return bytearray(size)
        except MemoryError:
            return None

    def _message(self, kind, body, tail):
        size = (body[0] << 8 | body[1]) if len(body) > 1 else len(body)
        start, receipt = 2 + size, None
        if kind & 6:
            receipt = int.from_bytes(body[start : start + 2], "big")
            start += 2
        if start > len(body) and tail:
            return None  # not even the topic is whole
        if start > len(body) or kind & 4:
            raise OSError(EIO, "the broker sent a malformed message")
        try:
            topic = str(body[2 : 2 + size], "utf-8")
        except UnicodeError:
            raise OSError(EIO, "the broker sent a topic that is not UTF-8")
        body[:start] = b""  # in place: there may be no room for two of it
        return topic, body if tail is None else (body, tail), receipt

    def _expect(self):
        while True:
            self._pid = self._pid % 65535 + 1
            if self._pid not in self._waiting:
                break
        token = self._waiting[self._pid] = [self._pid, asyncio.Event(), None]
        return token

    def _write(self, kind, body):
        data, size = self._buffer.data, len(body)
        data.append(kind)
        while size > 0x7F:
            data.append(size & 0x7F | 0x80)
            size >>= 7
        data.append(size)
        data.extend(body)
        self._wake.set()
