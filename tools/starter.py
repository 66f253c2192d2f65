"""Heed's starter, a first program for a board: `blink` blinks its LED, `echo` answers what came.

`python3 -m tools deploy` writes it as main.py where no --main is given, and `python3 -m tools
agent` runs it where MicroPython runs on a computer.
"""

import asyncio

from agent import Agent, optional

# The LED's pin and the level that lights it; deploy knows the board's. None: there is no LED.
LED, LIT = None, 1

board = Agent("settings.json")
lamp = None

if LED is not None:
    from machine import Pin

    lamp = Pin(LED, Pin.OUT, value=1 - LIT)


def light(on):
    if lamp:
        lamp.value(LIT if on else 1 - LIT)


@board.command("blink", params={"times": (int, 1, 100), "period_ms": optional(int, 20, 5000)})
async def blink(command):
    """Blink `times` times."""
    half_ms = (command.parameters.get("period_ms") or 200) // 2
    try:
        for n in range(command.parameters["times"]):
            command.progress({"done": n})
            light(True)
            await asyncio.sleep_ms(half_ms)
            light(False)
            await asyncio.sleep_ms(half_ms)
    finally:
        light(False)
    return {"blinked": command.parameters["times"]}


@board.command("echo")
def echo(command):
    """Return what came."""
    return command.parameters


board.run()
