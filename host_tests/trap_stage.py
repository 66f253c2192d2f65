"""A hub that misbehaves, real agents before it, and what became of each command.

The stories of a module of tests all run at the same time, each with a hub and agents of its own,
for the agent's rounds take real time: `company` starts them, and each test waits for its own.
"""

import asyncio
import json
import threading
import time
from collections import Counter, defaultdict
from functools import partial

import pytest

from host_tests.mqtt_client import Client
from host_tests.processes import Child
from tools import bytecode, interpreters
from tools.agent import launch
from tools.hub.hub import Hub
from tools.hub.points import Trap

HEAP = {32: "96k", 64: "192k"}

# Longer than the agent's longest round, for a machine that has much else to do.
PATIENCE_S = 100

# The hub's clock is not the board's: what is late is late on the hub's.
AHEAD_MS = 12_345_678

MAIN = """
import asyncio
import time
from agent import Agent, log

log.level = 10
board = Agent("settings.json")

def note(command):
    with open("starts", "a") as file:
        file.write("%d %d\\n" % (command.id, time.time_ns() // 1000000))

@board.command("quick", params={"n": int})
def quick(command):
    note(command)
    return {"n": command.parameters["n"]}

@board.command("slow", params={"n": int, "ms": int})
async def slow(command):
    note(command)
    await asyncio.sleep_ms(command.parameters["ms"])
    return {"n": command.parameters["n"]}

board.run()
"""


def server_time():
    """The hub's clock, in seconds."""
    return time.time() + AHEAD_MS / 1000


async def until(condition, what, bound_s=PATIENCE_S):
    """Wait until the condition holds; what: a text, or a function that gives it, for a failure."""
    end = time.monotonic() + bound_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {bound_s} s: {what() if callable(what) else what}")
        await asyncio.sleep(0.02)


class Witness(Trap):
    """Breaks nothing: notes what a hub is asked and what it answers.

    connects: ids of the clients that got in. wrong: when a password was wrong, seconds.
    asked: (client id, frame) of each request. told: (client id, frame) of each answer.
    lists: (commands that there were, how many were asked for) of each command/list.
    filters: those that DeviceHive granted. held: those of each SUBSCRIBE.
    """

    def __init__(self):
        super().__init__()
        self.connects, self.wrong, self.asked, self.told = [], [], [], []
        self.listed, self.filters, self.held = [], [], []

    def connected(self, connection):
        self.connects.append(connection.client_id)

    def wrong_password(self):
        self.wrong.append(time.monotonic())

    def takes(self, connection, frame):
        self.asked.append((connection.client_id, frame))

    def answers(self, connection, _topic, payload):
        self.told.append((connection.client_id, json.loads(payload)))

    def lists(self, commands, request):
        self.listed.append((len(commands), request.get("take")))

    def granted(self, topic_filter, _subscription):
        self.filters.append(topic_filter)

    def holds(self, _connection, filters):
        self.held.append(filters)

    def requests(self, action, command=None):
        """The (client id, frame) of each request for an action, and for a command."""
        return [
            (client_id, frame)
            for client_id, frame in self.asked
            if frame["action"] == action
            and (command is None or frame.get("commandId") == command.id)
        ]

    def codes(self, action, command=None):
        """What each of these requests was answered: 200, an error's code, or None for nothing."""
        told = {
            (client_id, answer["requestId"]): answer.get("code", 200)
            for client_id, answer in self.told
        }
        wanted = self.requests(action, command)
        return [told.get((client_id, frame["requestId"])) for client_id, frame in wanted]


