"""Outcomes until the cloud has acknowledged them, or can no longer take them."""

import asyncio
from errno import EIO

from micropython import const

from . import log
from .command import Outcome

# How long an update may go unanswered before it is sent again; doubles up to the longest.
_ANSWER_MS = const(10000)
_LONGEST_MS = const(40000)

# Updates on their way at once: enough to keep a slow link busy, few enough for a small heap.
_WINDOW = const(4)


class Outbox:
    """Sends outcomes in their order, a few at a time, until each has its answer.

    Bounded by `limits["outbox"]`: when it is full the oldest outcome is given up, counted in
    `dropped`, and the log says so.
    """

    def __init__(self, clock, limits, journal):
        self._clock = clock
        self._journal = journal
        self._limit = limits["outbox"]
        self._largest = limits["payload"]
        self._queue = []
        self._kept = []  # slots of the journal with outcomes of an earlier life
        self._wake = asyncio.Event()
        self._session = None
        self.dropped = 0

    @property
    def empty(self):
        """Whether every outcome has been acknowledged or given up."""
        return not self._queue and not self._kept

    @property
    def room(self):
        """How many outcomes more may be caused: half of it is kept for those under way.

        What was sent before does not count: the cloud may have forgotten it.
        """
        return self._limit // 2 - sum(not outcome.attempts for outcome in self._queue)

    def put(self, outcome):
        """Take an outcome over until the cloud has it."""
        log.info("outbox: %s %s %s", outcome.command.name, outcome.command.id, outcome.status)
        self._forget_progress(outcome.command)
        if outcome.status != "running":
            self._journal.ended(outcome)
        self._make_room(1)
        self._take(outcome)

    def restore(self, slots):
        """Take over the outcomes in these slots of the journal, oldest first."""
        self._kept = slots
        self._make_room(0)

    def _make_room(self, more):
        # What is kept on the file system counts, too: it holds slots of the journal.
        while self._kept and len(self._queue) + len(self._kept) + more > self._limit:
            outcome = self._journal.outcome(self._kept.pop(0))
            if outcome:
                self._give_up(outcome, "the outbox is full")
        if len(self._queue) + more > self._limit:
            self._give_up(self._queue[0], "the outbox is full")

    def _take(self, outcome):
        outcome.since = self._clock.ticks()
        self._queue.append(outcome)
        self._wake.set()

    def _take_kept(self):
        # A few at a time, for each takes room. They were tried before, as far as anyone knows:
        # what is new does not wait behind them.
        while self._kept and sum(outcome.kept for outcome in self._queue) < _WINDOW:
            outcome = self._journal.outcome(self._kept.pop(0))
            if outcome:
                outcome.attempts = 2
                outcome.kept = True
                self._take(outcome)

    def progress(self, command, value):
        """Report how far a command is; a newer report takes the place of one still here."""
        self.put(Outcome(command, "running", value))

    async def drain(self, session, cloud):
        """Send what is here and what comes, for as long as the session lives."""
        self._session = session
        # What was sent and not answered is sent again, at once.
        for outcome in self._queue:
            outcome.due = 0
            outcome.request = None
        while True:
            self._wake.clear()
            await self._clock.wait(self._wake, self._send_due(cloud))

    def answered(self, answer):
        """Take the cloud's Answer to an update; raises OSError(EIO) if it wants a log-in."""
        for outcome in self._queue:
            if outcome.request == answer.key:
                self._judge(outcome, answer)
                self._wake.set()
                return

    def _forget_progress(self, command):
        for waiting in [one for one in self._queue if one.command is command]:
            self._queue.remove(waiting)

    def _judge(self, outcome, answer):
        if answer.ok:
            self._remove(outcome)
        elif answer.code == 401:
            # The subscriptions went with the log-in: only a new session has both.
            raise OSError(EIO, "the cloud has forgotten the log-in")
        elif 400 <= answer.code < 500:
            self._give_up(outcome, answer.error)
        else:
            log.warning("outbox: %s is not taken (%s)", outcome.command.id, answer.error)

    def _remove(self, outcome):
        if outcome in self._queue:
            self._queue.remove(outcome)
        if outcome.status != "running":
            self._journal.acknowledged(outcome)

    def _give_up(self, outcome, reason):
        self._remove(outcome)
        self.dropped += 1
        command = outcome.command
        log.error(
            "outbox: %s %s %s is given up: %s", command.name, command.id, outcome.status, reason
        )

    def _send_due(self, cloud):
        # Return the milliseconds until the next one is due, None if none waits. Only first sends
        # count for the window: what the cloud has forgotten, and is silent about, holds nothing up.
        self._take_kept()
        now, pause, window = self._clock.ticks(), None, _WINDOW
        for outcome in list(self._queue):
            if not outcome.attempts and window <= 0:
                continue
            if outcome.due <= now:
                self._session.forget(outcome.request)
                self._send(cloud, outcome, now)
            if outcome.attempts == 1:
                window -= 1
            left = outcome.due - now
            pause = left if pause is None else min(pause, left)
        return pause

    def _send(self, cloud, outcome, now):
        message = self._encode(cloud, outcome)
        if message is None:
            self._give_up(outcome, "the cloud can no longer take it")
            return
        topic, payload, outcome.request = message
        self._session.send(topic, payload, outcome.request, self.answered)
        outcome.due = now + min(_ANSWER_MS << min(outcome.attempts, 4), _LONGEST_MS)
        outcome.attempts += 1

    def _encode(self, cloud, outcome):
        message = cloud.encode(outcome)
        if message and len(message[1]) > self._largest:
            size, outcome.status = len(message[1]), "failed"
            outcome.result = {
                "error": "the result is too large: %d bytes as JSON, limits.payload is %d"
                % (size, self._largest)
            }
            message = cloud.encode(outcome)
        return message
