"""Tests of your handlers on your own machine: no board, no network, no waiting.

    from host_tests.kit import Bench

    def test_blink():
        with Bench("main.py") as bench:
            sent = bench.send("blink", {"times": 2})
            bench.advance(0.4)
            assert (sent.status, sent.result) == ("succeeded", {"blinked": 2})
            assert bench.pin(2).levels == [1, 0]

Runs under plain pytest on Python 3.10 or newer, with this checkout on the PYTHONPATH. The program is
the one that goes on the board, unchanged; agent/HANDLERS.md shows what it can say.
"""

import importlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from host_tests import on_cpython

on_cpython.install()  # before the agent, which expects a board's modules

import agent  # noqa: E402
from agent import log, session, watchdog  # noqa: E402
from host_tests import program as lives  # noqa: E402
from host_tests.fake_devicehive import FakeDeviceHive  # noqa: E402
from host_tests.fake_line import Line, Steady  # noqa: E402
from host_tests.fake_machine import PWRON_RESET, FakeMachine, Wire  # noqa: E402

importlib.import_module("agent.agent")  # now, so that no part of it meets a bench's fakes

_SETTINGS = {
    "device": {"id": "bench-1"},
    "devicehive": {"host": "bench", "login": "bench", "password": "bench"},
}

_LEVELS = {log.ERROR: "ERROR", log.WARNING: "WARNING", log.INFO: "INFO", log.DEBUG: "DEBUG"}

# Resets in a row without a moment between them.
_MOST_RESETS = 20


class BenchError(Exception):
    """The program can't be tested as it is; the text says why."""


class Sent:
    """A command that was sent. status and result are None until the board has reported them.

    reports: every (status, result) of it that reached the cloud, in order
    """

    def __init__(self, cloud: FakeDeviceHive, id: int, name: str):
        self._cloud = cloud
        self.id = id
        self.name = name

    @property
    def reports(self) -> list[tuple[str, Any]]:
        return [tuple(update[1:]) for update in self._cloud.updates if update[0] == self.id]

    @property
    def status(self) -> str | None:
        return self.reports[-1][0] if self.reports else None

    @property
    def result(self) -> Any:
        return self.reports[-1][1] if self.reports else None

    def __repr__(self) -> str:
        return f"<{self.name} {self.id}: {self.status} {self.result}>"


