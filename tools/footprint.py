"""Measures the agent: bytes as .mpy, lines, and the RAM of a 32-bit MicroPython that runs it."""

import ast
import asyncio
import json
import tempfile
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from tools import agent, bytecode, interpreters
from tools.places import ROOT
from tools.report import Problem

BOARD = Path(__file__).with_name("size_board.py")
UMQTT = "umqtt.simple"
HEAP = "256k"  # far above what is used: a full heap would be measured as an error

_PATIENCE_S = 30

# What the budget leaves out of agent/: loaded only where the owner asks for it.
_OPTIONAL = ("agent/extras/", "agent/standard/")
_CLOUDS = "agent/clouds/"
_COUNTED_CLOUDS = ("__init__", "devicehive")

# The folders whose modules each switch a feature on, and what remains without any of them.
_PARTS = ("clouds", "standard", "extras")
CORE = "core"


class File(NamedTuple):
    """One source file of the agent; sizes in bytes, `counted` in core + DeviceHive + transport."""

    name: str
    lines: int
    mpy: int
    mpy_o3: int
    counted: bool


class Part(NamedTuple):
    """A cloud, a standard command or an extra: what it takes, and agents with and without it.

    alone: the core and this part; without: the whole agent but this part. Bytes of .mpy.
    """

    name: str
    files: int
    mpy: int
    alone: int
    without: int


class Memory(NamedTuple):
    """Bytes of RAM: what each module's import adds, and an agent that is online altogether."""

    interpreter: str
    modules: dict[str, int]
    online: int

    @property
    def umqtt(self) -> int:
        return self.modules[UMQTT]

    @property
    def retained(self) -> int:
        """The budget's figure: online, without the MQTT library."""
        return self.online - self.umqtt


def counted(name: str) -> bool:
    """Whether a file of agent/ is of the core, DeviceHive or the transport."""
    if name.startswith(_CLOUDS):
        return name.removeprefix(_CLOUDS).startswith(_COUNTED_CLOUDS)
    return not name.startswith(_OPTIONAL)


def part(name: str) -> str:
    """The part of the agent that a file belongs to: `clouds/devicehive`, or `core`.

    A cloud may have several files, `devicehive.py` and `devicehive_commands.py`.
    """
    folder, _, module = name.removeprefix("agent/").partition("/")
    stem = module.partition("/")[0].removesuffix(".py")
    if folder not in _PARTS or stem == "__init__":
        return CORE
    return f"{folder}/{stem.partition('_')[0] if folder == 'clouds' else stem}"


def parts(files: list[File]) -> list[Part]:
    """Each part there is, in alphabetical order; the core, which all need, is none."""
    sizes: dict[str, list[int]] = {CORE: []}
    for file in files:
        sizes.setdefault(part(file.name), []).append(file.mpy)
    core, whole = sum(sizes.pop(CORE)), sum(file.mpy for file in files)
    return [
        Part(name, len(of), sum(of), core + sum(of), whole - sum(of))
        for name, of in sorted(sizes.items())
    ]


def files(root: Path = ROOT) -> list[File]:
    """Every file of agent/, compiled as a board gets it and once more with -O3."""
    with tempfile.TemporaryDirectory(prefix="heed-size-") as folder:
        scratch = Path(folder, "out.mpy")
        sources = sorted((root / "agent").rglob("*.py"))
        return [_file(source, source.relative_to(root).as_posix(), scratch) for source in sources]


def _file(source: Path, name: str, scratch: Path) -> File:
    sizes = []
    for flags in ((), ("-O3",)):
        bytecode.compile_file(source, name, scratch, *flags)
        sizes.append(scratch.stat().st_size)
    return File(name, lines(source), *sizes, counted(name))


def lines(source: Path) -> int:
    return len(source.read_text().splitlines())


def largest(root: Path = ROOT) -> int:
    """The lines of the longest source file of agent/ and tools/."""
    found = [file for part in ("agent", "tools") for file in (root / part).rglob("*.py")]
    return max(map(lines, found))


def memory(interpreter: interpreters.Interpreter) -> Memory:
    """Runs the agent against a hub in this process, then imports its modules one by one.

    Raises Problem, with what the interpreter printed, when it does not come that far.
    """
    with tempfile.TemporaryDirectory(prefix="heed-size-") as folder:
        return asyncio.run(_memory(interpreter, Path(folder)))


async def _memory(interpreter: interpreters.Interpreter, folder: Path) -> Memory:
    from tools.hub.hub import Hub

    async with Hub() as hub:
        own = {"host": hub.host, "port": hub.mqtt_port, "login": "heed", "password": "heed"}
        settings = {"device": {"id": "size"}, "cloud": "devicehive", "devicehive": own}
        plan = agent.launch(settings, BOARD, folder, HEAP, interpreter)
        online = await _ask(plan)
    names = order(online["loaded"], ROOT)
    imports = await _ask(plan, *names)
    modules = dict(zip(names, imports["added"], strict=True))
    return Memory(str(interpreter), modules, online["online"])


async def _ask(plan: agent.Launch, *words: str) -> dict:
    """Runs the measuring program; gives what its last line says."""
    child = await asyncio.create_subprocess_exec(
        *plan.argv, *words, cwd=plan.cwd, env=plan.env, stdout=-1, stderr=-2
    )
    try:
        output, _ = await asyncio.wait_for(child.communicate(), _PATIENCE_S)
    except asyncio.TimeoutError:
        child.kill()
        raise Problem(f"The agent was not measured within {_PATIENCE_S} s.") from None
    text = output.decode(errors="replace").strip()
    try:
        return json.loads(text.splitlines()[-1])
    except (ValueError, IndexError):
        raise Problem(f"The agent could not be measured; it said:\n{text}") from None


def order(loaded: list[str], root: Path) -> list[str]:
    """The order in which modules are imported, each after those that it needs.

    Those that need umqtt.simple come last and it just before them: so its own figure is what it
    adds to all the others, and strings that both use are not taken off twice.
    """
    graph = {name: needs(name, root) for name in loaded if name.partition(".")[0] == "agent"}
    own = [name for name in TopologicalSorter(graph).static_order() if name in graph]
    first = [name for name in loaded if name.partition(".")[0] == "asyncio"]
    last = [name for name in own if UMQTT in graph[name]]
    return [*first, *(name for name in own if name not in last), UMQTT, *last]


def needs(module: str, root: Path) -> set[str]:
    """The modules that this module's top level imports, and the packages that it is in."""
    source = root.joinpath(*module.split("."))
    package = source.is_dir()
    file = source / "__init__.py" if package else source.with_suffix(".py")
    inside = module if package else module.rpartition(".")[0]
    found = {module.rpartition(".")[0]} - {""}
    for node in ast.parse(file.read_bytes()).body:
        found |= _imported(node, inside)
    return found - {module}


def _imported(node: ast.stmt, package: str) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if not isinstance(node, ast.ImportFrom):
        return set()
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1] if node.level else []
    home = ".".join([*base, *filter(None, [node.module])])
    # `from .x import y` needs x; y is a module only where x is a package.
    return {home, *(f"{home}.{alias.name}" for alias in node.names)}
