"""What MicroPython has and CPython lacks, so that `agent` and umqtt.simple import unchanged.

The shims keep MicroPython's limits where code could lean on CPython having none: ticks wrap at
2**30, and the difference of two ticks is a signed 30-bit number.
"""

import asyncio
import gc
import socket
import struct
import sys
import time
import traceback
import types
from binascii import hexlify

_PERIOD = 1 << 30
_HALF = _PERIOD >> 1


def ticks_ms():
    """Return milliseconds that wrap at 2**30; freezegun freezes them with time.monotonic."""
    return int(time.monotonic() * 1000) & (_PERIOD - 1)


def ticks_diff(later, earlier):
    """Return the signed distance between two ticks."""
    return (later - earlier + _HALF & (_PERIOD - 1)) - _HALF


def ticks_add(ticks, delta):
    """Return ticks moved by delta; refuses what half the period can't hold, as boards do."""
    if not -_HALF < delta < _HALF:
        raise OverflowError("ticks interval overflow")
    return ticks + delta & (_PERIOD - 1)


async def _sleep_ms(ms):
    await asyncio.sleep(ms / 1000)


async def _wait_for_ms(awaitable, ms):
    return await asyncio.wait_for(awaitable, ms / 1000)


def _print_exception(exception, file=None):
    traceback.print_exception(exception, file=file or sys.stdout)


def install(umqtt_folder=None):
    """Add the shims; `umqtt_folder` holds `umqtt/simple.py`, which only the real transport needs."""
    if umqtt_folder and str(umqtt_folder) not in sys.path:
        sys.path.append(str(umqtt_folder))
    for function in (ticks_ms, ticks_diff, ticks_add):
        setattr(time, function.__name__, function)
    gc.threshold = lambda *size: 4096
    gc.mem_free = lambda: 1 << 20  # CPython's heap has no end to measure
    asyncio.sleep_ms = _sleep_ms
    asyncio.wait_for_ms = _wait_for_ms
    sys.print_exception = _print_exception
    micropython = types.ModuleType("micropython")
    micropython.const = lambda value: value
    ubinascii = types.ModuleType("ubinascii")
    ubinascii.hexlify = hexlify
    sys.modules.update(
        micropython=micropython, usocket=socket, ustruct=struct, ubinascii=ubinascii
    )
