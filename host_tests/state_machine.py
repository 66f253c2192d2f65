"""The contract as a state machine: hypothesis drives a whole agent through faults and resets.

The machine does what clouds, networks, clocks, file systems and power do to a board, in any order.
The promises, and where each ends, stand in ledger.py.
"""

import asyncio
import gc
import json
import os
from errno import ECONNREFUSED
from types import SimpleNamespace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import agent.agent
from agent import Agent, journal, log
from agent.clock import format_iso8601, parse_iso8601
from agent.intake import Intake
from host_tests.ledger import Ledger
from host_tests.power import Disk, Life, PowerCut
from host_tests.rig import DEVICEHIVE
from host_tests.unsteady import Cloud, Link, Time

YEAR_2000_MS = 946684800000
ON_PURPOSE = "on purpose"
ROOMY = {"ids": 64, "outbox": 32, "queue": 8, "running": 4}
TIGHT = {"ids": 16, "outbox": 8, "queue": 4, "running": 2}


def program(board, note):
    """Register one handler of each kind; `note(command)` is called at each start."""
    sleep_ms = board.clock.sleep_ms

    def plain(command):
        note(command)
        return {"tag": command.timestamp}

    async def slow(command):
        note(command)
        await sleep_ms(command.parameters)
        return {"tag": command.timestamp}

    def burns(command):
        note(command)
        raise ValueError(ON_PURPOSE)

    async def stubborn(command):
        note(command)
        try:
            await sleep_ms(command.parameters)
        except asyncio.CancelledError:
            await sleep_ms(command.parameters)
        return {"tag": command.timestamp}

    board.command("plain")(plain)
    board.command("slow")(slow)
    board.command("burns")(burns)
    board.command("stubborn", timeout=1)(stubborn)
    board.command("again", idempotent=True)(slow)
    board.command("latest", when_busy="replace")(slow)
    board.command("single", when_busy="reject")(slow)
    board.command("strict", params={"n": (int, 1, 9)})(plain)


KINDS = ("plain", "slow", "burns", "stubborn", "again", "latest", "single", "strict", "nobody")
LONG = ("slow", "again", "single", "stubborn")
SPANS_MS = (1, 10, 300, 1000, 2000, 5000, 11000, 31000, 61000, 125000, 200000)
SHIFTS_MS = (0, 0, 0, 0, -1000, -30000, -3600000, 1000, 10000, 3600000)
LIFETIMES = (None, None, 0, 1, 3, 30, 600)
STEPS_MS = (-3600000, -20000, -1000, -1, 1, 1000, 20000, 3600000)
TIMES = (1, 1, 1, 4)
RESTART_MS = 700  # after which a board is online if nothing is in its way
FAULTS = ("silent", "unanswered", 401, 404, 500)
ACTIONS = ("command/update", "command/update", "command/get", "command/list", "server/info")

spans = st.sampled_from(SPANS_MS)
indices = st.integers(0, 1000)
few = st.integers(1, 6)


BOOT = SimpleNamespace(
    held=lambda folder, told=False: False,
    begin=lambda path, brief: (0, None, False),
    birth=lambda crash: {},
    mark=lambda path, crashes, error=None: None,
    unmark=lambda path: None,
)


