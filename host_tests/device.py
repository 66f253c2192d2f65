"""A board without a board: real mpremote, a serial line, and real MicroPython behind it.

    with Device(tmp_path / "board") as device:
        subprocess.run(device.mpremote("fs", "cp", "main.py", ":main.py"))
        device.press_reset()
        device.await_output("online as")

What mpremote sends is executed by MicroPython's unix port with a board's heap. It is started like a
board: boot.py, then main.py, then the REPL; raw REPL, raw paste, Ctrl-A to Ctrl-E, soft reset.
`machine.reset()`, a watchdog that was not fed and `press_reset()` really end the interpreter: what
was in memory is gone, the folder stays.

Device(folder, hardware=PICO_W, **other) - starts to run on entering `with`, ends on leaving; on
entering, a program already runs or a prompt waits
  folder        the device's file system, `/` on the device; made if need be. Lay out files there
                before, look at them after; nothing is cached.
  hardware      PICO_W, PICO_2_W, ESP32, or `PICO_W._replace(...)` of what a kind of board is:
                .platform ("rp2"), .machine (text of sys.implementation), .epoch (1970 or 2000),
                .heap (bytes free at boot), .flash (bytes of the file system), .mpy (architecture),
                .watchdog_ms (the longest), .usb (a hard reset breaks the connection),
                .away_s (seconds for which the port is gone then; 0, a real one's are 1 or 2),
                .keeps_time (the clock runs on over machine.reset), .umqtt (frozen in), .noise
                (bytes that a power-up puts on the line, before anything else)
  bits          32 or 64: the interpreter's word size
  link          "pty": port is a path, as a serial port's; "socket": it is `socket://127.0.0.1:N`,
                with which mpremote is three times slower and its `repl` does not work
  firmware      "1.23.0": what sys.implementation and the banner say; None: the interpreter's own
  watchdog_scale  0.1: each watchdog bites after a tenth of its time
  unique_id     what machine.unique_id() gives, 8 bytes

device.port              the connect string; the same over resets, cuts and power cycles
device.mpremote(*words)  argv of a command line: python -m mpremote connect PORT words...
device.run(*words, timeout_s=60)  runs it; gives subprocess.CompletedProcess with text
device.output            text: all that the board sent, whether anybody was connected or not
device.await_output(pattern, timeout_s=20, start=0)  the re.Match in output[start:], printed or to
                         come; AssertionError with the output when the time is up
device.reboots           list of causes so far, in order: "power" (the first), "reset"
                         (machine.reset, press_reset), "watchdog", "soft" (Ctrl-D, machine.soft_reset),
                         "deepsleep", "crash" (the interpreter itself ended)
device.await_reboot(cause, timeout_s=20, start=0)
device.running           whether a program or a block runs now, rather than a prompt waiting
device.blocks            list of bytes: the source of each block that a REPL ran, in order
device.watchdog          milliseconds of the watchdog that runs now, or None
device.press_reset()     as the button does;  device.power_cycle()  as pulling the plug does

Faults, each happens once and is then over:
device.cut_after(nbytes) the connection breaks when that many more bytes have come from mpremote
device.cut_at(nblocks)   the connection breaks instead of running the nth block from now (1: next)
device.cut_after(..., power=True), cut_at(..., power=True)   and the power is lost with it
A full disk: `PICO_W._replace(flash=65536)`; old firmware: firmware="1.23.0"; a watchdog that runs:
a main.py that starts `machine.WDT(timeout=8000)`; a busy board: a main.py that prints for ever.

Not as on a board: a program that computes and never waits is interrupted by Ctrl-C only after half
a second, and that crashes the interpreter now and then (`device_interrupt.py` tells why); floats are
those of the unix port; a file that does not fit fails before anything of that write is on the disk.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

from host_tests.device_board import Board, reset_cause
from host_tests.device_hardware import ESP32, PICO_2_W, PICO_W, Hardware
from host_tests.device_life import Fault, Life
from host_tests.device_link import PtyLink, SocketLink
from tools import bytecode, interpreters, umqtt
from tools.places import CACHE, locked

__all__ = ["ESP32", "PICO_2_W", "PICO_W", "Device", "Hardware"]

FIRMWARE = Path(__file__).with_name("firmware")
LINKS = {"socket": SocketLink, "pty": PtyLink}

# What the firmware's own modules take of the heap, measured: `heap` is what a program has.
_STUB_BYTES = {32: 22300, 64: 31000}


class Device:
    """A board on a serial line; the module's docstring tells how to use it."""

    def __init__(
        self,
        folder,
        hardware=PICO_W,
        *,
        bits=32,
        link="pty",
        firmware=None,
        watchdog_scale=1.0,
        unique_id=b"\xe6\x61\x64\x08\x43\x1a\x2b\x3c",
    ):
        self.folder = Path(folder)
        self.hardware = hardware
        interpreter = interpreters.find(bits)
        version = firmware or interpreter.version
        modules = _firmware()
        heap = hardware.heap + _STUB_BYTES[bits]
        self._argv = interpreter.argv("-c", "import stub", heap=str(heap))
        self._env = {"MICROPYPATH": f"{modules}:.frozen", "TZ": "UTC"}
        self._facts = {
            **{name: value for name, value in hardware._asdict().items() if name != "noise"},
            "folder": str(self.folder.resolve()),
            "frozen": str(modules / "frozen") if hardware.umqtt else "",
            "version": [int(part) for part in version.split(".")],
            "unique_id": list(unique_id),
        }
        line = LINKS[link]()
        self.port = line.port
        banner = f"MicroPython v{version} on 2026-01-01; {hardware.machine}".encode()
        self._life = Life(line, self._start, banner, hardware, watchdog_scale)

    def _start(self, starts, **facts):
        cause = reset_cause(self.hardware.platform, starts)
        return Board(self._argv, self._env, {**self._facts, **facts, "cause": cause})

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self._life.start()
        self._await(lambda: self._life.settled, "neither a program nor a prompt", 20)
        return self

    def __exit__(self, *_):
        self._life.end()
        if self._life.error:
            raise self._life.error

    def mpremote(self, *words):
        """The command line that does it."""
        return [sys.executable, "-m", "mpremote", "connect", self.port, *map(str, words)]

    def run(self, *words, timeout_s=60):
        """Run mpremote; give the subprocess.CompletedProcess with its text."""
        return subprocess.run(
            self.mpremote(*words), capture_output=True, text=True, timeout=timeout_s
        )

    @property
    def output(self):
        """All that was sent so far."""
        with self._life.news:
            return self._life.sent.decode(errors="replace")

    @property
    def reboots(self):
        """The cause of each start so far, in order."""
        return list(self._life.reboots)

    @property
    def blocks(self):
        """The source of each block that a REPL ran."""
        return list(self._life.blocks)

    @property
    def running(self):
        """Whether a program runs, rather than a prompt waiting."""
        return bool(self._life.repl.running)

    @property
    def watchdog(self):
        """The time of the watchdog that runs, in milliseconds, or None."""
        return self._life.watchdog

    def await_output(self, pattern, timeout_s=20, start=0):
        """The first match in output[start:], printed or to come."""
        return self._await(
            lambda: re.search(pattern, self._life.sent.decode(errors="replace")[start:]),
            f"no {pattern!r}",
            timeout_s,
        )

    def await_reboot(self, cause, timeout_s=20, start=0):
        """Wait until reboots[start:] has this cause."""
        self._await(
            lambda: cause in self._life.reboots[start:], f"no start of cause {cause!r}", timeout_s
        )

    def press_reset(self):
        """As the button does."""
        self._life.order(lambda: self._life.reset("reset"))

    def power_cycle(self):
        """Pull the plug and put it in again."""
        self._life.order(lambda: self._life.reset("power"))

    def cut_after(self, nbytes, power=False):
        """Break the connection when that many more bytes have come."""
        self._life.order(lambda: self._life.set_fault(Fault(after=nbytes, power=power)))

    def cut_at(self, nblocks, power=False):
        """Break the connection in place of the nth block from now."""
        self._life.order(lambda: self._life.set_fault(Fault(block=nblocks, power=power)))

    def _await(self, condition, complaint, timeout_s):
        life = self._life
        end = time.monotonic() + timeout_s
        with life.news:
            while not (found := condition()):
                left = end - time.monotonic()
                if left <= 0 or life.error:
                    printed = life.sent.decode(errors="replace")
                    raise AssertionError(
                        f"{complaint} within {timeout_s:g} s; started by {life.reboots}; "
                        f"it printed:\n{printed}"
                    ) from life.error
                life.news.wait(left)
        return found


def _firmware():
    """The folder of the firmware's modules, compiled; `frozen` in it holds what can be frozen in."""
    target = CACHE / "device"
    with locked("device"):
        for source in FIRMWARE.glob("*.py"):
            _compile(source, target / (source.stem + ".mpy"))
        for source in (umqtt.folder() / "umqtt").glob("*.py"):
            _compile(source, target / "frozen" / "umqtt" / (source.stem + ".mpy"))
    return target


def _compile(source, result):
    if not result.exists() or result.stat().st_mtime < source.stat().st_mtime:
        bytecode.compile_file(source, source.name, result)
