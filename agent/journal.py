"""What must survive a reset: ids seen, ids started, outcomes that the cloud has not acknowledged.

A folder of small files, one a command, in `limits["ids"]` slots. A file is written anew
and renamed over the old one, so that a power cut leaves the one or the other, whole. It holds a
checksum and one JSON object:

    f   format; a release reads its own and the next one
    n   number of the write, counting up
    k   device, id and timestamp of the command
    t   its timestamp
    c   its name, and where it may run again its parameters and lifetime
    r   attempts that were started
    o   status and result, once there is an outcome
    p   the other slots whose outcomes were not acknowledged at this write
    w   floor: the timestamp of the newest command that was forgotten
    s   the time of the write, where it was known: a timestamp is but what a sender says

An acknowledgement is not written by itself; it shows in the next write's `p`.
"""

import binascii
import hashlib
import json
import os
from errno import EEXIST, ENOENT

from micropython import const

from . import log
from .command import Command, Outcome

_FORMAT = const(1)

# In memory a slot is six bytes of the key's hash and six of its timestamp, which reach beyond the
# year 9999: the size is the same from the first command to the last.
_SLOT = const(12)

# A server's time may be ahead of ours by so much, and is not the future.
_AHEAD_MS = const(1000)

_NEW = const("new")
_BAD = const("bad")


def _digest(key):
    return hashlib.sha256(("%s %s %s" % key).encode()).digest()[:6]


