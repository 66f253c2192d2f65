"""One trial of a whole board: deployed, sent commands, its hub restarted, reset in the middle of one.

Whatever mpremote can connect to will do: hardware, an emulator, the scripted device. Bounds are wide
and durations only noted, for an emulated board may be 25 times slower than a real one.
"""

import asyncio
import json
import os
import secrets
import sys
import time
from typing import NamedTuple

from tools.deploy import plan, wishes
from tools.deploy.line import Line
from tools.hub.hub import Hub
from tools.places import ROOT
from tools.report import say
from tools.rest import REST

DEVICE = "board-test"
LOGIN = "heed"

LATE = "whose lifetime is over before it comes"

# The file keeps over a reset which commands were started; a notification tells it at once.
PROGRAM = '''
import gc

gc.collect()
BOOTED = gc.mem_free()

import asyncio
import os
import sys

from agent import Agent

STARTED = "/board_test_started"
board = Agent("settings.json")
gc.collect()
LOADED = gc.mem_free()


def note(command):
    with open(STARTED, "a") as file:
        file.write("%s\\n" % command.id)
    board.notify("started", str(command.id))


@board.command("echo", params={"n": (int, 1, 10)})
def echo(command):
    return command.parameters


@board.command("stay")
async def stay(command):
    note(command)
    await asyncio.sleep(600)


@board.command("stay_briefly", timeout=1)
async def stay_briefly(command):
    note(command)
    await asyncio.sleep(600)


@board.command("look")
def look(command):
    gc.collect()
    version = ".".join([str(part) for part in sys.implementation.version[:3]])
    return {
        "free": gc.mem_free(),
        "booted": BOOTED,
        "loaded": LOADED,
        "machine": sys.implementation._machine,
        "version": version,
    }


@board.command("starts")
def starts(command):
    """Return the ids of all starts, and forget them."""
    with open(STARTED) as file:
        found = file.read().split()
    os.remove(STARTED)
    return found


board.run()
'''


class Wanted(NamedTuple):
    """port: a connect string of mpremote's; host: this machine's address, as the board sees it
    network: the settings' section; patience_s: the bound of each wait"""

    port: str
    host: str
    network: dict
    patience_s: float


