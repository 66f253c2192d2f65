"""Admits a command to the runner, or answers it at once."""

import gc

from micropython import const

from . import log
from .command import refuse

# Bytes of the heap that are left for the rest, garbage included (agent/__init__.py sets how much
# there can be), and what a command costs from here to its answer.
_RESERVE = const(6144)
_HELD = const(1536)


class Intake:
    """The checks between a command's arrival and the queue."""

    def __init__(self, clock, registry, runner, journal, outbox, done, settings):
        self._clock = clock
        self._registry = registry
        self._runner = runner
        self._journal = journal
        self._outbox = outbox
        self._done = done
        self._lifetime = settings["limits"]["lifetime"] or None
        self._progress = settings["progress"]
        self.duplicates = 0

    @property
    def idle(self):
        """Whether all that came in has been answered, and the answers were taken."""
        return self._outbox.empty and not self._runner.commands()

    def room(self):
        """Return how many commands more, and their outcomes, would find room."""
        heap = (gc.mem_free() - _RESERVE) // _HELD
        # However little there is: with nothing else here it has to be tried.
        return max(min(self._runner.room, self._outbox.room, heap), 1 if self.idle else 0)

    def working(self):
        """Return the cloud's commands that wait or run."""
        return [command for command in self._runner.commands() if command.waiter is None]

    def admit(self, command):
        """Take a command in: it is queued or answered, or passed over if it was seen before.

        One that the cloud took back cancels what waits or runs here. Return whether it was new.
        """
        if command.withdrawn:
            self._runner.cancel(command.key)
            return False
        command.receive(self._clock)
        if self._progress and command.waiter is None:
            command.report = self._outbox.progress
        if command.timestamp is None:
            command.timestamp = self._clock.now_ms()
        # The board's own commands never come twice, and its clock may be behind the journal's.
        if command.waiter is None and self._known(command.key):
            self.duplicates += 1
            log.debug("intake: %s %s was seen before", command.name, command.id)
            return False
        log.info("intake: %s %s", command.name, command.id)
        outcome = self._refusal(command)
        if outcome is None:
            outcome = self._runner.submit(command, self._registry.get(command.name))
        if outcome is not None:
            self._done(outcome)
        return True

    def _known(self, key):
        here = any(command.key == key for command in self._runner.commands())
        return here or self._journal.seen(key)

    def _refusal(self, command):
        if command.lifetime is None:
            command.lifetime = self._lifetime
        if command.refusal:
            return refuse(command, *command.refusal)
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
        if handler is None and self._registry.closed:
            return refuse(command, "rejected", self._registry.closed)
        if handler is None:
            names = ", ".join(self._registry.names()) or "none"
            return refuse(
                command,
                "unknown",
                "there is no handler for %s; there is: %s" % (command.name, names),
            )
        if handler.allow and not self._allowed(command, handler.allow):
            return refuse(command, "rejected", "the sender may not run %s" % command.name)
        if handler.params is not None and command.parameters is None:
            command.parameters = {}
        sentence = handler.misfit(command.parameters)
        return sentence and refuse(command, "rejected", sentence)

    def _allowed(self, command, allow):
        try:
            return allow(command)
        except Exception as e:  # noqa: BLE001 - the owner's check failed: nobody may
            log.write_exception(e)
            return False
