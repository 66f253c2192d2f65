"""What travels through the agent: a command on its way in, its outcome on the way out.

An outcome's status is "succeeded", "failed", "rejected", "unknown", "expired", "timed_out",
"busy", "too_large", "cancelled" or "interrupted"; "running" reports progress. They are literals
everywhere: a constant's name would cost a board more memory than the word itself.
"""

from micropython import const

# Deeper than any sane result, shallow enough for a board's C stack.
_DEEPEST = const(8)


class Rejected(Exception):
    """Raised by a handler whose command does not fit; answered `rejected` with its text."""


class SettingsError(Exception):
    """Settings that can't be used; its text says what is wrong and what fits."""


class Command:
    """One request from the cloud, as handlers see it.

    id: what the cloud calls it; name; parameters: any JSON value
    timestamp: Unix milliseconds at which the cloud took it, or None
    lifetime: seconds after the timestamp within which it may start, or None for ever
    device: the device it is meant for; cloud: the platform's own fields, a dict
    reply: whatever its cloud needs to answer it
    refusal: (status, sentence) where its cloud saw that it can't be run, or None
    """

    # What is not set takes no room in a command.
    device = reply = None
    refusal: "tuple | None" = None
    withdrawn = False  # the cloud took it back

    # The agent's notes: its slot in the journal, attempts started, and for a command from the
    # board itself the event that is set when its outcome is here; `report(command, value)` takes
    # its progress.
    slot = waiter = outcome = report = _clock = None
    attempts = _received = 0

    def __init__(
        self, id, name, parameters=None, timestamp=None, lifetime=None, cloud=None, **rest
    ):
        self.id = id
        self.name = name
        self.parameters = parameters
        self.timestamp = timestamp
        self.lifetime = lifetime
        self.cloud = cloud or {}
        for key, value in rest.items():
            setattr(self, key, value)

    @property
    def key(self):
        """What makes this command the same as another: device, id and timestamp."""
        return self.device, self.id, self.timestamp

    def receive(self, clock):
        """Note the moment of receipt, from which a lifetime counts while time is unknown."""
        self._clock = clock
        self._received = clock.ticks()

    def remaining_ms(self):
        """Return the milliseconds until the deadline, zero or less past it, None without one.

        The deadline is timestamp + lifetime on the server's clock. It is never later than
        receipt + lifetime: that is what holds before the time is known, for a timestamp
        in the future, and when the clock steps back.
        """
        if self.lifetime is None:
            return None
        remaining = self.lifetime * 1000 - (self._clock.ticks() - self._received)
        if self.timestamp is not None and self._clock.known:
            deadline = self.timestamp + self.lifetime * 1000
            remaining = min(remaining, deadline - self._clock.now_ms())
        return remaining

    def progress(self, value):
        """Tell the cloud how far the handler is; sent only where progress is switched on."""
        if self.report:
            check_json(value)
            self.report(self, value)


class Outcome:
    """What became of a command: a status and a result."""

    kept = False  # by the journal, from an earlier life

    def __init__(self, command, status, result=None):
        self.command = command
        self.status = status
        self.result = result
        # The outbox's notes: ticks at which it took it, sends, ticks of the next send, and the
        # key of the answer that it waits for.
        self.since = self.attempts = self.due = 0
        self.request = None


def refuse(command, status, sentence, **more):
    """Return an outcome that is not a success: its result says in a sentence why."""
    more["error"] = sentence
    return Outcome(command, status, more)


def check_json(value, depth=0):
    """Raise ValueError, with the reason, for what JSON cannot carry.

    MicroPython's json.dumps never refuses: it writes NaN, sets and objects as text that no
    one can read back.
    """
    if depth > _DEEPEST:
        raise ValueError("it is nested more than %d levels deep" % _DEEPEST)
    if isinstance(value, (dict, list, tuple)):
        for item in value:
            if isinstance(value, dict):
                if not isinstance(item, str):
                    raise ValueError("its key %r is not a string" % (item,))
                item = value[item]
            check_json(item, depth + 1)
    elif isinstance(value, float):
        if value - value != 0:  # NaN and both infinities
            raise ValueError("%r is not a number in JSON" % value)
    elif value is not None and not isinstance(value, (str, int, bool)):  # no int there
        raise ValueError("JSON has no %s" % type(value).__name__)
