"""One life of a connection: dial, open, serve, lose. And how long to wait before the next."""

import asyncio
import gc
import random
from errno import EACCES, ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EIO, ETIMEDOUT

from micropython import const

from . import log

_ANSWER_MS = const(10000)

# What a cloud sees of the beginning and of the end of a message that is too large.
_HEAD = const(512)

_FIRST_RETRY_MS = const(500)
_SHORTEST_MS = const(1000)
# DeviceHive forgets a command after 120 s: who comes back later than that has missed it for ever.
_LONGEST_MS = const(32000)

# Ten wrong passwords lock a DeviceHive account.
_DENIED_MS = const(60000)
_LONGEST_DENIED_MS = const(3600000)

_REASONS = {
    ECONNREFUSED: "the connection was refused",
    ECONNRESET: "the connection was closed",
    EHOSTUNREACH: "there is no route to it",
    ETIMEDOUT: "there was no answer in time",
}


def describe(error):
    """Return in words why a link failed."""
    if len(error.args) > 1 and isinstance(error.args[1], str):
        return error.args[1]
    # getaddrinfo has numbers of its own, below zero; the unix port makes a text of them.
    code = error.errno
    if isinstance(code, str) or (code is not None and code < 0):
        return "its name could not be resolved"
    return _REASONS[code] if code in _REASONS else str(error)


class Answer:
    """What the cloud said to a request: its key, a code as HTTP's, a value or an error."""

    def __init__(self, key, code=200, value=None, error=None):
        self.key = key
        self.code = code
        self.value = value
        self.error = error

    @property
    def ok(self):
        """Whether the request was granted."""
        return 200 <= self.code < 300


class Backoff:
    """The pause before the next dial: soon at first, then full jitter up to half a minute.

    Refused credentials count apart, from one minute to an hour.
    """

    def __init__(self):
        self._losses = 0
        self._denials = 0

    def succeeded(self):
        """Start again: a session has proved itself."""
        self._losses = self._denials = 0

    def next_ms(self, error):
        """Return the milliseconds to wait after this error."""
        # Closing the connection can be a refusal, too, if it happens again and again.
        if error.errno == EACCES or (error.errno == ECONNABORTED and self._losses > 2):
            pause = min(_DENIED_MS << min(self._denials, 6), _LONGEST_DENIED_MS)
            self._denials += 1
            return pause + random.randrange(pause // 10)
        self._losses += 1
        if self._losses == 1:
            return random.randrange(_FIRST_RETRY_MS)
        ceiling = min(_SHORTEST_MS << min(self._losses - 1, 5), _LONGEST_MS)
        return random.randrange(ceiling)


class Session:
    """What a cloud's coroutines get: requests, subscriptions and the clock of one connection."""

    def __init__(self, number, transport, cloud, clock, intake, proved):
        self.number = number
        self.dialled = False  # the broker has taken the log-in
        self.clock = clock
        # Handed in as functions, so that a cloud knows none of the agent's parts.
        self.deliver = intake.admit  # takes a Command; returns whether it is new
        self.room = intake.room  # returns how many more would find room
        self.working = intake.working  # returns the cloud's commands that wait or run
        self.proved = proved  # to be called at each round trip some seconds after opening
        self.birth = None  # what the board tells of itself when it comes online: a function
        self.publish = transport.publish  # (topic, payload)
        self._transport = transport
        self._cloud = cloud
        self._pending = {}
        self._tasks = []
        self._lost = asyncio.Event()
        self._error = None

    async def live(self, opened):
        """Dial, open and serve until the link is lost, then raise OSError with the reason.

        `opened(session)` is called once the cloud has opened the session.
        """
        self.spawn(self._open(opened))
        try:
            await self._lost.wait()
        finally:
            await self._end()
        raise self._error or OSError(EIO)

    def spawn(self, coroutine):
        """Run a coroutine as long as the session lives; its error ends the session."""
        self._tasks.append(asyncio.create_task(self._guard(coroutine)))

    async def subscribe(self, topics):
        """Subscribe to a list of topics at QoS 0; raises OSError(EACCES) if one is refused."""
        await self._transport.subscribe(topics)

    async def request(self, topic, payload, key, timeout_ms=_ANSWER_MS):
        """Publish a request and return the Answer whose key is `key`.

        Raises OSError(ETIMEDOUT) when none came in `timeout_ms`.
        """
        slot = [asyncio.Event(), None]

        def settle(answer):
            slot[1] = answer
            slot[0].set()

        self.send(topic, payload, key, settle)
        try:
            if not await self.clock.wait(slot[0], timeout_ms):
                raise OSError(ETIMEDOUT, "%s was not answered in time" % topic)
        finally:
            self.forget(key)
        return slot[1]

    def send(self, topic, payload, key, answered):
        """Publish a request; `answered(answer)` is called when its Answer comes."""
        self._pending[key] = answered
        self.publish(topic, payload)

    def forget(self, key):
        """Wait no longer for the answer to a request."""
        self._pending.pop(key, None)

    async def _open(self, opened):
        await self._transport.connect(self._cloud.endpoint())
        self.dialled = True
        self.spawn(self._transport.serve())
        self.spawn(self._read())
        await self._cloud.open(self)
        opened(self)
        await self._cloud.keep(self)

    async def _read(self):
        while True:
            topic, payload, receipt = await self._transport.receive()
            for item in self._decode(topic, payload):
                if isinstance(item, Answer):
                    answered = self._pending.pop(item.key, None)
                    if answered:
                        answered(item)
                else:
                    item = self._cloud.verify(self, item)
                    if item:
                        self.deliver(item)
            # Only now: what was not delivered must come again.
            self._transport.accept(receipt)
            # A list of commands must not stay in memory until the next message comes.
            topic = payload = item = None

    def _decode(self, topic, payload):
        try:
            return self._cloud.decode(topic, payload)
        except MemoryError:
            # As if it were over limits.payload, which is what it is for this heap.
            gc.collect()
            if not isinstance(payload, tuple):
                payload = payload[:_HEAD], payload[-_HEAD:]
            return self._cloud.decode(topic, payload)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            log.warning("session: a message on %s makes no sense (%s)", topic, e)
            return ()

    async def _guard(self, coroutine):
        try:
            await coroutine
        except OSError as e:
            self._lose(e)
        except Exception as e:  # noqa: BLE001
            # A fault of ours or a message that nobody foresaw: the next session may go well,
            # and an agent that stands still does not (P4).
            self._lose(OSError(EIO, type(e).__name__))
            log.write_exception(e)

    def _lose(self, error):
        if self._error is None:
            self._error = error
            self._lost.set()

    async def _end(self):
        # All are cancelled before any is awaited: a stream whose reader goes drops its writer.
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            try:
                await task
            except asyncio.CancelledError:
                pass
        # A task that has ended keeps all that it had read.
        self._tasks.clear()
        self._pending.clear()
        await self._transport.close()
