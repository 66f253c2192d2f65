"""A first program for a board, and what `python3 -m tools agent` runs where no --main is given."""

import asyncio

from agent import Agent, optional

board = Agent("settings.json")


@board.command("blink", params={"times": (int, 1, 100), "period_ms": optional(int, 20, 5000)})
async def blink(command):
    """Stand for a lamp that blinks `times` times."""
    for n in range(command.parameters["times"]):
        command.progress({"done": n})
        await asyncio.sleep_ms(command.parameters.get("period_ms") or 200)
    return {"blinked": command.parameters["times"]}


@board.command("echo")
def echo(command):
    """Return what came."""
    return command.parameters


board.run()
