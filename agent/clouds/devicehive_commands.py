"""Commands as DeviceHive brings them: by a push, and by a list of what it still holds.

- anyone can publish to `dh/command/...` on the real broker, so a push is only a hint: what runs is
  what the server answers to `command/get` (setting `verify`)
- a push can be ahead of the server's own memory: what it does not know is looked for a moment
  later in a list, and dropped when it is not there either
- a list has no order, and what `take` cuts off is cut off at random: after a full answer, or one
  that is too large for the board, its window of time is divided, and in the end the pages of one
  moment are turned with `skip`
- `start` and `end` are inclusive in server 4.1 and exclusive in 3.5, so that windows overlap
"""

import asyncio
import json
from errno import ETIMEDOUT

from micropython import const

from .. import log
from ..clock import format_iso8601, parse_iso8601
from ..command import Command
from ..session import Answer

# The server forgets a command so long after it was inserted or updated.
RETENTION_MS = const(120000)

# The server's time of a command and ours of a loss may differ by this much.
_SLACK_MS = const(5000)

# How long the server may take to store what it has pushed.
_STORE_MS = const(500)

# Of limits.payload, for each command that is listed at once: text, and what is read from it.
_ENTRY = const(2048)

# Pushes that wait for their confirmation.
_ASKED = const(32)

# Each platform of a sender spells it in its own way.
_WITHDRAWN = const(("cancelled", "canceled"))

# The fields of a command that DeviceHive has and Heed does not use.
_OWN_FIELDS = const(("userId", "networkId", "deviceTypeId", "lastUpdated", "status", "result"))


def read(entry):
    """Return the Command that DeviceHive describes with its twelve fields."""
    timestamp, refusal = entry["timestamp"], None
    try:
        timestamp = None if timestamp is None else parse_iso8601(timestamp)
    except ValueError as e:
        timestamp, refusal = None, ("rejected", "timestamp: %s" % e)
    command = Command(
        entry["id"],
        entry["command"] or "",
        entry["parameters"],
        timestamp,
        entry["lifetime"],
        device=entry["deviceId"],
        cloud={field: entry.get(field) for field in _OWN_FIELDS},
        refusal=refusal,
    )
    # A sender may insert a command with any status: only an update takes it back.
    updated = entry.get("lastUpdated") != entry["timestamp"]
    command.withdrawn = updated and entry.get("status") in _WITHDRAWN
    return command


def read_too_large(text, before, device):
    """Return the Command whose id follows `before` in a piece of a message, to be refused, or None.

    The id must be the command's own, and not one in its parameters.
    """
    at = text.find(before)
    if at < 0:
        return None
    text = text[at + len(before) :]
    entry = {
        "id": after(text, b""),
        "command": after(text, b'"command":'),
        "parameters": None,
        "timestamp": after(text, b'"timestamp":'),
        "lifetime": None,
        "deviceId": device,
    }
    if entry["id"] is None:
        return None
    command = read(entry)
    command.refusal = ("too_large", "the command is over limits.payload of this board")
    return command