class Board:
    """An agent on real MicroPython, in a folder of its own."""

    def __init__(self, stage, device, own):
        self._stage = stage
        self.device = device
        self.folder = stage.folder / device
        devicehive = {"host": "127.0.0.1", "port": stage.hub.mqtt_port, **own}
        self._settings = {"device": {"id": device, "name": device}, "devicehive": devicehive}
        self.start()

    def start(self):
        """Switch it on; again for a reset, upon which it keeps its files."""
        main = self._stage.folder / "program.py"
        main.write_text(MAIN)
        bits = self._stage.bits
        found = interpreters.find(bits)
        plan = launch(self._settings, main, self.folder, HEAP[bits], found)
        self.child = Child(plan.argv, cwd=plan.cwd, env=plan.env)
        self._stage.children.append(self.child)

    @property
    def starts(self):
        """(command id, hub's milliseconds) of each start of a handler."""
        file = self.folder / "starts"
        lines = file.read_text().splitlines() if file.exists() else ()
        found = [tuple(map(int, line.split())) for line in lines]
        return [(command_id, at + AHEAD_MS) for command_id, at in found]

    def count(self, text):
        """In how many lines of its log a text is."""
        return sum(text in line for line in list(self.child.lines))

    async def says(self, text, times=1, bound_s=PATIENCE_S):
        """Wait until a text is in that many lines of its log."""
        await until(
            lambda: self.count(text) >= times,
            lambda: f"{times} times {text!r} in\n{self.child.output}",
            bound_s,
        )

    async def online(self, times=1):
        """Wait until it has come online that many times in this life."""
        await self.says(f"online as {self.device}", times)

    async def started(self, command):
        """Wait until the handler of a command has started."""
        await until(
            lambda: any(command.id == one for one, _at in self.starts),
            lambda: f"{command} started\n{self.child.output}",
        )


class Stage:
    """A hub with traps, its boards, and all that was sent and answered."""

    def __init__(self, folder, traps, bits):
        self.folder = folder
        self.bits = bits
        self.hub = Hub(clock=server_time, traps=traps)
        self.witness = Witness()
        self.hub.traps._on["witness"] = self.witness
        self.boards, self.children = [], []
        self.sent = []
        self.finals = defaultdict(list)  # command id: each final update, as text
        self.hub.store.listen(self._hear)

    async def __aenter__(self):
        self.folder.mkdir()
        await self.hub.start()
        return self

    async def __aexit__(self, *_error):
        for child in self.children:
            if child.running:
                child.kill()
        await self.hub.stop()

    def _hear(self, event, record):
        if event == "command/update" and record.status not in (None, "running"):
            update = json.dumps([record.status, record.result], sort_keys=True)
            self.finals[record.id].append(update)

    async def board(self, device="dev-1", online=True, token=False, **own):
        """Switch a board on; it logs in by password or by token. `own` goes into its settings."""
        if token:
            own["refresh_token"] = self.hub.tokens.pair(self.hub.store.users["heed"])[
                "refreshToken"
            ]
        else:
            own = {"login": "heed", "password": "heed", **own}
        board = Board(self, device, own)
        self.boards.append(board)
        if online:
            await board.online()
        return board

    async def client(self, client_id, **login):
        """Another MQTT client, which is in."""
        client = await Client.dial(self.hub, client_id)
        assert await client.connect(**login) == 0
        return client

    def send(self, name="quick", lifetime=None, device="dev-1", **parameters):
        """Insert a command; each has a number of its own, which is also its result."""
        parameters["n"] = len(self.sent)
        device = self.hub.store.devices[device]
        command = self.hub.store.insert_command(
            device, 1, name, parameters=parameters, lifetime=lifetime
        )
        self.sent.append(command)
        return command

    def mix(self):
        """Insert some of each kind: with plenty of time, with little of it, and at length."""
        return [
            self.send(),
            self.send(lifetime=60),
            self.send(lifetime=1),
            self.send("slow", lifetime=30, ms=300),
            self.send("slow", ms=100),
        ]

    def status(self, command):
        """The one final status of a command."""
        finals = set(self.finals[command.id])
        assert len(finals) == 1, (command, finals)
        return json.loads(finals.pop())[0]

    async def settled(self, *commands):
        """Wait until these commands, or all that were sent, have an answer."""
        await until(
            lambda: all(self.finals[one.id] for one in commands or self.sent),
            lambda: f"answers to {self._unanswered()}\n{self._logs()}",
        )

    def pushed(self, command):
        """Whether a push brought it: a board asks for what is pushed, and not for what is listed."""
        return bool(self.witness.requests("command/get", command))

    async def heard(self, command):
        """Wait until a push of it has reached a board."""
        await until(lambda: self.pushed(command), lambda: f"push of {command}\n{self._logs()}")

    async def rounds(self, number):
        """Wait until the boards have looked after their subscriptions that many times in all."""
        found = partial(self.witness.codes, "subscription/list")
        await until(lambda: found().count(200) >= number, lambda: f"{number} rounds")

    async def judge(self, *forgotten):
        """All is over: the promises were kept, and each board answers a fresh command.

        forgotten: commands that the server forgot before anyone could answer.
        """
        await self.settled(*[one for one in self.sent if one not in forgotten])
        for board in self.boards:
            fresh = self.send(lifetime=30, device=board.device)
            await self.settled(fresh)
            assert self.status(fresh) == "succeeded", self._logs()
        known = {command.id: command for command in self.sent}
        starts = [start for board in self.boards for start in board.starts]
        for command_id, times in Counter(one for one, _at in starts).items():
            assert command_id in known, f"P1: nobody sent {command_id}\n{self._logs()}"
            assert times == 1, f"P1: {times} starts of {known[command_id]}\n{self._logs()}"
        for command_id, at in starts:
            command = known[command_id]
            deadline = command.timestamp + 1000 * (command.lifetime or 0)
            late = command.lifetime is not None and at >= deadline
            assert not late, f"P2: started at {at}: {command}\n{self._logs()}"
        for command in self.sent:
            finals = set(self.finals[command.id])
            answered = len(finals) == 1 or (command in forgotten and not finals)
            assert answered, f"P3: {finals} for {command}\n{self._logs()}"
            for status, result in map(json.loads, finals):
                right = status != "succeeded" or result == {"n": command.parameters["n"]}
                assert right, f"P3: another's result: {command}\n{self._logs()}"

    def _unanswered(self):
        return [command for command in self.sent if not self.finals[command.id]]

    def _logs(self):
        return "\n".join(f"--- {board.device}\n{board.child.output}" for board in self.boards)


