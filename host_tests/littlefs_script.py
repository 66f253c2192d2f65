"""The journal on littlefs with the power cut after every block write: runs on MicroPython.

A RAM disk stops writing after N operations, for every N that a life of the agent's journal takes.
After each cut the disk is mounted again, and what the journal then says is held against what had
happened by that moment.
"""

import gc
import sys

import vfs

BLOCK = 512
BLOCKS = 64


class PowerCut(Exception):
    """The disk stands still."""


class Disk:
    """A block device in RAM (the extended interface: offset within a block)."""

    def __init__(self):
        self.data = bytearray(BLOCK * BLOCKS)
        self.left = None  # operations until the cut; None: never
        self.operations = 0
        self.dead = False  # the collector closes forgotten files later: that must touch nothing

    def _count(self):
        if self.left is not None and self.operations >= self.left:
            raise PowerCut
        self.operations += 1

    def readblocks(self, block, buffer, offset=0):
        if self.dead:
            return
        at = block * BLOCK + offset
        buffer[:] = memoryview(self.data)[at : at + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        if self.dead:
            return
        self._count()
        at = block * BLOCK + offset
        if self.left is not None and self.operations >= self.left:
            # The last one is programmed by half.
            buffer = memoryview(buffer)[: len(buffer) // 2]
        self.data[at : at + len(buffer)] = buffer

    def ioctl(self, op, arg):
        if self.dead:
            return 0
        if op == 4:
            return BLOCKS
        if op == 5:
            return BLOCK
        if op == 6:
            self._count()
            at = arg * BLOCK
            self.data[at : at + BLOCK] = b"\xff" * BLOCK
        return 0


class Stamp:
    """All that the journal asks of a clock."""

    known = True

    def now_ms(self):
        return 1795251600000 + 10**9


def journal():
    from agent.journal import Journal

    return Journal(Stamp(), "/disk/journal", 4, "full")


def command(number):
    from agent.command import Command

    return Command(number, "blink", {"n": number}, 1795251600000 + number, 30, device="dev-1")


def live(happened, commands):
    """Run commands through the journal; note in `happened` each step before and after it."""
    from agent.command import Outcome

    kept = journal()
    kept.load()
    for number in range(1, commands + 1):
        one = command(number)
        happened.append(("starting", number))
        kept.started(one, False)
        happened.append(("started", number))
        outcome = Outcome(one, "succeeded", {"n": number, "text": "x" * 40})
        happened.append(("ending", number))
        kept.ended(outcome)
        happened.append(("ended", number))
        kept.acknowledged(outcome)
        happened.append(("acknowledged", number))


def examine(happened):
    """Return what is wrong with the journal as it is found after the cut, or None."""
    kept = journal()
    slots, running = kept.load()
    outcomes = [kept.outcome(slot) for slot in slots]
    last, number = happened[-1] if happened else ("nothing", 0)
    ran = [n for step, n in happened if step == "started"]
    for one in ran:
        if not kept.seen(command(one).key):
            return "command %d ran and is not remembered" % one
    told = [outcome.command.id for outcome in outcomes]
    cut_off = [one.id for one in running]
    if last in ("started", "ending") and number not in told + cut_off:
        return "command %d was cut off and nobody knows" % number
    if last == "ended" and number not in told:
        return "the outcome of %d is lost" % number
    if set(told) & set(cut_off) or len(set(told)) < len(told):
        return "told %s, cut off %s" % (told, cut_off)
    for outcome in outcomes:
        if outcome.result != {"n": outcome.command.id, "text": "x" * 40}:
            return "the outcome of %d is damaged" % outcome.command.id
    return None


def formatted():
    disk = Disk()
    vfs.VfsLfs2.mkfs(disk)
    return bytes(disk.data)


def cut_after(image, left, commands):
    """Run one life whose power ends after `left` operations; return (its end came, a fault)."""
    disk = Disk()
    disk.data[:] = image
    disk.left = left
    happened = []
    ended = False
    vfs.mount(vfs.VfsLfs2(disk), "/disk")
    try:
        live(happened, commands)
        ended = disk.operations < left
    except (PowerCut, OSError):
        pass
    vfs.umount("/disk")
    after = Disk()
    after.data[:] = disk.data
    disk.dead = True
    vfs.mount(vfs.VfsLfs2(after), "/disk")
    fault = examine(happened)
    vfs.umount("/disk")
    after.dead = True
    return ended, fault


def main(commands):
    from agent import log

    log.sink = lambda severity, text: None
    image = formatted()
    left, faults = 0, 0
    while True:
        left += 1
        ended, fault = cut_after(image, left, commands)
        gc.collect()
        if fault:
            faults += 1
            print("cut after", left, "operations:", fault)
        if ended:
            break
    print("cuts", left, "faults", faults)


main(int(sys.argv[1]))
