"""Strangers who overhear every push and send their own: the hub's trap `spoof`, a real agent.

With `verify`, nothing that a stranger sends is run, ends what runs, or gets an answer.
"""

import json

from host_tests import trap_stage
from host_tests.mqtt_client import publish
from host_tests.trap_stage import story, until
from tools.hub import stamp

BOTH = (32, 64)

company = trap_stage.company


NONSENSE = (
    {"timestamp": None},
    {"timestamp": 12},
    {"timestamp": "2026-11-21T09:27:04.031", "lifetime": "soon"},
    {"timestamp": "2999-11-21T09:27:04.031"},
    {"deviceId": None},
    {"deviceId": {}},
    {"command": None},
    {"command": ["quick"]},
    {"lifetime": 1e300},
    {"status": ["cancelled"]},
    {"lastUpdated": 7, "status": "cancelled"},
    {"id": None},
    {"id": {"a": [1]}},
    {"id": -1.5},
)


class Stranger:
    """An anonymous client that overhears every push, and sends changed ones."""

    def __init__(self, ear, mouth):
        self._ear, self._mouth = ear, mouth

    @classmethod
    async def enter(cls, stage):
        """A stranger who listens."""
        nobody = {"user": None, "password": None}
        ear, mouth = [await stage.client(name, **nobody) for name in ("ear", "mouth")]
        assert await ear.subscribe("#") == [0]
        return cls(ear, mouth)

    async def overhear(self, command):
        """The (topic, frame) of the push of a command."""
        while True:
            topic, frame = await self._ear.message()
            if topic.startswith("dh/command/") and frame["command"]["id"] == command.id:
                return topic, frame

    async def publish(self, topic, payload):
        """Publish bytes or a frame, and see them through the broker."""
        if isinstance(payload, dict):
            payload = json.dumps(payload, separators=(",", ":")).encode()
        self._mouth.send(publish(topic, payload))
        assert await self._mouth.quiet()

    async def forge(self, topic, frame, **changed):
        """Publish a push again, the command in it changed."""
        await self.publish(topic, {**frame, "command": {**frame["command"], **changed}})


@story("spoof", bits=BOTH)
async def test_spoof(stage):
    board = await stage.board()
    stranger = await Stranger.enter(stage)
    running = stage.send("slow", ms=5000, lifetime=30)
    await board.started(running)
    topic, frame = await stranger.overhear(running)
    # An invented one, the same again, and the same with other parameters.
    await stranger.forge(topic, frame, id=4711)
    await board.says("4711 was pushed, but the server has no such command")
    await stranger.publish(topic, frame)
    await board.says("was seen before", 1)
    await stranger.forge(topic, frame, parameters={"n": 666, "ms": 1})
    await board.says("was seen before", 2)
    await stranger.publish(topic, b"nonsense")
    await board.says("makes no sense")
    # One that takes it back: the server, which is asked, knows nothing of that.
    asked = len(stage.witness.requests("command/get", running))
    update = topic.replace("command", "command_update", 1)
    back = {**frame, "action": "command/update"}
    await stranger.forge(update, back, status="cancelled", lastUpdated="2026-11-21T09:27:04.031")
    await until(
        lambda: stage.witness.codes("command/get", running)[asked:] == [200],
        "the question whether it was taken back",
    )
    assert not stage.finals[running.id]
    await stage.settled(running)
    assert stage.status(running) == "succeeded"
    await stage.judge()


async def forge_while_it_runs(stage, **changed):
    """A stranger sends a command that runs again, changed: it ends as if nobody had."""
    board = await stage.board()
    stranger = await Stranger.enter(stage)
    running = stage.send("slow", ms=1000, lifetime=30)
    await board.started(running)
    topic, frame = await stranger.overhear(running)
    await stranger.forge(topic, frame, **changed)
    # What is pushed later comes later.
    later = stage.send()
    await stage.settled()
    assert stage.status(running) == "succeeded", board.child.output
    assert board.count("WARNING session") == 0, board.child.output
    assert stage.pushed(later)
    # The server was asked about both.
    assert len(stage.witness.requests("command/get", running)) == 2
    await stage.judge()


@story("spoof", bits=BOTH)
async def test_spoof_with_another_timestamp(stage):
    await forge_while_it_runs(stage, timestamp="2026-11-21T09:27:04.031")


@story("spoof", bits=BOTH)
async def test_spoof_with_a_timestamp_that_is_none(stage):
    await forge_while_it_runs(stage, timestamp="yesterday")


@story("spoof", bits=BOTH)
async def test_spoof_without_a_timestamp(stage):
    await forge_while_it_runs(stage, timestamp=None)


@story("spoof", bits=BOTH)
async def test_spoof_that_is_too_large(stage):
    # The timestamp is another one, for else it were a mere repetition.
    await forge_while_it_runs(
        stage, timestamp="2026-11-21T09:27:04.031", parameters={"n": 1, "x": "x" * 20000}
    )


@story("spoof", bits=BOTH)
async def test_spoof_of_another_devices_command(stage):
    board = await stage.board()
    stranger = await Stranger.enter(stage)
    own = stage.send()
    topic, frame = await stranger.overhear(own)
    stage.hub.store.save_device("dev-2", "dev-2", None)
    others = stage.send(device="dev-2")
    stage.sent.remove(others)
    await stranger.forge(
        topic, frame, id=others.id, deviceId="dev-2", timestamp=stamp.write(others.timestamp)
    )
    text = f"{others.id} was pushed, but the server has no such command"
    await until(lambda: board.count(text) or stage.finals[others.id], lambda: board.child.output)
    assert not stage.finals[others.id], board.child.output
    await stage.judge()


@story("spoof", bits=BOTH)
async def test_spoof_of_all_kinds_of_nonsense(stage):
    board = await stage.board()
    stranger = await Stranger.enter(stage)
    own = stage.send()
    topic, frame = await stranger.overhear(own)
    for payload in (b"[]", b"{}", b"", b"\xff", b'{"command": []}', b"[" * 5000):
        await stranger.publish(topic, payload)
    for changed in NONSENSE:
        await stranger.forge(topic, frame, **changed)
        # The server is asked again, or the message makes no sense at all.
        await stranger.forge(topic, frame, **{"id": 4711, **changed})
    later = stage.send()
    await stage.settled()
    assert board.count("Traceback") == 0, board.child.output
    assert board.count("next try in") == 0, board.child.output
    assert stage.pushed(later)
    assert board.count("makes no sense") + board.count("too large to be answered") == 6
    await board.says("4711 was pushed, but the server has no such command")
    await stage.judge()
