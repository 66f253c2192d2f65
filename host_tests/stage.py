"""A hub in this process, a relay before it, an agent on MicroPython, and who sees what they do."""

import asyncio
import json
import time
from pathlib import Path

from host_tests.place import Place
from host_tests.relay import Relay
from tools.hub.hub import Hub
from tools.rest import REST

# What every handler does first is to say that it started, and when.
PROGRAM = """
import asyncio
import os
import time
from agent import Agent

board = Agent("settings.json")

def start(command):
    print("START", command.id, time.time_ns() // 1000000)

@board.command("note")
def note(command):
    start(command)
    return command.parameters

@board.command("gpio/write")
def write(command):
    start(command)
    return command.parameters

async def hold(command):
    start(command)
    try:
        while "release" not in os.listdir():
            await asyncio.sleep_ms(20)
    except asyncio.CancelledError:
        print("CANCELLED", command.id)
        raise
    return "held"

board.command("hold")(hold)
board.command("newest", when_busy="replace")(hold)

board.run()
"""

FINAL = {
    "succeeded",
    "failed",
    "rejected",
    "unknown",
    "expired",
    "timed_out",
    "busy",
    "too_large",
    "cancelled",
    "interrupted",
}


class Clock:
    """The hub's clock: this machine's, and as much ahead of it as a test wants."""

    ahead_s = 0

    def __call__(self):
        return time.time() + self.ahead_s


class Stage:
    """Use it as `async with Stage(folder, bits) as stage`; all that it started ends with it.

    traps: of the hub.

    Attributes:
        hub, clock, relay: the parts here; the agent reaches the hub by the relay alone.
        place: the agent's Place. rest: a person with the REST API, logged in.
        commands: each Command that was inserted, by id.
        updates: (id, status, result as JSON) of each update, in the order they came.
    """

    def __init__(self, folder: Path, bits=32, traps=()):
        self.clock = Clock()
        self.hub = Hub(clock=self.clock, traps=traps)
        self.place = Place(folder, bits, PROGRAM)
        self.commands = {}
        self.updates = []
        self.hub.store.listen(self._hear)

    async def __aenter__(self):
        await self.hub.start()
        self.relay = await Relay(lambda: self.hub.mqtt_port).__aenter__()
        self.place.facts["mqtt_port"] = self.relay.port
        self.rest = await REST(self.hub.rest, "heed", "heed").__aenter__()
        await self.rest.login()
        return self

    async def __aexit__(self, *_):
        await asyncio.to_thread(self.place.__exit__)
        await self.rest.__aexit__()
        await self.relay.__aexit__()
        await self.hub.stop()

    def _hear(self, event, record):
        if event == "command/insert":
            self.commands[record.id] = record
        elif event == "command/update":
            self.updates.append((record.id, record.status, json.dumps(record.result)))

    async def start_agent(self, online=True, **own):
        """Start the agent with these settings of `devicehive`, and let it come online."""
        await asyncio.to_thread(self.place.start_agent, self.place.settings(**own))
        if online:
            await self.says("online as dev-1")

    async def says(self, pattern, start=0, timeout_s=20):
        """Wait for a line of the agent's; the match."""
        return await asyncio.to_thread(self.place.agent.await_line, pattern, timeout_s, start)

    @property
    def said(self):
        """How many lines the agent has printed: where to begin to wait for a new one."""
        return len(self.place.agent.lines)

    async def insert(self, *command):
        """Insert a command (name, parameters, lifetime) as a person does; its id."""
        return (await self.rest.insert("dev-1", *command))["id"]

    def release(self):
        """Have the handlers `hold` and `newest` return; no word of it passes the hub."""
        (self.place.folder / "board" / "release").touch()

    async def started(self, *ids):
        """Wait until these commands have started."""
        await self.until(lambda: all(self.starts(id) for id in ids))

    async def until(self, condition, timeout_s=40):
        """Wait, within a bound, until the condition holds."""
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, self.place.agent.output
            await asyncio.sleep(0.01)

    def starts(self, id=None):
        """The starts in their order: (id, milliseconds since 1970); of one command or of all."""
        words = [line.split() for line in self.place.agent.lines if line.startswith("START ")]
        return [(int(a), int(b)) for _, a, b in words if id in (None, int(a))]

    def answers(self, id):
        """The final outcomes that the agent has reported for a command, as (status, JSON).

        What a person does who takes it back has no result.
        """
        return [
            (status, result)
            for found, status, result in self.updates
            if found == id and status in FINAL and (status, result) != ("cancelled", "null")
        ]

    async def outcomes(self, ids, timeout_s=40):
        """(status, result) of each command once all are answered, if the promises were kept.

        P1: none was started twice. P2: none was started too late. P3: each has one outcome; that
        may have been told again, byte for byte.
        """
        await self.until(lambda: all(self.answers(id) for id in ids), timeout_s)
        for id in ids:
            command, starts = self.commands[id], self.starts(id)
            assert len(starts) <= 1, (id, self.place.agent.output)
            if starts and command.lifetime is not None:
                assert starts[0][1] < command.timestamp + command.lifetime * 1000, command
            assert len(set(self.answers(id))) == 1, (id, self.answers(id))
        assert "Traceback" not in self.place.agent.output
        found = [self.answers(id)[0] for id in ids]
        return [(status, json.loads(result)) for status, result in found]
