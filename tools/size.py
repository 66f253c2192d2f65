"""`size`: what the agent costs a board, against its budgets."""

import argparse
import json
import os
from pathlib import PurePosixPath

from tools import budgets, footprint, interpreters
from tools.report import Problem, say

_NOTES = """\
.mpy: bytes as mpy-cross makes them; -O3 leaves out line numbers. Files in brackets do not count.
RAM: gc.mem_alloc() after two gc.collect(), above the same at the program's first line, on
{interpreter}, from .mpy: what the import of each module adds to those above it;
`-` where an agent without TLS loads none.
Once online, with one handler and asyncio: {online}. Of that umqtt.simple takes {umqtt}: its import,
measured in the same way after all modules but those that need it. Without it: {retained}.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="all figures, for programs")
    parser.add_argument(
        "--set-ceilings",
        action="store_true",
        help="write today's figures and 2 %% into tools/budgets.py as the ceilings",
    )
    parser.epilog = "Exit code 1: a figure is over its ceiling."


def run(args: argparse.Namespace) -> int:
    files = footprint.files()
    memory = footprint.memory(interpreters.find(32))
    found = figures(files, memory)
    if args.set_ceilings:
        return _set_ceilings(found)
    rows = budgets.rows(found)
    if args.json:
        print(json.dumps(report(files, memory, rows), indent=2))
    else:
        _show(files, memory, rows)
    return complain(rows)


def figures(files: list[footprint.File], memory: footprint.Memory | None) -> dict[str, int]:
    """The figure for each budget; without `memory` that one is left out."""
    found = {
        "mpy": total(files, "mpy"),
        "file": footprint.largest(),
        "runner": next(file.lines for file in files if file.name == "agent/runner.py"),
    }
    return {**found, "ram": memory.retained} if memory else found


def total(files: list[footprint.File], field: str) -> int:
    """The sum of one field over core, DeviceHive and transport."""
    return sum(getattr(file, field) for file in files if file.counted)


def complain(rows: list[budgets.Row]) -> int:
    """Says which ceilings are exceeded; gives the exit code."""
    exceeded = [row for row in rows if row.exceeded]
    for row in exceeded:
        say("over its ceiling: " + row.sentence())
    return 1 if exceeded else 0


def complaints() -> list[str]:
    """What `check` has to say. A machine that can have no 32-bit MicroPython measures no RAM."""
    try:
        memory = footprint.memory(interpreters.find(32))
    except Problem as problem:
        if os.environ.get("CI") == "true":
            raise
        say(f"RAM is not measured: {problem}")
        memory = None
    rows = budgets.rows(figures(footprint.files(), memory))
    return [row.sentence() for row in rows if row.exceeded]


def report(
    files: list[footprint.File], memory: footprint.Memory, rows: list[budgets.Row]
) -> dict[str, object]:
    """All figures as JSON has them."""
    ram = {"online": memory.online, "umqtt": memory.umqtt, "retained": memory.retained}
    return {
        "files": [file._asdict() for file in files],
        "mpy": total(files, "mpy"),
        "mpy_o3": total(files, "mpy_o3"),
        "parts": [part._asdict() for part in footprint.parts(files)],
        "ram": {"interpreter": memory.interpreter, **ram, "modules": memory.modules},
        "budgets": [_row(row) for row in rows],
    }


def _row(row: budgets.Row) -> dict[str, object]:
    return {
        **row.budget._asdict(),
        "value": row.value,
        "met": row.over <= 0,
        "ceiling": row.ceiling,
        "exceeded": row.exceeded,
    }


def _show(files, memory: footprint.Memory, rows: list[budgets.Row]) -> None:
    from rich.console import Console

    console = Console(width=120, highlight=False)
    console.print(_cost_table(files, memory))
    console.print(_notes(memory), markup=False)
    console.print(_part_table(files))
    console.print(_budget_table(rows))


def _notes(memory: footprint.Memory) -> str:
    return _NOTES.format(
        interpreter=memory.interpreter,
        online=memory.online,
        umqtt=memory.umqtt,
        retained=memory.retained,
    )


def _table(title: str, first: str, *headings: str):
    from rich.table import Table

    table = Table(title=title)
    table.add_column(first)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _cost_table(files, memory: footprint.Memory):
    """In the order of the imports; what an agent does not load comes last."""
    table = _table("What it costs", "", "lines", ".mpy", "-O3", "RAM on import")
    left = {module(file.name): file for file in files}
    for name, ram in memory.modules.items():
        file = left.pop(name, None)
        table.add_row(*(_cells(file, ram) if file else (name, "", "", "", str(ram))))
    for file in left.values():
        table.add_row(*_cells(file, "-"))
    sums = [str(total(files, field)) for field in ("lines", "mpy", "mpy_o3")]
    table.add_section()
    table.add_row("core + DeviceHive + transport", *sums, "")
    return table


def _part_table(files):
    table = _table("With and without", "", "files", ".mpy", "core with it alone", "all without it")
    for part in footprint.parts(files):
        table.add_row(part.name, *map(str, part[1:]))
    return table


def _cells(file: footprint.File, ram: object) -> list[str]:
    name = file.name if file.counted else f"({file.name})"
    return [name, str(file.lines), str(file.mpy), str(file.mpy_o3), str(ram)]


def module(name: str) -> str:
    """The module that a file holds: `agent/clouds/__init__.py` is agent.clouds."""
    return ".".join(PurePosixPath(name).with_suffix("").parts).removesuffix(".__init__")


def _budget_table(rows: list[budgets.Row]):
    table = _table("Budgets", "", "today", "budget", "", "ceiling")
    for row in rows:
        verdict = "met" if row.over <= 0 else f"{row.over} over"
        ceiling = f"{row.ceiling} exceeded" if row.exceeded else str(row.ceiling)
        what = f"{row.budget.what} ({row.budget.unit})"
        table.add_row(what, str(row.value), str(row.budget.most), verdict, ceiling)
    return table


def _set_ceilings(found: dict[str, int]) -> int:
    for key, (old, new) in budgets.set_ceilings(found).items():
        direction = "lowered" if new < old else "RAISED: say why in the commit"
        print(f"{budgets.BUDGETS[key].what}: {old} -> {new}, {direction}")
    return 0
