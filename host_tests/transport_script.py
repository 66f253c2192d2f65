"""The transport on real sockets: `micropython transport_script.py WHAT PORT [ca=FILE] [key=value]`.

Each WHAT is a function below. It prints what it saw, one line each, for the test to read.
"""

import asyncio
import gc
import os
import sys

from agent.clock import Clock
from agent.mqtt import MQTTTransport
from agent.session import describe

# 70,000 packet ids are more than there are.
FLOOD = 70000
WINDOW = 100

SETTINGS = {
    "host": "",
    "ca": "",
    "keepalive": 60,
    "limit": 4096,
    "speed": 1,
    "size": 0,
    "times": 1,
}


class QuickClock(Clock):
    """Time-outs of the transport pass `speed` times as fast; the sockets know nothing of it."""

    def __init__(self, speed):
        super().__init__()
        self._speed = speed

    def ticks(self):
        return super().ticks() * self._speed

    async def wait(self, event, timeout_ms=None):
        return await super().wait(event, timeout_ms and timeout_ms // self._speed)

    async def bounded(self, awaitable, timeout_ms):
        return await super().bounded(awaitable, timeout_ms // self._speed)


class Link:
    """A transport with its two tasks, what arrived and the errors that ended it."""

    def __init__(self, port, settings):
        self.settings = settings
        self.transport = MQTTTransport(QuickClock(settings["speed"]), settings["limit"])
        self.endpoint = {
            "host": settings["host"] or ("localhost" if settings["ca"] else "127.0.0.1"),
            "port": port,
            "keepalive": settings["keepalive"],
            "client_id": "script-" + os.urandom(4).hex(),
            "will": ("script/will", "gone"),
        }
        self.arrived = []
        self.errors = []
        self._tasks = []

    async def connect(self):
        if self.settings["ca"]:
            from agent.tls import context

            self.endpoint["tls"] = context(self.settings["ca"])
        await self.transport.connect(self.endpoint)
        print("connected")
        for function in (self.transport.serve, self._receive):
            self._tasks.append(asyncio.create_task(self._watch(function)))

    async def close(self):
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            try:
                await task
            except asyncio.CancelledError:
                pass
        self._tasks = []
        await self.transport.close()

    async def lost(self):
        await until(lambda: self.errors)
        for error in self.errors[:1]:
            print("lost", error.errno, describe(error))

    async def _receive(self):
        while True:
            topic, payload, receipt = await self.transport.receive()
            self.transport.accept(receipt)
            self.arrived.append((topic, payload))

    async def _watch(self, function):
        try:
            await function()
        except OSError as e:
            self.errors.append(e)


async def until(condition):
    # A bound for a test that goes wrong.
    for _ in range(6000):
        if condition():
            return True
        await asyncio.sleep_ms(5)
    return False


async def talk(link):
    """Everything that there is to say to a broker, and its loss."""
    transport, arrived, count = link.transport, link.arrived, 200
    await transport.subscribe(["script/#", "longer/" + "x" * 150])
    print("subscribed")
    tokens = [transport.publish("script/%d" % n, "payload %d" % n, 1) for n in range(count)]
    for token in tokens:
        await transport.acknowledged(token)
    print("acknowledged", len(tokens))
    await until(lambda: len(arrived) == count)
    print("in order", arrived == [("script/%d" % n, b"payload %d" % n) for n in range(count)])
    arrived.clear()
    transport.publish("script/large", b"head" + b"x" * 9992 + b"tail", 1)
    transport.publish("script/full", b"y" * 4000)
    transport.publish("longer/" + "x" * 150, "ü")
    await until(lambda: len(arrived) == 3)
    head, tail = arrived[0][1]
    print(
        "too large", transport.too_large, len(head), bytes(head[:4]), len(tail), bytes(tail[-4:])
    )
    print("whole", [len(payload) for _, payload in arrived[1:]])
    print("waiting for the loss")
    await link.lost()


async def watch(link):
    """What comes, until the link is lost."""
    await link.lost()
    for topic, payload in link.arrived:
        sizes = [len(part) for part in payload] if isinstance(payload, tuple) else len(payload)
        print("message", topic, sizes)


async def cut(link):
    """The driver takes the socket away underneath: nobody says a word any more."""
    link.transport._sockets[-1].close()
    await link.lost()


async def again(link):
    """A second connection over the same transport, as soon as there is a broker again."""
    await link.lost()
    await link.close()
    link.errors.clear()
    print("waiting for a broker")
    while True:
        try:
            await link.connect()
            break
        except OSError:
            await link.transport.close()
            await asyncio.sleep_ms(20)
    await link.transport.acknowledged(link.transport.publish("script/again", "payload", 1))
    print("acknowledged again")


async def flood(link):
    """More messages at QoS 1 than there are packet ids, a hundred under way at a time."""
    transport, tokens, used = link.transport, [], []
    for n in range(FLOOD):
        if len(tokens) == WINDOW:
            await transport.acknowledged(tokens.pop(0))
        tokens.append(transport.publish("script/flood", "%d" % n, 1))
        if n in (FLOOD // 10, FLOOD - 1):
            gc.collect()
            used.append(gc.mem_alloc())
    for token in tokens:
        await transport.acknowledged(token)
    print("acknowledged", FLOOD, "of them", len(transport._waiting), "left")
    print("grown by", used[1] - used[0])


async def pour(link):
    """Messages of `size` bytes, that the peer may take as slowly as it likes."""
    payload = bytes(range(256)) * (link.settings["size"] // 256)
    for _ in range(link.settings["times"]):
        link.transport.publish("script/pour", payload)
    await link.lost()


async def fail(link):
    """Connections that fail leave no file open, whatever they failed of."""
    first = 0
    reasons = set()
    for n in range(12):
        try:
            # Every third one is cut off in the middle.
            await asyncio.wait_for_ms(link.connect(), 30 if n % 3 else 3)
        except OSError as e:
            reasons.add(describe(e))
        except asyncio.TimeoutError:
            reasons.add("cancelled")
        await link.close()
        if n == 0:
            first = files()
    print("files left", files() - first)
    print("reasons", sorted(reasons))


def files():
    gc.collect()
    return len(list(os.ilistdir("/proc/self/fd")))


async def main(what, port, *words):
    settings = dict(SETTINGS)
    for word in words:
        key, _, value = word.partition("=")
        settings[key] = type(SETTINGS[key])(value)
    link = Link(int(port), settings)
    try:
        if what is not fail:
            await link.connect()
        await what(link)
    except OSError as e:
        print("refused", e.errno, describe(e))
    await link.close()


if __name__ == "__main__":
    asyncio.run(main(globals()[sys.argv[1]], *sys.argv[2:]))