class Journal:
    """The agent's memory.

    folder: where the files are; slots: how many commands it remembers
    mode: "full"; "results", which writes outcomes alone, so that a command may run again when a
    reset cuts it off; or "off", which writes nothing
    """

    def __init__(self, clock, folder, slots, mode):
        self._clock = clock
        self._folder = folder
        self._mode = mode
        self._slots = slots
        self._table = bytearray(slots * _SLOT)
        self._number = 0
        self._floor = self._ceiling = -1
        self._running = set()
        self._unacknowledged = set()
        self.below_floor = 0
        self.newest_ms = -1  # certainly past: Unix milliseconds of the newest write

    def seen(self, key):
        """Return whether a command (device, id, timestamp) came before, or must count as such."""
        if self._find(_digest(key)) is not None:
            return True
        future = self._clock.known and key[2] > self._clock.now_ms() + _AHEAD_MS
        if key[2] > (max(self._ceiling, self._floor) if future else self._floor):
            return False
        self.below_floor += 1
        log.warning("journal: %s is older than what is remembered: not run", key[1])
        return True

    def started(self, command, durable):
        """Note that a command is about to run; raises OSError when that can't be written.

        durable: it may run again after a reset, so all that this needs is kept
        """
        if command.slot is None:
            command.slot = self._take(command.key)
        command.attempts += 1
        self._running.add(command.slot)
        if self._mode != "full":
            return
        kept = [command.name]
        if durable:
            kept += [command.parameters, command.lifetime]
        try:
            self._write(command, {"c": kept})
        except OSError:
            self._running.discard(command.slot)
            raise

    def ended(self, outcome):
        """Keep an outcome until it is acknowledged. What can't be written is kept in RAM alone."""
        command = outcome.command
        try:
            if command.slot is None:
                command.slot = self._take(command.key)
            self._running.discard(command.slot)
            self._unacknowledged.add(command.slot)
            if self._mode != "off":
                self._write(command, {"c": [command.name], "o": [outcome.status, outcome.result]})
        except OSError as e:
            log.error("journal: the outcome of %s is not written (%s)", command.id, e)

    def acknowledged(self, outcome):
        """Let go of an outcome; the next write tells."""
        self._unacknowledged.discard(outcome.command.slot)

    def load(self):
        """Read what an earlier life left.

        Returns the slots whose outcomes are to be sent again, for `outcome`, and the commands that
        were running, oldest first. One record at a time is in memory.
        """
        found, started, pending = [], set(), ()
        for slot in self._slots_found():
            record = self._read(slot)
            if record is None:
                continue
            found.append((record["n"], slot))
            if "o" not in record:
                started.add(slot)
            self._floor = max(self._floor, record["w"])
            self._place(slot, _digest(tuple(record["k"])), record["t"])
            if record["n"] > self._number:
                self._number = record["n"]
                self.newest_ms = record.get("s", -1)
                pending = record["p"] + [slot]
        outcomes, running = [], []
        for _, slot in sorted(found):
            if slot in started:
                self._running.add(slot)
                running.append(self._command(slot, self._read(slot)))
            elif slot in pending:
                self._unacknowledged.add(slot)
                outcomes.append(slot)
        return outcomes, running

    def outcome(self, slot):
        """Return the Outcome that is kept in a slot, or None if it can't be read any more."""
        record = self._read(slot)
        return record and Outcome(self._command(slot, record), *record["o"])

    def _command(self, slot, record):
        device, id, timestamp = record["k"]
        name, parameters, lifetime = (record["c"] + [None, None])[:3]
        command = Command(id, name, parameters, timestamp, lifetime, device=device)
        command.slot = slot
        command.attempts = record["r"]
        return command

    def _find(self, digest):
        at = self._table.find(digest)
        while at >= 0:
            if at % _SLOT == 0:
                return at // _SLOT
            at = self._table.find(digest, at + 1)
        return None

    def _timestamp(self, slot):
        at = slot * _SLOT
        return int.from_bytes(self._table[at + 6 : at + _SLOT], "big")

    def _place(self, slot, digest, timestamp):
        at = slot * _SLOT
        self._table[at : at + _SLOT] = digest + timestamp.to_bytes(6, "big")

    def _take(self, key):
        # The oldest command that is over is forgotten, and raises the floor. One from the future
        # goes last, for the floor can't cover it.
        free = set(range(self._slots)) - self._running - self._unacknowledged
        if not free:
            raise OSError(ENOENT, "no slot is free")
        slot = min(free, key=self._timestamp)
        forgotten = self._timestamp(slot)
        if forgotten:
            # A floor in the future would have every later command count as seen: up there another
            # one holds, until its time has come.
            if self._clock.known and forgotten > self._clock.now_ms():
                self._ceiling = max(self._ceiling, forgotten)
                forgotten = self._clock.now_ms()
            self._floor = max(self._floor, forgotten)
        self._place(slot, _digest(key), key[2])
        return slot

    def _write(self, command, record):
        self._number += 1
        record["f"] = _FORMAT
        record["n"] = self._number
        record["k"] = command.key
        record["t"] = self._timestamp(command.slot)
        record["r"] = command.attempts
        record["p"] = list(self._unacknowledged - {command.slot})
        record["w"] = self._floor
        if self._clock.known or self._clock.plausible:
            self.newest_ms = self._clock.now_ms()
        record["s"] = self.newest_ms
        text = json.dumps(record)
        new, old = self._path(_NEW), self._path(command.slot)
        with open(new, "w") as file:
            file.write("%08x" % binascii.crc32(text.encode()))
            file.write(text)
        try:
            os.rename(new, old)
        except OSError as e:
            if e.errno != EEXIST:
                raise
            # FAT has no such rename: between these two lines a power cut loses the entry.
            log.warning("journal: this file system can't replace a file in one step (FAT)")
            os.remove(old)
            os.rename(new, old)

    def _path(self, name):
        return "%s/%s" % (self._folder, name)

    def _slots_found(self):
        if self._mode == "off":
            return ()
        try:
            names = os.listdir(self._folder)
        except OSError:
            names = ()
            try:
                os.mkdir(self._folder)
            except OSError as e:
                log.error("journal: %s can't be made (%s)", self._folder, e)
        slots = []
        for name in names:
            if name.isdigit() and int(name) < self._slots:
                slots.append(int(name))
            elif name not in (_BAD, _NEW):
                self._set_aside(name, "it is not ours")
        return slots

    def _read(self, name):
        try:
            with open(self._path(name)) as file:
                text = file.read()
            if int(text[:8], 16) != binascii.crc32(text[8:].encode()):
                raise ValueError("its checksum is wrong")
            record = json.loads(text[8:])
            if not _FORMAT <= record["f"] <= _FORMAT + 1:
                raise ValueError("its format %s is not known" % record["f"])
            return record
        except (OSError, ValueError, KeyError, TypeError) as e:
            self._set_aside(name, e)
            return None

    def _set_aside(self, name, reason):
        log.error("journal: %s is set aside as %s (%s)", self._path(name), _BAD, reason)
        try:
            os.rename(self._path(name), self._path(_BAD))
        except OSError as e:
            log.error("journal: and can't be moved (%s)", e)
