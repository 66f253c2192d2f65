"""Many boards at once: a bar a board while they are worked on, and a table of what became of them."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tools.deploy.line import Line, interrupted
from tools.report import Problem, say

# What a usual deploy tells; a board with more or less to tell has a bar that jumps at its end.
_STEPS = 15


class Outcome(NamedTuple):
    port: str
    good: bool
    text: str


def run(strings: list[str], work: Callable[[Line], str], verbose: bool) -> int:
    """Does the work on each board; gives 0 when it went well on all, else 1."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.fields[port]}"),
        BarColumn(),
        TextColumn("{task.fields[doing]}", markup=False),
        console=console,
        disable=not console.is_terminal,
    )
    with bars, ThreadPoolExecutor(len(strings)) as pool:
        tasks = [bars.add_task("", total=_STEPS, port=port, doing="") for port in strings]

        def one(port: str, task) -> Outcome:
            def tell(text: str) -> None:
                bars.update(task, advance=1, doing=text)
                if bars.disable or verbose:
                    say(f"{port}: {text}")

            outcome = _attempt(Line(port, tell, verbose), work)
            bars.update(task, completed=_STEPS, doing=outcome.text)
            return outcome

        try:
            outcomes = list(pool.map(one, strings, tasks))
        except KeyboardInterrupt:
            interrupted.set()
            raise
    _show(outcomes)
    return 0 if all(outcome.good for outcome in outcomes) else 1


def _attempt(line: Line, work: Callable[[Line], str]) -> Outcome:
    try:
        return Outcome(line.port, True, work(line))
    except Problem as problem:
        return Outcome(line.port, False, str(problem))


def _show(outcomes: list[Outcome]) -> None:
    from rich.console import Console
    from rich.table import Table

    good = sum(outcome.good for outcome in outcomes)
    table = Table(title=f"{good} of {len(outcomes)} boards")
    for heading in ("board", "", "what became of it"):
        table.add_column(heading, overflow="fold")
    for outcome in outcomes:
        table.add_row(outcome.port, "ok" if outcome.good else "FAILED", outcome.text)
    # A pipe has no width of its own, and a folded table is hard to read in a log.
    Console(width=None if sys.stdout.isatty() else 120, markup=False).print(table)
