"""What the agent may cost, and the ratchet on the way there."""

import re
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__)


class Budget(NamedTuple):
    """A quantity and the most that the design grants it."""

    what: str
    unit: str
    most: int


BUDGETS = {
    "mpy": Budget("core + DeviceHive + transport as .mpy, umqtt apart", "bytes", 20 * 1024),
    "ram": Budget("the same, RAM once online, asyncio included, umqtt apart", "bytes", 36 * 1024),
    "file": Budget("largest source file of agent/ and tools/", "lines", 400),
    "runner": Budget("agent/runner.py, under 250", "lines", 249),
}

# A ratchet: what is over its budget today must not grow, and is only ever lowered until it reaches
# the budget. `python3 -m tools size --set-ceilings` writes today's figures and a margin of 2 %, or
# the budget where that is met; a number that rises needs its reason in the commit.
CEILINGS = {
    "mpy": 48500,
    "ram": 77500,
    "file": 400,
    "runner": 249,
}

_MARGIN_PERCENT = 2


class Row(NamedTuple):
    """A budget, its ceiling, and the figure of today."""

    budget: Budget
    ceiling: int
    value: int

    @property
    def over(self) -> int:
        """How far the figure is over the budget; 0 or less where the budget is met."""
        return self.value - self.budget.most

    @property
    def exceeded(self) -> bool:
        return self.value > self.ceiling

    def sentence(self) -> str:
        """What is wrong, where the ceiling is exceeded."""
        unit = self.budget.unit
        return (
            f"{self.budget.what}: {self.value} {unit}, the ceiling is {self.ceiling} "
            f"and the budget {self.budget.most}, {self.over} {unit} away"
        )


def rows(figures: dict[str, int]) -> list[Row]:
    """One row for each budget whose figure is given."""
    return [
        Row(budget, CEILINGS[key], figures[key])
        for key, budget in BUDGETS.items()
        if key in figures
    ]


def ceiling(key: str, value: int) -> int:
    """The ceiling for a figure: the budget where that is met, else 2 % more, rounded up."""
    most = BUDGETS[key].most
    return most if value <= most else -(-value * (100 + _MARGIN_PERCENT) // 100)


def set_ceilings(figures: dict[str, int], file: Path = HERE) -> dict[str, tuple[int, int]]:
    """Writes the ceilings for these figures into this file's table.

    Gives {key: (old, new)} of those that changed.
    """
    text, changed = file.read_text(), {}
    for key, value in figures.items():
        new = ceiling(key, value)
        text, count = re.subn(rf'^(    "{key}": )\d+,$', rf"\g<1>{new},", text, flags=re.M)
        if count != 1:
            raise ValueError(f"{file} has {count} ceilings for {key}")
        if new != CEILINGS[key]:
            changed[key] = CEILINGS[key], new
    file.write_text(text)
    return changed
