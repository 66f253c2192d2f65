"""Ctrl-C for MicroPython's unix port, without harm.

A board takes it between two instructions of its virtual machine. The unix port raises the exception
out of the signal's handler, wherever it happens to be: in the middle of an allocation that leaves
the heap broken, or locked for good. So it is sent while the program waits in a system call, and to
one that never waits only after a while.
"""

import os
import signal
import time

_RUSH_S = 0.5
_STOP_S = 0.05


class Interrupt:
    """One Ctrl-C on its way to the process `pid`, whose number is not another's yet."""

    def __init__(self, pid):
        self._pid = pid
        self._rush_s = time.monotonic() + _RUSH_S

    def deliver(self):
        """Send it if this is the time; return whether it was."""
        os.kill(self._pid, signal.SIGSTOP)
        try:
            due = _waits(self._pid) or time.monotonic() >= self._rush_s
            if due:
                os.kill(self._pid, signal.SIGINT)
        finally:
            os.kill(self._pid, signal.SIGCONT)
        return due


def _waits(pid):
    """Whether a process that is being stopped was in a system call; True where that can't be known."""
    end = time.monotonic() + _STOP_S
    try:
        while _state(pid) != b"T":
            if time.monotonic() >= end:
                return False
        with open(f"/proc/{pid}/syscall", "rb") as file:
            number = file.read().split()[0]
    except OSError:
        return True
    return number not in (b"-1", b"running")


def _state(pid):
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0]
