"""A connection, a cloud and a clock that fail as real ones do."""

import asyncio
import json
from collections import defaultdict

from host_tests.fake_clock import MORNING_MS, FakeClock
from host_tests.fake_devicehive import FakeDeviceHive
from host_tests.fake_transport import FakeTransport

RETENTION_MS = 120000
RESTLESS = 2000  # turns of the loop without time moving


class Link(FakeTransport):
    """The transport of one life; commands come only to a session that has subscribed."""

    def __init__(self, clock, cloud, life, heard):
        super().__init__(clock, cloud.answer)
        self._life = life
        self._heard = heard

    async def connect(self, endpoint):
        """As FakeTransport.connect, with no subscription yet."""
        self._life.check()
        self.topics = []
        await super().connect(endpoint)

    def publish(self, topic, payload, qos=0):
        """As FakeTransport.publish, while there is power."""
        self._life.check()
        super().publish(topic, payload, qos)

    async def receive(self):
        """As FakeTransport.receive; the ledger hears what reaches the board."""
        message = await super().receive()
        self._life.check()
        if not isinstance(message[1], tuple):  # too large: the agent sees no command in it
            self._heard(*message[:2])
        return message

    @property
    def subscribed(self):
        """Whether commands would come."""
        return self.connected and any(topic.startswith("dh/command/") for topic in self.topics)


class Cloud(FakeDeviceHive):
    """DeviceHive with a clock of its own that forgets commands, and with faults."""

    def __init__(self, clock, sent):
        super().__init__(clock)
        self._sent = sent
        self.stepped_ms = 0
        self.unanswered = []  # actions that are done, and whose answer is lost
        self.until = {}  # command id: when it is forgotten
        self.reused = set()  # ids of several commands: one may be forgotten before the others
        self.accepted = defaultdict(list)  # command id: the outcomes that it was given
        self.refused_for_good = set()

    def server_ms(self):
        """Return the server's time, whatever the board's own clock does."""
        return MORNING_MS + self.clock._time.ticks + self.stepped_ms

    def put(self, entry):
        """Keep a command for a while, without a push."""
        self.commands.append(entry)
        if entry["id"] in self.until:
            self.reused.add(entry["id"])
        self._renew(entry["id"])

    def holds(self, id):
        """Return whether a command of this id has not been forgotten."""
        return self.until.get(id, -1) > self.clock._time.ticks

    def surely_holds(self, id):
        """Return whether no command of this id has been forgotten."""
        return self.holds(id) and id not in self.reused

    def push(self, entry):
        """Push a command to the board, if it has subscribed."""
        if self.transport.subscribed:
            self.spoof(entry)

    def answer(self, topic, payload):
        """As FakeDeviceHive.answer, with faults, and silent for what was forgotten."""
        frame = json.loads(payload)
        action, id = frame["action"], frame.get("commandId")
        if action == "command/update":
            if frame["command"]["status"] != "running":
                self._sent(id, frame["command"])
            if action in self.refused and self.refused[action][0] == 404:
                self.refused_for_good.add(id)
            if not self.holds(id):
                return []
        answers = super().answer(topic, payload)
        return [] if action in self.unanswered else answers

    def heal(self):
        """Answer everything again."""
        self.silent.clear()
        self.unanswered.clear()
        self.refused.clear()

    def _renew(self, id):
        self.until[id] = self.clock._time.ticks + RETENTION_MS

    def withdraw(self, id):
        """Take a command back, as any client may; this renews it like any other update."""
        self._renew(id)
        self.update(id, "cancelled")

    def _forget(self):
        self.commands = [entry for entry in self.commands if self.holds(entry["id"])]

    def _command_get(self, frame):
        self._forget()
        return super()._command_get(frame)

    def _command_list(self, frame):
        self._forget()
        return super()._command_list(frame)

    def _command_update(self, frame):
        self._renew(frame["commandId"])
        if frame["command"]["status"] != "running":
            self.accepted[frame["commandId"]].append(frame["command"])
        return super()._command_update(frame)


class Time(FakeClock):
    """A FakeClock that notices when the agent turns round for ever."""

    async def settle(self):
        """Let every task run until all of them wait; raises AssertionError if they never do."""
        for _ in range(RESTLESS):
            before = self.activity
            for _ in range(4):
                await asyncio.sleep(0)
            if self.activity == before:
                return
        raise AssertionError("P4: the agent does not come to rest")
