"""What happened to an agent, noted from outside, against what was promised.

P1  A command, told apart by id and timestamp, is started at most once; `idempotent` three times.
    The promise ends for commands with a timestamp in the board's future, the sender's doing or
    the server's whose clock steps back, where more of them come than the journal can keep: its
    floor covers the past alone.
P2  It is not started at or after timestamp + lifetime, as far as the board could know the server's
    clock: the promise counts from the last server/info that was answered. A timestamp in the
    future, or a server whose clock steps back, leaves lifetime after the receipt in this life.
P3  What reached the board is answered, with one outcome. Where the promise ends:
    - the cloud forgot the command (120 s after its insertion) before the board could tell it
    - the board was reset before the start, and the cloud had forgotten the command
    - a push is a hint, unless `verify` is off, and a list may have to come again when the board has
      room: what the cloud forgot meanwhile did not reach the board
    - the cloud took the command back
    - the cloud refused the update for good (404), or the outbox was full
    - the timestamp is at or below the journal's floor
    - the file system refused the outcome: then a reset may make a second one (P1 before P3)
P4  Once all is well again the agent is online and idle, and answers a fresh command. Nothing is
    raised but what handlers raise.
"""

import json
from collections import defaultdict

from agent.clock import parse_iso8601
from agent.journal import _digest

STARTS = {"again": 3}  # of one command, where that is not once


class Fact:
    """What is known of one command."""

    def __init__(self, entry):
        self.id = entry["id"]
        self.kind = entry["command"]
        self.timestamp = parse_iso8601(entry["timestamp"])
        self.lifetime = entry["lifetime"]
        self.received = {}  # number of the life: when it first reached the board
        self.starts = []
        self.ahead = False  # its timestamp lay in the board's future
        self.hinted = False  # the board was told of it
        self.excuse = None

    def __repr__(self):
        words = (self.kind, self.id, self.timestamp, self.lifetime, self.received, self.starts)
        return "%s %s of %d, lifetime %s, received %s, started %s" % words


