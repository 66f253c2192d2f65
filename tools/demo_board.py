"""The board of the demo: a pump with two handlers, one of which has a fault."""

import asyncio

from agent import Agent, Rejected

board = Agent("settings.json")


@board.command("pump", params={"seconds": (int, 1, 10)}, timeout=20)
async def pump(command):
    """Pump for some seconds."""
    await asyncio.sleep(command.parameters["seconds"])
    return {"litres": command.parameters["seconds"] * 2}


@board.command("calibrate")
def calibrate(command):
    """Divide by a reading that is zero today."""
    if command.parameters is None:
        raise Rejected("calibrate needs a reading")
    return {"factor": 100 // command.parameters["reading"]}


board.run()
