"""Admits a command to the runner, or answers it at once."""

from . import log
from .command import refuse


class Seen:
    """The ids of the newest commands, so that one that comes again is known.

    Bounded: the id with the oldest timestamp is forgotten first, and its timestamp becomes the
    floor. At or below the floor a command that is not remembered counts as seen.
    """

    def __init__(self, limit):
        self._limit = limit
        self._keys = []
        self._floor = None

    def add(self, key):
        """Remember (device, id, timestamp); return False if it was seen before."""
        if key in self._keys or (self._floor is not None and key[2] <= self._floor):
            return False
        if len(self._keys) >= self._limit:
            oldest = min(self._keys, key=lambda kept: kept[2])
            self._keys.remove(oldest)
            if self._floor is None or oldest[2] > self._floor:
                self._floor = oldest[2]
        self._keys.append(key)
        return True


class Intake:
    """The checks between a command's arrival and the queue."""

    def __init__(self, clock, registry, runner, done, limits):
        self._clock = clock
        self._registry = registry
        self._runner = runner
        self._done = done
        self._lifetime = limits["lifetime"] or None
        self._seen = Seen(limits["ids"])
        self.duplicates = 0

    def admit(self, command):
        """Take a command in: it is queued or answered, or passed over if it was seen before."""
        command.receive(self._clock)
        if command.timestamp is None:
            command.timestamp = self._clock.now_ms()
        if not self._seen.add(command.key):
            self.duplicates += 1
            log.debug("intake: %s %s was seen before", command.name, command.id)
            return
        log.info("intake: %s %s", command.name, command.id)
        outcome = self._refusal(command)
        if outcome is None:
            outcome = self._runner.submit(command, self._registry.get(command.name))
        if outcome is not None:
            self._done(outcome)

    def _refusal(self, command):
        if command.lifetime is None:
            command.lifetime = self._lifetime
        if command.refusal:
            return refuse(command, "rejected", command.refusal)
        if command.lifetime is not None:
            if not isinstance(command.lifetime, int) or isinstance(command.lifetime, bool):
                sentence = "lifetime: %r came, whole seconds fit" % (command.lifetime,)
                command.lifetime = None
                return refuse(command, "rejected", sentence)
            if command.remaining_ms() <= 0:
                return refuse(command, "expired", "its lifetime had passed when it arrived")
        return self._misfit(command)

    def _misfit(self, command):
        handler = self._registry.get(command.name)
        if handler is None:
            names = ", ".join(self._registry.names()) or "none"
            return refuse(
                command,
                "unknown",
                "there is no handler for %s; there is: %s" % (command.name, names),
            )
        if handler.params is not None and command.parameters is None:
            command.parameters = {}
        sentence = handler.misfit(command.parameters)
        return sentence and refuse(command, "rejected", sentence)