def story(*traps, bits=(32,)):
    """Makes a test of a coroutine of a Stage whose hub has these traps."""

    def decorate(function):
        @pytest.mark.parametrize("bits", bits)
        def test(company, bits):
            company.await_end(function.__name__, bits)

        test.__name__, test.__doc__ = function.__name__, function.__doc__
        test.story = function, traps
        return test

    return decorate


class Company:
    """Runs stories at the same time, in a thread with an event loop.

    items: pytest's, made by `story`. folder: theirs.
    """

    def __init__(self, items, folder):
        bytecode.compiled()
        for bits in (32, 64):
            interpreters.find(bits)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._ends = {}
        for item in items:
            name, bits = item.originalname, item.callspec.params["bits"]
            function, traps = item.function.story
            stage = partial(Stage, folder / f"{name}-{bits}", traps, bits)
            self._ends[name, bits] = asyncio.run_coroutine_threadsafe(
                _play(function, stage), self._loop
            )

    def await_end(self, name, bits):
        """Wait for the end of a story; what it raises is raised here."""
        self._ends[name, bits].result(2 * PATIENCE_S)

    def close(self):
        """End what still runs."""
        asyncio.run_coroutine_threadsafe(_end_all(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()


@pytest.fixture(scope="module")
def company(request, tmp_path_factory):
    """Has started every story of a module that is wanted; a module of stories has it by name."""
    mine = [item for item in request.session.items if getattr(item, "module", 0) is request.module]
    found = Company(mine, tmp_path_factory.mktemp("traps"))
    yield found
    found.close()


async def _play(function, stage):
    async with stage() as its_own:
        await function(its_own)


async def _end_all():
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
