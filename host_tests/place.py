"""A hub and an agent on MicroPython as processes, for tests from end to end."""

import asyncio
import json
import sys
from pathlib import Path

from host_tests.processes import Child
from tools import interpreters
from tools.agent import launch
from tools.rest import REST

ROOT = Path(__file__).resolve().parent.parent
HEAP = {32: "96k", 64: "192k"}

MAIN = """
import asyncio
from agent import Agent, Rejected

board = Agent("settings.json")
runs = 0

@board.command("add", params={"a": int, "b": int})
def add(command):
    global runs
    runs += 1
    return {"sum": command.parameters["a"] + command.parameters["b"], "runs": runs}

@board.command("sleep", timeout=10)
async def sleep(command):
    await asyncio.sleep(command.parameters["s"])
    return "slept"

@board.command("persist", idempotent=True)
async def persist(command):
    await asyncio.sleep(command.parameters["s"])
    return "persisted"

@board.command("tell")
def tell(command):
    return board.notify("told", command.parameters)

@board.command("raise")
def fail(command):
    raise ValueError("broken")

@board.command("refuse")
def refuse(command):
    raise Rejected("not today")

board.run()
"""


class Place:
    """A hub and an agent as processes, in a folder of their own.

    program: the agent's main.py
    """

    def __init__(self, folder, bits, program=MAIN):
        self.folder = folder
        self.program = program
        self.interpreter = interpreters.find(bits)
        self.bits = bits
        self.hub = self.agent = None
        self.facts = {"mqtt_port": 0, "http_port": 0}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in (self.agent, self.hub):
            if child and child.running:
                child.stop()

    def start_hub(self):
        """Start the hub on free ports, or again on those that it had."""
        ports = [f"--{name.replace('_', '-')}={self.facts[name]}" for name in self.facts]
        argv = [sys.executable, "-m", "tools", "hub", "--json", *ports[:2]]
        self.hub = Child(argv, cwd=ROOT)
        facts = json.loads(self.hub.await_line(r"^\{.*\}$", 20)[0])
        self.rest, self.websocket = facts["rest"], facts["websocket"]
        self.facts = {name: facts[name] for name in ("mqtt_port", "http_port")}

    def settings(self, **own):
        devicehive = {"host": "127.0.0.1", "port": self.facts["mqtt_port"]}
        devicehive.update({"login": "heed", "password": "heed", **own})
        return {"device": {"id": "dev-1", "name": "Board"}, "devicehive": devicehive}

    def start_agent(self, settings=None):
        main = self.folder / "program.py"
        main.write_text(self.program)
        plan = launch(
            settings or self.settings(),
            main,
            self.folder / "board",
            HEAP[self.bits],
            self.interpreter,
        )
        self.agent = Child(plan.argv, cwd=plan.cwd, env=plan.env)

    def online(self, start=0):
        return self.agent.await_line(r"online as dev-1", 20, start)

    def send(self, *commands, timeout_s=20):
        """Insert commands (name, parameters, lifetime) in order; return what became of each."""

        async def go():
            async with REST(self.rest, "heed", "heed") as rest:
                await rest.login()
                sent = [await rest.insert("dev-1", *command) for command in commands]
                return await asyncio.gather(
                    *(rest.wait("dev-1", one["id"], timeout_s) for one in sent)
                )

        return asyncio.run(go())