def _middle(entries, start, end):
    # Where a window is divided: in the middle of what is known of it, else of its time.
    middle = (start + end) // 2
    if entries:
        times = sorted([entry["timestamp"] for entry in entries])
        middle = parse_iso8601(times[len(times) // 2])
    return max(start + 1, min(middle, end - 2))


def after(text, name):
    """Return the number or string that follows a name in a piece of JSON text, or None."""
    at = text.find(name)
    rest = text[at + len(name) :].lstrip()
    quoted = rest[:1] == b'"'
    end = 1
    while end < len(rest) and rest[end] not in (b'"' if quoted else b",}"):
        end += 1
    try:
        return None if at < 0 else json.loads(rest[: end + quoted])
    except ValueError:
        return None


class Commands:
    """What comes in for one device.

    settings: the checked settings; clock: the agent's Clock
    request: a coroutine of (session, action, **fields) that gives the Answer
    confirm: a function of (session, command, answered) that asks for the command by its id;
    returns the key of the Answer that `answered` will get
    """

    def __init__(self, settings, clock, request, confirm):
        self._device = settings["device"]["id"]
        self._verify = settings["devicehive"]["verify"]
        self._take = max(2, settings["limits"]["payload"] // _ENTRY)
        self._clock = clock
        self._request = request
        self._confirm = confirm
        # Without a journal that tells what ran, commands from before a reset are left alone.
        self._born = 0 if settings["journal"] == "full" else None
        self._since = self._born  # up to this moment of the server's no command can be missing
        self._session = None
        self._asked = {}  # pushes that wait to be confirmed, by the key of the answer
        self._doubted = []  # keys of pushes that the server did not know
        self.wanted = asyncio.Event()  # a list is needed
        self.missed = False  # the last list had what no push brought
        self.dropped = 0  # pushes that nothing confirmed

    def check(self, session, command):
        """Return the command if it may run as it is, or None while the server is asked."""
        if not self._verify:
            return command
        self._session = session
        if len(self._asked) < _ASKED:
            key = self._confirm(session, command, self._confirmed)
            self._asked[key] = command.key, command.withdrawn
        else:
            self._doubt(command.key)
        return None

    def forget_asked(self):
        """Wait no longer for what the last session asked."""
        self._asked.clear()

    async def follow(self, session):
        """List again whenever that is wanted, as long as the session lives."""
        while True:
            await self._clock.wait(self.wanted)
            await self._clock.sleep_ms(_STORE_MS)
            await self.catch_up(session)

    async def catch_up(self, session):
        """Deliver what may have been missed. Raises OSError where the session is over."""
        self._session = session
        self.wanted.clear()
        self.missed = False
        now, asked, doubted = self._clock.now_ms(), list(self._asked), list(self._doubted)
        if not await self._list_from(session, now):
            return
        self._since = now
        for key in asked:
            # Its answer was lost, or is late: the list had the command, if there is one.
            session.forget(key)
            self._asked.pop(key, None)
        for key in doubted:
            if key in self._doubted:
                self._doubted.remove(key)
                self.dropped += 1
                log.warning(
                    "devicehive: %s was pushed, but the server has no such command", key[1]
                )

    def _confirmed(self, answer):
        key, withdrawn = self._asked.pop(answer.key, (None, False))
        if key and answer.ok:
            held = read(answer.value["command"])
            # Ids can collide: then the list has the other one.
            if held.key == key:
                if held.withdrawn or not withdrawn:
                    self._session.deliver(held)
                return
        elif key and answer.code == 413 and self._refuse(answer.value, b'"command":{"id":'):
            return
        if key:
            self._doubt(key)

    def _doubt(self, key):
        if len(self._doubted) < _ASKED:
            self._doubted.append(key)
        # Its timestamp may be the sender's own, long past; nothing of the server's has none.
        if self._since is not None and key[2] is not None:
            self._since = min(self._since, key[2])
        self.wanted.set()

    async def _list_from(self, session, now):
        # The oldest first. Return whether nothing was left out.
        if self._since is None:
            self._born = self._since = now
        start = max(0, self._since - _SLACK_MS)
        windows: "list[tuple[int, int | None]]" = [(start, None)]
        recent = now - 2 * RETENTION_MS
        if start < recent:
            # What is older than all that the server keeps has a timestamp of its sender's own.
            windows = [(recent, None), (start, recent + 1)]
        while windows:
            start, end = windows.pop()
            # What can't be divided: a moment, or what has a timestamp in the future.
            small = start >= now if end is None else end - start < 3
            skip, take = 0, self._take
            while True:
                answer = await self._list(session, start, end, take, skip)
                entries = answer.value["commands"] if answer.ok else ()
                if answer.code == 413 and small:
                    # A few together were too large, and then perhaps one alone.
                    if take == 1:
                        if not self._refuse(answer.value, b'"commands":[{"id":'):
                            log.error("devicehive: a listed command was too large to be answered")
                        skip += 1
                    take = 1
                elif answer.code == 413 or (len(entries) >= take and not small):
                    middle = _middle(entries, start, end) if end else now
                    windows.append((middle, end))
                    windows.append((start, middle + 1))
                    break
                elif not answer.ok:
                    log.warning("devicehive: commands can't be listed (%s)", answer.error)
                    return False
                elif not self._take_in(entries):
                    # It goes on from here when there is room.
                    self._since = min(now, max(self._since, start))
                    self.wanted.set()
                    return False
                elif len(entries) < take:
                    break
                else:
                    skip += take
                answer = entries = None
            answer = entries = None  # a small heap has no room for two lists
        return True

    async def _list(self, session, start, end, take, skip):
        fields = {"deviceId": self._device, "take": take, "skip": skip}
        fields["start"] = format_iso8601(start)
        if end:
            fields["end"] = format_iso8601(end)
        try:
            return await self._request(session, "command/list", **fields)
        except OSError as e:
            # A lost answer is no reason to lose the session: it is asked for again.
            if e.errno != ETIMEDOUT:
                raise
            return Answer(None, 504, None, "no answer")

    def _refuse(self, head, before):
        # Return whether the command that an answer over the limit begins with could be read.
        command = read_too_large(head, before, self._device)
        if command:
            self._session.deliver(command)
        return command is not None

    def _take_in(self, entries):
        # The oldest first. Return whether there was room for all.
        for entry in sorted(entries, key=lambda entry: entry["timestamp"]):
            command = read(entry)
            if self._session.room() < 1:
                return False
            if command.key in self._doubted:
                self._doubted.remove(command.key)
            elif command.timestamp is not None and command.timestamp < self._born:
                continue
            # What was updated after it was inserted has been answered, but for signs of life.
            if (
                command.withdrawn
                or entry["status"] in (None, "running")
                or entry["lastUpdated"] == entry["timestamp"]
            ):
                self.missed = self._session.deliver(command) or self.missed
        return True
