"""What a board's firmware does around a program: runs the blocks that the REPL was given.

Runs on MicroPython's unix port as `import stub`. The REPL itself is in `device_repl.py`, at the
other end of a socket that `argv` names, from which the facts of this board come first; here is
what only the interpreter can do.
"""

import io
import json
import os
import sys
import time
from collections import namedtuple

# The board's own modules are found before those of the unix port, and only now: later, the folder
# that holds them is out of sight.
import disk
import ffi
import machine
import micropython
import network
import vfs

_line = open(int(sys.argv[1]), "r+b")
_facts = json.loads(_line.read(int.from_bytes(_line.read(4), "little")))
_libc = ffi.open(None)
_signal = _libc.func("P", "signal", "iP")
_stdout = sys.stdout

_named = namedtuple  # noqa: PYI024 - MicroPython has no typing

_SIGINT = 2
_SIG_IGN = 1
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def tell(kind, data=b""):
    """Send one message to the other end."""
    _line.write(kind + len(data).to_bytes(4, "little") + data)


class Instead:
    """A module with some names replaced and some away."""

    def __init__(self, module, away=(), **own):
        self._module = module
        self._away = away
        for name, value in own.items():
            setattr(self, name, value)

    def __getattr__(self, name):
        if name in self._away:
            raise AttributeError("'module' object has no attribute '%s'" % name)
        return getattr(self._module, name)


class Bytes(io.IOBase):
    """`sys.stdout.buffer`: bytes that reach the line as they are."""

    def write(self, data, size=None):
        data = bytes(data)[:size]
        tell(b"O", data)
        return len(data)

    def ioctl(self, request, arg):
        return 0


class Text(io.IOBase):
    """`sys.stdout`: newlines are turned into what a terminal expects."""

    buffer = Bytes()

    def write(self, data):
        return _stdout.write(data)

    def ioctl(self, request, arg):
        return 0


def deafen():
    """From here on Ctrl-C is for a later program."""
    _signal(_SIGINT, _SIG_IGN)


def stop(kind, data=b""):
    """Tell what ends this life and wait for the end."""
    deafen()
    tell(kind, data)
    while True:
        time.sleep(1)


def kbd_intr(char):
    tell(b"K", b"%d" % char)


def read(size):
    data = _line.read(size)
    if len(data) != size:
        sys.exit()  # whoever plays the serial port is gone
    return data


def run(kind, data):
    """Run what came; return how it ended and the traceback."""
    ended, said = b"o", ""
    try:
        try:
            micropython.kbd_intr(3)
            tell(b"B")
            if kind == b"F":
                execfile(data.decode(), _globals)  # noqa: F821 - the unix port has it
            else:
                word = "single" if kind == b"S" else "exec"
                exec(compile(data.decode(), "<stdin>", word), _globals)
        finally:
            deafen()
    except SystemExit:
        deafen()
        ended = b"x"
    except BaseException as e:  # noqa: BLE001 - the REPL shows whatever it was
        deafen()
        ended, text = b"e", io.StringIO()
        sys.print_exception(e, text)
        said = text.getvalue()
    return ended + said.encode()


def serve():
    """Run block after block."""
    while True:
        head = read(5)
        kind, data = head[:1], read(int.from_bytes(head[1:], "little"))
        if kind == b"F" and not disk.exists(data.decode()):
            tell(b"E", b"-")
            continue
        tell(b"E", run(kind, data))


def board_modules():
    """What `import` gives a program of the modules that differ."""
    names = ("name", "version", "_machine", "_mpy", "_build")
    version = tuple(_facts["version"]) + ("",)
    words = ("micropython", version, _facts["machine"], _facts["mpy"], _facts["board"])
    uname = _named("uname", ("sysname", "nodename", "release", "version", "machine"))
    release = "%d.%d.%d" % version[:3]
    platform = _facts["platform"]
    said = uname(platform, platform, release, "v" + release, _facts["machine"])
    clock = machine.Clock(_facts, tell)
    machine.set_up(_facts, tell, stop, clock)
    network.set_up(platform)
    return {
        "sys": Instead(
            sys,
            platform=platform,
            implementation=_named("implementation", names)(*words),
            stdout=Text(),
        ),
        "os": Instead(os, ("system", "getenv", "putenv", "unsetenv", "errno"), uname=lambda: said),
        "micropython": Instead(micropython, kbd_intr=kbd_intr),
        "time": Instead(
            time,
            ("clock",),
            time=clock.time,
            time_ns=clock.time_ns,
            gmtime=clock.gmtime,
            localtime=clock.gmtime,
            mktime=clock.mktime,
        ),
        "machine": machine,
        "network": network,
    }


def main():
    global _globals
    deafen()
    try:
        # A board is not there any more when whoever plays its serial port is gone.
        _libc.func("i", "prctl", "iiiii")(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    except OSError:
        pass
    own = board_modules()
    files = vfs.VfsPosix(_facts["folder"])
    frozen = vfs.VfsPosix(_facts["frozen"]) if _facts["frozen"] else None
    vfs.umount("/")
    vfs.mount(disk.Disk(files, _facts["flash"], frozen), "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", disk.FROZEN, "/lib"] if frozen else ["", ".frozen", "/lib"]
    sys.argv[:] = []
    for name in ("stub", "disk", "ffi", "json", "collections", "vfs"):
        sys.modules.pop(name, None)
    sys.modules.update(own)
    _globals = {"__name__": "__main__"}
    serve()


main()