class Bench:
    """Runs a program with a fake cloud, a fake `machine`, and a time that only the test moves.

    program: its path, looked up beside the test's file, then in the working directory
    settings: laid over the `settings.json` beside the program, if there is one
    modules: what the program imports and a computer has not: {"dht": my_fake}; {"machine.I2C":
        my_fake} adds to the fake `machine`
    files: further files on the board: {"state.json": "{}"}
    patience_s: real seconds that the program may run without waiting, more for a debugger

    Within the `with` the working directory is the board's file system, a temporary folder.
    Modules beside the program are loaded anew at each reset, unless the test imported them too.
    `finally` blocks of what a reset cut off run when the bench closes.
    """

    def __init__(
        self,
        program: str,
        settings: dict | None = None,
        modules: dict[str, Any] | None = None,
        files: dict[str, str | bytes] | None = None,
        patience_s: float = 10,
    ):
        self._program = _find(program)
        self._settings = settings or {}
        self._modules = modules or {}
        self._files = files or {}
        self._patience_s = patience_s
        self._time = lives.FakeTime()
        self._cloud = FakeDeviceHive(self._time)
        self._reachable = True
        self._wires: dict[Any, Wire] = {}
        self._lives: list[lives.Life] = []
        self._patches = pytest.MonkeyPatch()
        self.log: list[str] = []  # the agent's lines: "ERROR ..."

    def __enter__(self) -> "Bench":
        self._folder = tempfile.TemporaryDirectory(prefix="heed-bench-")
        try:
            self._set_up()
            self._boot(PWRON_RESET)
            self._settle()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def send(
        self, name: str, params: Any = None, lifetime: int | None = None, **fields: Any
    ) -> Sent:
        """Send a command, and let everything run that can run without time passing.

        lifetime: seconds; fields: any other of DeviceHive's, such as userId
        """
        entry = self._cloud.entry(name, json.loads(json.dumps(params)), lifetime, **fields)
        self._cloud.commands.append(entry)
        self._do(lambda: self._cloud.push(entry))
        return Sent(self._cloud, entry["id"], name)

    def advance(self, seconds: float) -> None:
        """Move time on, stopping at every moment for which the program waits."""
        target = self._time.us + round(seconds * 1000000)
        self._settle()
        while self._life.until is not None and self._life.until <= target:
            self._time.us = max(self._time.us, self._life.until)
            self._settle()
        self._time.us = target

    def offline(self) -> None:
        """Cut the connection, and let no other come about."""
        self._reachable = False
        self._do(self._cut)

    def online(self) -> None:
        """Let connections come about again; the board tries it within a second: `advance(1)`."""
        self._reachable = True
        self._settle()

    def reset(self) -> None:
        """Cut the power: nothing runs on, files stay, the program starts from its top."""
        self._boot(PWRON_RESET)
        self._settle()

    def pin(self, id: Any) -> Wire:
        """A pin, by the number or name that the program gives it: `.level`, `.drive(1)`, ..."""
        return self._wires.setdefault(id, Wire(self._do))

    @property
    def outcomes(self) -> list[tuple[str, str, Any]]:
        """Everything that reached the cloud, in order: (command's name, status, result)."""
        names = {entry["id"]: entry["command"] for entry in self._cloud.commands}
        return [(names[id], status, result) for id, status, result in self._cloud.updates]

    @property
    def machine(self) -> FakeMachine:
        """The fake `machine` since the last reset."""
        return self._machine

    @property
    def folder(self) -> Path:
        """The board's file system."""
        return Path(self._folder.name)

    @property
    def _life(self) -> lives.Life:
        if not self._lives:
            raise BenchError('a bench works inside its with: `with Bench("main.py") as bench:`')
        return self._lives[-1]

    def _set_up(self) -> None:
        _write(self.folder, self._files)
        if "settings.json" not in self._files:
            _write(self.folder, {"settings.json": self._settings_text()})
        patches = self._patches
        patches.chdir(self.folder)
        patches.setattr(sys, "path", [str(self.folder), str(self._program.parent), *sys.path])
        patches.setattr(sys, "dont_write_bytecode", True)
        patches.setattr(session, "random", Steady)
        patches.setattr(log, "sink", self._note)
        patches.setattr(log, "level", log.INFO)
        # The agent loads these two when it needs them, the real ones come with sockets.
        self._put_module("agent.mqtt", MQTTTransport=lambda clock, limit: self._dial(limit))
        load, tls = agent._load, SimpleNamespace(context=lambda ca: None)
        patches.setattr(agent, "_load", lambda name: tls if name == "tls" else load(name))
        lives.patch(patches)
        self._loaded = set(sys.modules)

    def _settings_text(self) -> str:
        found = self._program.with_name("settings.json")
        try:
            settings = json.loads(found.read_text()) if found.is_file() else {}
        except ValueError:
            return found.read_text()  # the agent says what is wrong with it
        settings = _laid_over(_laid_over(_SETTINGS, settings), self._settings)
        return json.dumps({**settings, "cloud": "devicehive"})

    def _put_module(self, name: str, **contents: Any) -> None:
        module = ModuleType(name)
        vars(module).update(contents)
        self._patches.setitem(sys.modules, name, module)

    def _dial(self, limit: int) -> Line:
        self._cloud.transport = Line(self._time, self._cloud, limit, lambda: self._reachable)
        return self._cloud.transport

    def _cut(self) -> None:
        if self._cloud.transport.connected:
            self._cloud.transport.cut()

    def _note(self, severity: int, text: str) -> None:
        self.log.append(f"{_LEVELS[severity]} {text}")
        print(f"{self._time.us / 1000000:.3f} {self.log[-1]}")

    def _boot(self, cause: int) -> None:
        self._cloud.transport.connected = False
        for wire in self._wires.values():
            wire.lose_power()
        self._forget_modules()
        life = lives.Life(self._time, self._run_program, self._patience_s)
        self._machine = FakeMachine(self.pin, life.reset, cause)
        self._patches.setitem(sys.modules, "machine", self._machine)
        self._patches.setattr(watchdog, "machine", self._machine)
        for name, fake in self._modules.items():
            if name.startswith("machine."):
                setattr(self._machine, name.partition(".")[2], fake)
            else:
                self._patches.setitem(sys.modules, name, fake)
        log.sink, log.level = self._note, log.INFO
        self._lives.append(life)

    def _forget_modules(self) -> None:
        # What the program has loaded starts anew with it. Where a module was cut off inside its
        # import, that thread has the import's lock for ever: the next import gets another.
        locks = getattr(importlib._bootstrap, "_module_locks", {})
        for name in set(sys.modules) - self._loaded:
            file = getattr(sys.modules[name], "__file__", None)
            if name.startswith("agent.") or (file and self._is_own(file)):
                del sys.modules[name]
                locks.pop(name, None)
                package, _, module = name.rpartition(".")
                if package in sys.modules:
                    vars(sys.modules[package]).pop(module, None)

    def _run_program(self) -> None:
        code = compile(self._program.read_bytes(), str(self._program), "exec")
        exec(code, {"__name__": "__main__", "__file__": str(self._program)})

    def _do(self, action: Callable[[], Any]) -> None:
        # In the program's own thread, as asyncio wants it.
        if not self._life.ended:
            self._life.calls.append(action)
        self._settle()

    def _settle(self) -> None:
        for _ in range(_MOST_RESETS):
            life = self._life
            try:
                life.resume()
            except lives.Stuck:
                raise BenchError(self._stuck(life)) from None
            if life.restart is None:
                self._check(life)
                return
            self._boot(life.restart)
        raise BenchError(f"{self._name} resets the board again and again")

    def _check(self, life: lives.Life) -> None:
        if life.error is not None:
            error, life.error = life.error, None
            raise BenchError(self._failure(error)) from error
        if life.ended and not life.listened:
            raise BenchError(
                f"{self._name} ended without board.run(): nothing listens for commands"
            )
        errors = [line for line in self.log if line.startswith("ERROR settings")]
        if life.ended and errors:
            raise BenchError(f"{self._name} can't start: {errors[-1][len('ERROR ') :]}")

    @property
    def _name(self) -> str:
        return self._program.name

    def _stuck(self, life: lives.Life) -> str:
        places = [line for line in life.where() if self._is_own(line.filename)]
        at = f", now at {_place(places[-1])}" if places else ""
        return f"{self._name} ran for {self._patience_s:g} s without ever waiting{at}"

    def _failure(self, error: BaseException) -> str:
        at, trace = self._name, error.__traceback__
        if isinstance(error, SyntaxError):
            at = f"{Path(error.filename or '').name}, line {error.lineno}"
        while trace:
            if self._is_own(trace.tb_frame.f_code.co_filename):
                at = f"{Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}"
            trace = trace.tb_next
        sentence = f"{at}: {type(error).__name__}: {error}"
        if isinstance(error, ImportError) and error.name:
            missing = "machine.NAME" if error.name == "machine" else error.name
            sentence += f'; give your own: Bench(..., modules={{"{missing}": my_fake}})'
        return sentence

    def _is_own(self, file: str) -> bool:
        path = Path(file)
        homes = (self.folder, self._program.parent)
        # An environment may well lie beside the program.
        return "site-packages" not in path.parts and any(home in path.parents for home in homes)

    def _close(self) -> None:
        log.sink = lambda severity, text: None
        for life in self._lives:
            life.bury()
        self._forget_modules()
        self._patches.undo()
        self._folder.cleanup()


def _find(program: str) -> Path:
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    beside = Path(frame.f_globals.get("__file__") or "").resolve().parent
    for folder in (beside, Path.cwd()):
        if (folder / program).is_file():
            return folder / program
    raise BenchError(f"there is no {program} in {beside} nor in {Path.cwd()}")


def _write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def _laid_over(settings: dict, layer: dict) -> dict:
    """Return settings with others laid over them, section by section."""
    result = dict(settings)
    for key, value in layer.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = {**result[key], **value} if both else value
    return result


def _place(line) -> str:
    return f"{Path(line.filename).name}, line {line.lineno} ({line.name})"
