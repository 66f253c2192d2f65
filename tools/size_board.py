"""What a module costs a board's memory, and an agent once it is online; runs on MicroPython.

    micropython main.py [MODULE ...]

With modules: imports each in turn. Without: runs an agent with the settings of this folder and one
handler until it is online. Prints one line of JSON, all figures in bytes: `start` is what was in
use before anything was imported, the others are what came on top of it.
"""

import gc
import json
import sys
from array import array


def allocated():
    """Return the bytes of the heap that are in use."""
    gc.collect()
    # What the first pass has let go of may have kept something else alive.
    gc.collect()
    return gc.mem_alloc()


def import_each(names):
    """Return what each import added. The figures' own room is made before the first."""
    added = array("i", names and [0] * len(names))
    before = start = allocated()
    for index in range(len(names)):
        __import__(names[index])
        after = allocated()
        added[index] = after - before
        before = after
    return {"start": start, "added": list(added)}


def go_online():
    """Return what an agent that is online added, and which modules that took."""
    start = allocated()
    import asyncio

    from agent import Agent

    board = Agent("settings.json")

    @board.command("echo")
    def echo(command):
        return command.parameters

    async def main():
        online = asyncio.Event()
        board.on("online", online.set)
        agent = asyncio.create_task(board.start())
        await online.wait()
        # The session's tasks have their first turn, after which they wait.
        await asyncio.sleep_ms(20)
        used = allocated() - start
        agent.cancel()
        return used

    return {"start": start, "online": asyncio.run(main()), "loaded": sorted(sys.modules)}


print(json.dumps(import_each(sys.argv[1:]) if len(sys.argv) > 1 else go_online()))