class Ledger:
    """What happened, noted from outside the agent, and what is a breach of the contract."""

    def __init__(self, clock):
        self._clock = clock
        self.facts = {}  # (id, timestamp): Fact
        self.limits = {}
        self.verify = True
        self.fresh = []  # what reached the board a moment ago
        self.told = []  # (server's time, ticks) of the last server/info answered in this life
        self.sent = defaultdict(list)  # command id: outcomes, each as text
        self.unsure = set()  # ids whose outcome or start the journal could not keep
        self.crowded_out = set()  # ids whose outcome a full outbox gave up
        self.local = defaultdict(int)
        self.breaches = []

    @property
    def now(self):
        """Return the ticks since the beginning, over all lives."""
        return self._clock._time.ticks

    def breach(self, text, *values):
        """Note that the contract was broken."""
        self.breaches.append(text % values)

    def inserted(self, entry):
        """Take note of a command that the cloud has."""
        fact = Fact(entry)
        self.facts[fact.id, fact.timestamp] = fact

    def begin(self):
        """Take note that the board starts: it knows no time."""
        self.told = []

    def heard(self, life, topic, frame, cloud):
        """Take note of a message that reached the board."""
        if topic.startswith("dh/command_update/"):
            return
        if topic.startswith("dh/command/"):
            self._hinted(frame["command"])
        elif frame["status"] != "success":
            return
        elif frame["action"] == "server/info":
            self._time_told(parse_iso8601(frame["info"]["serverTimestamp"]))
        elif frame["action"] == "command/get":
            self._hinted(frame["command"])
        elif frame["action"] == "command/list":
            for entry in frame["commands"]:
                self._hinted(entry)
            self._excuse_forgotten(life, cloud)

    def answered(self, id, update):
        """Take note of an outcome that the board sent, whether or not it was taken."""
        self.sent[id].append(json.dumps(update, sort_keys=True))

    def started(self, life, command):
        """Take note of a handler's start."""
        if command.waiter:
            self.local[life.number, command.id] += 1
            if self.local[life.number, command.id] > 1:
                self.breach("P1: %s started twice", command.id)
            return
        fact = self.facts.get((command.id, command.timestamp))
        if fact is None:
            self.breach("P1: started, though nobody inserted it: %s", command.id)
            return
        fact.starts.append((life.number, self.now))
        if len(fact.starts) > STARTS.get(fact.kind, 1):
            if self._crowd_from_the_future(fact):
                self.unsure.add(fact.id)
            else:
                self.breach("P1: started too often: %r", fact)
        if self._late(life, fact):
            self.breach("P2: started late: %r, the board was told %r", fact, self.told)

    def judge(self, cloud):
        """Look at P3 once all is over."""
        for id in {id for id, _ in self.facts}:
            late = not cloud.surely_holds(id)
            facts = [fact for (one, _), fact in self.facts.items() if one == id]
            facts = [fact for fact in facts if fact.received or (fact.hinted and not late)]
            due = [fact for fact in facts if not fact.excuse]
            excused = id in self.crowded_out or id in cloud.refused_for_good
            if due and not excused and not (cloud.accepted[id] or (late and self.sent[id])):
                self.breach("P3: not answered: %r, sent %r", due, self.sent[id])

    def agree(self):
        """Look at P3's other half: one outcome a command."""
        for id, outcomes in self.sent.items():
            if len(set(outcomes)) == 1 or id in self.unsure:
                continue
            facts = [fact for (one, _), fact in self.facts.items() if one == id and fact.received]
            if len(set(outcomes)) > len(facts):
                self.breach("P3: two outcomes of %r: %r", facts, outcomes)

    def _crowd_from_the_future(self, fact):
        limits = self.limits
        ahead = sum(one.ahead for one in self.facts.values())
        return fact.ahead and ahead > limits["ids"] - limits["outbox"] - limits["running"]

    def _late(self, life, fact):
        if fact.lifetime is None:
            return False
        left = fact.lifetime * 1000
        if self.now - fact.received.get(life.number, self.now) >= left:
            return True
        deadline = fact.timestamp + left
        return all(server + self.now - ticks >= deadline for server, ticks in self.told)

    def _time_told(self, server):
        # At the very moment of an answer the board may still count on the one before.
        self.told = [one for one in self.told[-1:] if one[1] == self.now]
        self.told.append((server, self.now))

    def _hinted(self, entry):
        fact = self.facts.get((entry["id"], parse_iso8601(entry["timestamp"])))
        if fact:
            fact.hinted = True

    def admitted(self, life, command):
        """Take note of a command that the agent takes in."""
        fact = self.facts.get((command.id, command.timestamp))
        if fact is None or command.withdrawn:
            return
        fact.received.setdefault(life.number, self.now)
        server, ticks = self.told[-1]
        fact.ahead |= fact.timestamp > server + self.now - ticks
        if self.sent[fact.id] and self._crowd_from_the_future(fact):
            self.unsure.add(fact.id)
        self.fresh.append((fact, command.key))

    def excuse_hidden(self, board):
        """Take note of which commands that have just come were hidden by the journal's floor."""
        for fact, key in self.fresh:
            waits = any(command.key == key for command in board._runner.commands())
            kept = waits or board._journal._find(_digest(key)) is not None
            hidden = fact.timestamp <= board._journal._floor or self._crowd_from_the_future(fact)
            if hidden and not kept:
                fact.excuse = "below the floor"
        self.fresh.clear()

    def withdrawn(self, id):
        """Take note that the cloud took a command back."""
        for (one, _), fact in self.facts.items():
            if one == id:
                fact.excuse = "the cloud took it back"

    def _excuse_forgotten(self, life, cloud):
        for fact in self.facts.values():
            told = self.sent[fact.id] and fact.id not in self.unsure
            waited = fact.received and not fact.starts and not told
            if waited and life.number not in fact.received and not cloud.surely_holds(fact.id):
                fact.excuse = "the cloud gave it no second time"