class Machine(RuleBasedStateMachine):
    """An agent, and all that may happen to it."""

    steps = 0  # taken by all machines

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._lost)
        log.sink, log.level = self._line, log.ERROR
        self.clock = Time()
        self.disk = Disk()
        self.ledger = Ledger(self.clock)
        self.cloud = Cloud(self.clock, self.ledger.answered)
        self.entries = []
        self.held = []
        self.strangers = 0
        self.life = Life(0)
        self.ill = self.full = 0  # steps until the cloud and the file system are well again
        journal.open, journal.os = self.disk.open, self.disk
        agent.agent.Intake = self._intake
        # It writes to the real file system, and has cases of its own.
        agent.agent.borrow = lambda name: BOOT if name == "boot" else agent.borrow(name)
        # A collection costs a host more than all else here.
        agent.agent.gc = SimpleNamespace(collect=lambda: None)

    @initialize(
        limits=st.sampled_from((ROOMY, TIGHT)), verify=st.sampled_from((True, True, False))
    )
    def begin(self, limits, verify=True):
        """Switch the board on."""
        own = dict(DEVICEHIVE, verify=verify)
        self.settings = {"device": {"id": "dev-1"}, "devicehive": own, "limits": limits}
        self.ledger.limits, self.ledger.verify = limits, verify
        self._start()

    # What a person and the cloud do

    @rule(
        kind=st.sampled_from(KINDS),
        lifetime=st.sampled_from(LIFETIMES),
        shift=st.sampled_from(SHIFTS_MS),
        way=st.sampled_from(("push", "push", "push", "twice", "hold", "drop", "lose")),
        ms=st.sampled_from((0, 700, 2500, 8000, 40000)),
    )
    def insert(self, kind, lifetime, shift, way, ms):
        """Insert a command, and have its push come, come twice, come later or not at all."""
        stamp = format_iso8601(self.cloud.server_ms() + shift)
        self._deliver(self.cloud.entry(kind, ms, lifetime, timestamp=stamp), way)

    @precondition(lambda self: self.entries)
    @rule(index=indices, shift=st.sampled_from((1, 500, -500, 60000)))
    def insert_same_id(self, index, shift):
        """Insert a command with the id of another, at another time."""
        old = self.entries[index % len(self.entries)]
        stamp = format_iso8601(parse_iso8601(old["timestamp"]) + shift)
        key = (old["id"], parse_iso8601(stamp))
        if key not in self.ledger.facts:
            self._deliver(dict(old, timestamp=stamp, lastUpdated=stamp, status=None), "push")

    @rule(
        count=st.integers(1, len(LONG)),
        kind=st.sampled_from(KINDS),
        lifetime=st.sampled_from(LIFETIMES),
        shift=st.sampled_from(SHIFTS_MS),
        ms=spans,
    )
    def insert_behind(self, count, kind, lifetime, shift, ms):
        """Insert a command behind others that run for a while."""
        for name in LONG[:count]:
            self._deliver(self.cloud.entry(name, 8000), "push")
        stamp = format_iso8601(self.cloud.server_ms() + shift)
        self._deliver(self.cloud.entry(kind, 3000, lifetime, timestamp=stamp), "push")
        self._advance(ms)

    @rule(count=st.integers(2, 25), kind=st.sampled_from(("plain", "slow", "nobody")))
    def insert_many(self, count, kind):
        """Insert many commands in a row, as a script does."""
        for _ in range(count):
            self._deliver(self.cloud.entry(kind, 300, 30), "push")
            self._advance(5)

    @precondition(lambda self: self.entries)
    @rule(index=indices)
    def push_again(self, index):
        """Push a command once more, however old it is."""
        self.cloud.push(self.entries[-1 - index % len(self.entries)])
        self._settle()

    @precondition(lambda self: self.ledger.verify)
    @rule(kind=st.sampled_from(KINDS))
    def spoof(self, kind):
        """Have a stranger push what the server knows nothing of."""
        self.strangers -= 1
        self.cloud.spoof(self.cloud.entry(kind, 300, id=self.strangers))
        self._settle()

    @precondition(lambda self: self.entries)
    @rule(index=indices)
    def withdraw(self, index):
        """Take a command back."""
        id = self.entries[-1 - index % min(len(self.entries), 8)]["id"]
        if self.cloud.holds(id):
            self.ledger.withdrawn(id)
            self.cloud.withdraw(id)
            self._settle()

    @precondition(lambda self: self.held)
    @rule(order=st.randoms(use_true_random=False))
    def release(self, order):
        """Push what was held back, in another order."""
        order.shuffle(self.held)
        while self.held:
            self.cloud.push(self.held.pop())
        self._settle()

    @rule(kind=st.sampled_from(KINDS), lifetime=st.sampled_from(LIFETIMES))
    def submit(self, kind, lifetime):
        """Have the board give itself a command."""
        self.local.append(self.loop.create_task(self.board.submit(kind, 700, lifetime)))
        self._settle()

    # Time

    @rule(ms=spans)
    def wait(self, ms):
        """Let time pass."""
        self._advance(ms)

    @rule(ms=st.sampled_from(STEPS_MS), server=st.booleans())
    def step(self, ms, server):
        """Step the board's own clock, or the server's, as the board learns when it asks next."""
        if server:
            self.cloud.stepped_ms += ms
        else:
            self.clock.step_board_ms(ms)
        self._settle()

    # Faults

    @rule(action=st.sampled_from(ACTIONS), fault=st.sampled_from(FAULTS), steps=few)
    def fail(self, action, fault, steps):
        """Have the cloud fail at one of its actions for some steps."""
        if isinstance(fault, int):
            self.cloud.refused[action] = (fault, "refused")
        else:
            getattr(self.cloud, fault).append(action)
        self.ill = steps

    @rule(refusals=st.integers(0, 6))
    def cut(self, refusals):
        """Cut the connection and refuse the next few."""
        self.link.refusals = [OSError(ECONNREFUSED)] * refusals
        self.link.cut()
        self._settle()

    @rule(at=st.sampled_from(("open", "write", "rename")), steps=few)
    def fill_disk(self, at, steps):
        """Have the file system refuse to write for some steps."""
        self.disk.full, self.full = at, steps

    @rule(
        away=spans, amnesia=st.booleans(), refusals=st.integers(0, 3), times=st.sampled_from(TIMES)
    )
    def reset(self, away, amnesia, refusals, times):
        """Cut the power for a while; without a battery the board's clock is lost with it."""
        for _ in range(times):
            self._reset(away, amnesia, refusals)
            self._advance(RESTART_MS)

    @rule(count=st.integers(1, 12), point=st.sampled_from(("before", "middle", "after")))
    def arm(self, count, point):
        """Cut the power at one of the next operations of the file system."""
        self.disk.arm(count, point)

    # What must hold

    @invariant()
    def contract_holds(self):
        """Look at everything after each step; a board without power is switched on again."""
        if not self.life.number:
            return
        Machine.steps += 1
        self._get_better()
        while self.life.dead:
            self._reset(1000, True, 0)
        self.ledger.agree()
        self._look_inside()
        assert not self.ledger.breaches, "\n".join(self.ledger.breaches)

    def teardown(self):
        """Heal everything and look whether all was answered."""
        try:
            if self.life.number and not self.ledger.breaches:
                self._finish()
        finally:
            self._kill()
            self.loop.close()
            log.sink, log.level = log._print, log.INFO
            del journal.open
            journal.os, agent.agent.gc, agent.agent.Intake = os, gc, Intake
            agent.agent.borrow = agent.borrow

    def _get_better(self):
        self.ill, self.full = self.ill - 1, self.full - 1
        if self.ill < 0:
            self.cloud.heal()
        if self.full < 0:
            self.disk.full = None

    def _finish(self):
        self.cloud.heal()
        self.link.refusals = []
        self.disk.full = self.disk.cut_in = None
        self._come_to_rest()
        # The safety net's round, for what no push has brought.
        self._advance(65000)
        self._come_to_rest()
        self.ledger.judge(self.cloud)
        self._ask_once_more()
        self.contract_holds()

    def _come_to_rest(self):
        for _ in range(1000):
            if self._idle():
                return
            self._advance(15000)

    def _idle(self):
        board = self.board
        done = all(task.done() for task in self.local)
        quiet = board._intake.idle and not board._cloud.behind and not board._runner._runs
        return board.online and quiet and done

    def _ask_once_more(self):
        if not self._idle():
            self.ledger.breach("P4: not idle though all is well: %d local", len(self.local))
        # The floor hides what is older: a server whose clock stepped back has to catch up.
        behind = self.board._journal._floor + 1 - self.cloud.server_ms()
        self.cloud.stepped_ms += max(behind, 0)
        # And the board has to learn of it: what seems to be of the future may be hidden, too.
        self._advance(65000)
        entry = self.cloud.entry("plain")
        self._deliver(entry, "push")
        if [one["status"] for one in self.cloud.accepted[entry["id"]]] != ["succeeded"]:
            self.ledger.breach("P4: a fresh command is not answered")

    def _look_inside(self):
        board, limits = self.board, self.settings["limits"]
        if self.task.done():
            self.ledger.breach("P4: the agent ended: %r", self.task)
        if (
            len(board._outbox._queue) > limits["outbox"]
            or len(board._runner._queue) > limits["queue"]
        ):
            self.ledger.breach("P4: a queue is longer than its limit")
        if board._journal._floor >= 0 and len(self.ledger.facts) <= limits["ids"]:
            self.ledger.breach("P3: a floor though nothing had to be forgotten")

    def _deliver(self, entry, way):
        self.ledger.inserted(entry)
        self.entries.append(entry)
        self.cloud.put(entry)
        if way == "hold":
            self.held.append(entry)
        for _ in range({"push": 1, "twice": 2, "lose": 1}.get(way, 0)):
            self.cloud.push(dict(entry))
        if way == "lose":
            self.link.cut()
        self._settle()

    def _start(self, refusals=0):
        self.clock.forget()
        self.ledger.begin()
        self.life = self.disk.life = life = Life(self.life.number + 1)
        self.local = []
        self.link = Link(self.clock, self.cloud, life, self._heard)
        self.cloud.transport = self.link
        self.board = Agent(self.settings, clock=self.clock, transport=self.link)
        program(self.board, lambda command: life.check() or self.ledger.started(life, command))
        self.link.refusals = [OSError(ECONNREFUSED)] * refusals
        self.task = self.loop.create_task(self.board.start())
        self._settle()

    def _reset(self, away, amnesia, refusals):
        self._kill()
        self._advance(away)
        if amnesia:
            self.clock._time.unix_ms = YEAR_2000_MS
        self._start(refusals)

    def _kill(self):
        self.life.dead = True
        while tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=0))
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.exception()

    def _intake(self, *parts):
        intake, life = Intake(*parts), self.life
        admit = intake.admit
        intake.admit = lambda command: (self.ledger.admitted(life, command), admit(command))[1]
        return intake

    def _heard(self, topic, payload):
        self.ledger.heard(self.life, topic, json.loads(payload), self.cloud)

    def _advance(self, ms):
        self.loop.run_until_complete(self.clock.advance(ms))
        self.ledger.excuse_hidden(self.board)

    def _settle(self):
        self.loop.run_until_complete(self.clock.settle())
        self.ledger.excuse_hidden(self.board)

    def _line(self, severity, text):
        # Lines of errors: what a life without power says is heard by nobody.
        if self.life.dead:
            return
        words = text.split()
        if "Traceback" in words and ON_PURPOSE not in text:
            self.ledger.breach("P4: %s", text)
        elif text.startswith("journal: the outcome of") and self.disk.full:
            self.ledger.unsure.add(int(words[4]))
        elif text.endswith("the outbox is full"):
            self.ledger.crowded_out.add(int(words[2]))

    def _lost(self, loop, context):
        error = context.get("exception")
        if not isinstance(error, PowerCut):
            self.ledger.breach("P4: nobody took %r (%s)", error, context.get("message"))
