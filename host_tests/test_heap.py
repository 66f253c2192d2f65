"""Commands in a board's heap: what is in use does not grow from one to the next."""

import asyncio

import pytest

from host_tests.place import Place
from tools.rest import REST

# Collected twice: what the first pass lets go of may have kept something else alive.
MAIN = """
import asyncio
import gc
from agent import Agent

board = Agent("settings.json")
runs = 0

@board.command("count")
def count(command):
    global runs
    runs += 1
    return runs

@board.command("heap")
async def heap(command):
    await asyncio.sleep_ms(command.parameters)
    gc.collect()
    gc.collect()
    return [gc.mem_alloc(), gc.mem_free()]

board.run()
"""

SLACK = 256  # bytes

# The agent lists what it may have missed 5 s after it came online, and a minute later again. A list
# takes room while it is read; what counts is what stays, so the commands go in between.
ROUND_MS = 7000
QUIET_MS = 200


@pytest.mark.parametrize("verify", [True, False], ids=["verify", "unverified"])
def test_a_thousand_commands_leave_the_heap_as_it_was(tmp_path, verify):
    with Place(tmp_path, 32, MAIN) as place:
        place.start_hub()
        place.start_agent(place.settings(verify=verify))
        place.online()
        outcomes, heaps = asyncio.run(bursts(place))
        lines = place.agent.lines
    assert [outcome["status"] for outcome in outcomes] == ["succeeded"] * 1000
    assert [outcome["result"] for outcome in outcomes] == list(range(1, 1001))
    used = [heap["result"][0] for heap in heaps]
    print("in use after each hundred: %s; free: %d" % (used, heaps[-1]["result"][1]))
    assert max(used) - min(used) <= SLACK
    assert not [line for line in lines if "WARNING" in line or "ERROR" in line]


async def bursts(place):
    """Send a thousand commands, five at a time; return what became of them, and the heaps."""
    outcomes, heaps = [], []
    async with REST(place.rest, "heed", "heed") as rest:
        await rest.login()

        async def send(name, count, parameters=None):
            sent = [await rest.insert("dev-1", name, parameters) for _ in range(count)]
            return await asyncio.gather(*(rest.wait("dev-1", one["id"], 20) for one in sent))

        await send("heap", 1, ROUND_MS)
        for _ in range(10):
            for _ in range(20):
                outcomes += await send("count", 5)
            heaps += await send("heap", 1, QUIET_MS)
    return outcomes, heaps