class Trial:
    """`await Trial(wanted, folder).run()`; `table()` tells how far it got.

    folder: for files that are gone afterwards
    """

    def __init__(self, wanted, folder):
        self._rows = []  # the table's, cell by cell
        self._wanted = wanted
        self._folder = folder
        self._password = secrets.token_urlsafe(12)
        self._hub = Hub(wanted.host, 0, 0, LOGIN, self._password)
        self._ids = {}  # what was sent to be found in the list of starts

    def table(self):
        """Markdown, for the page of a board."""
        heads = ("stage", "seen", "took", "free heap told at birth", "free after `gc.collect()`")
        rows = [heads, ("---",) * len(heads), *self._rows]
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    async def run(self):
        """Raises AssertionError for what a board must not do."""
        await self._hub.start()
        try:
            await self._deploy()
            await self._command()
            await self._restart_the_hub()
            await self._reset()
            await self._count_starts()
        finally:
            await self._hub.stop()

    async def _deploy(self):
        say("deploying")
        begun = time.monotonic()
        secret, program = self._folder / "settings.json", self._folder / "main.py"
        program.write_text(PROGRAM)
        with wishes.kept(json.dumps(self._settings()), secret):
            words = ["--port", self._wanted.port, "--settings", secret, "--main", program]
            words += ["--wait", self._wanted.patience_s]
            deploy = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tools", "deploy", *map(str, words)),
                cwd=ROOT,
                # The settings are the file's alone.
                env={name: os.environ[name] for name in os.environ if name[:5] != "HEED_"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            printed, _ = await deploy.communicate()
        assert deploy.returncode == 0, printed.decode(errors="replace")
        seen = await self._ask("look")
        self._row("boot, before the agent", free=seen["booted"])
        self._row("the agent loaded", free=seen["loaded"])
        await self._online(
            "deployed", begun, f"{seen['machine']}, MicroPython {seen['version']}: "
        )

    def _settings(self):
        hive = {"host": self._wanted.host, "port": self._hub.mqtt_port}
        hive.update({"login": LOGIN, "password": self._password})
        network = {"network": self._wanted.network} if self._wanted.network else {}
        return {"device": {"id": DEVICE}, "devicehive": hive, **network}

    async def _command(self):
        for title, status, *command in (
            ("a command", "succeeded", "echo", {"n": 3}),
            ("with a wrong parameter", "rejected", "echo", {"n": 11}),
            (LATE, "expired", "stay", None, -5),
            ("whose lifetime ends while it runs", "expired", "stay", None, 3),
            ("over its time limit", "timed_out", "stay_briefly"),
        ):
            say(title)
            begun = time.monotonic()
            async with self._rest() as rest:
                outcome = await self._outcome(rest, await self._insert(rest, title, *command))
            assert outcome["status"] == status, (title, outcome)
            self._row(title, status, time.monotonic() - begun)
        self._row("after these", free=(await self._ask("look"))["free"])

    async def _restart_the_hub(self):
        say("restarting the hub")
        await self._hub.stop()
        begun = time.monotonic()
        # As the verb has it: nothing outlives the process.
        ports = self._hub.mqtt_port, self._hub.http_port
        self._hub = Hub(self._wanted.host, *ports, LOGIN, self._password)
        await self._hub.start()
        await self._online("the hub restarted", begun)

    async def _reset(self):
        say("resetting the board in the middle of a command")
        title = "cut off by a reset"
        async with self._rest() as rest:
            sent = await self._insert(rest, title, "stay")
            await self._until(lambda: str(sent["id"]) in self._told("started"), "it did not start")
            births = len(self._told("online"))
            begun = time.monotonic()
            await asyncio.to_thread(Line(self._wanted.port, say).run, plan.RESTART)
            outcome = await self._outcome(rest, sent)
        assert outcome["status"] == "interrupted", outcome
        self._row("a command " + title, "interrupted", time.monotonic() - begun)
        await self._online("the board reset", begun, births=births)

    async def _count_starts(self):
        found = await self._ask("starts")
        twice = [command for command in found if found.count(command) > 1]
        assert not twice, f"started more than once: {twice}"
        for title, there in (("cut off by a reset", True), (LATE, False)):
            assert (str(self._ids[title]) in found) == there, f"{title}: {found}"
        self._row("commands started twice", "none")

    async def _online(self, stage, begun, seen="", births=0):
        """Awaits the birth message after so many, and a command that succeeds after it."""
        await self._until(lambda: len(self._told("online")) > births, "it did not come online")
        seconds, birth = time.monotonic() - begun, self._told("online")[-1]
        seen += f"online, agent {birth['version']}, reset cause {birth['reset']}"
        self._row(stage, seen, seconds, birth["free"], (await self._ask("look"))["free"])

    async def _ask(self, name):
        async with self._rest() as rest:
            outcome = await self._outcome(rest, await self._insert(rest, name, name))
        assert outcome["status"] == "succeeded", outcome
        return outcome["result"]

    def _rest(self):
        return REST(self._hub.rest, LOGIN, self._password)

    async def _insert(self, rest, title, *command):
        await rest.login()
        sent = await rest.insert(DEVICE, *command)
        self._ids[title] = sent["id"]
        return sent

    async def _outcome(self, rest, sent):
        outcome = await rest.wait(DEVICE, sent["id"], self._wanted.patience_s)
        assert outcome, f"no outcome of {sent} within {self._wanted.patience_s} s"
        return outcome

    def _told(self, name):
        """What the device's notifications of this name brought, in order."""
        device = self._hub.store.devices.get(DEVICE)
        return (
            [one.parameters for one in device.notifications if one.name == name] if device else []
        )

    async def _until(self, condition, complaint):
        end = time.monotonic() + self._wanted.patience_s
        while not condition():
            assert time.monotonic() < end, f"{complaint} within {self._wanted.patience_s} s"
            await asyncio.sleep(0.05)

    def _row(self, stage, seen="", seconds=None, birth=None, free=None):
        took = "" if seconds is None else f"{seconds:.2f} s"
        heap = ("" if each is None else f"{each:,}" for each in (birth, free))
        self._rows.append((stage, seen, took, *heap))
