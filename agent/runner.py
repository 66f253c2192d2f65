"""Queues, starts, times and cancels handlers.

Each command that `submit` takes ends in exactly one call of `done(outcome)`.
"""

import asyncio

from micropython import const

from . import log
from .command import Outcome, Rejected, check_json, refuse

# What a cancelled handler gets for putting its things away before it is abandoned.
_GRACE_MS = const(2000)


class _Run:
    """One attempt of a handler at a command."""

    def __init__(self, command, handler, now):
        self.command = command
        self.handler = handler
        self.started = now
        self.task: "asyncio.Task | None" = None
        self.entered = False  # the coroutine's first line was reached
        self.stop = None  # the status for which it was told to stop
        self.why = ""  # the same in a sentence
        self.stopped = 0  # ticks at which it was told
        self.abandoned = False

    def tell(self, status, why, now):
        """Tell it to stop; `status` is what it will have ended in."""
        self.stop = status
        self.why = why
        self.stopped = now
        # A task that is cancelled before its first line never runs one: it sees `stop` instead.
        if self.entered and self.task:
            self.task.cancel()

    def check(self, now):
        """Tell it to stop if its time is over."""
        left, status = self.left_ms(now)
        if not self.stop and left is not None and left <= 0:
            lapsed = "its lifetime passed while %s ran"
            why = lapsed if status == "expired" else "the time limit of %s passed"
            self.tell(status, why % self.handler.name, now)

    def left_ms(self, now):
        """Return the milliseconds until it must be told to stop, and the status for it."""
        left, status = self.command.remaining_ms(), "expired"
        limit = self.handler.timeout_ms
        if limit is not None:
            limit -= now - self.started
            if left is None or limit < left:
                left, status = limit, "timed_out"
        return left, status


class Runner:
    """One handler a command name at a time, up to `limits["running"]` names at once."""

    def __init__(self, clock, limits, journal, done):
        self._clock = clock
        self._limits = limits
        self._journal = journal
        self._done = done
        self._queue = []
        self._runs = []
        self._wake = asyncio.Event()
        self.abandoned = 0  # ever
        self.rounds = 0  # of `run`, as a sign of life

    @property
    def stuck(self):
        """How many handlers that were abandoned have not come back."""
        return sum(run.abandoned for run in self._runs)

    @property
    def room(self):
        """How many more commands can wait."""
        return self._limits["queue"] - len(self._queue)

    def commands(self):
        """Return the commands that wait or run."""
        running = [run.command for run in self._runs if not run.abandoned]
        return [command for command, _ in self._queue] + running

    def submit(self, command, handler):
        """Queue a command for its handler; return None, or the outcome if there is no room."""
        if handler.when_busy == "replace":
            sentence = "a newer %s replaced it" % handler.name
            self._withdraw(lambda other: other.name == command.name, sentence)
        elif handler.when_busy == "reject" and not self._free(handler):
            return refuse(command, "busy", "%s is running already" % handler.name)
        if self.room <= 0:
            return refuse(command, "busy", "the queue is full (%d commands)" % len(self._queue))
        self._queue.append((command, handler))
        self.wake()
        return None

    def cancel(self, key):
        """End the command of this key if it waits or runs here."""
        self._withdraw(lambda command: command.key == key, "the cloud took it back")

    def wake(self):
        """Have the runner look at its queue and at the clock again."""
        self._wake.set()

    async def run(self):
        """Run what is submitted, for ever."""
        while True:
            self._wake.clear()
            self.rounds += 1
            self._go_through()
            for run in list(self._runs):
                self._watch(run)
            await self._clock.wait(self._wake, self._next_ms())

    def _free(self, handler):
        return not self._find(handler.name) and all(h is not handler for _, h in self._queue)

    def _find(self, name):
        for run in self._runs:
            if run.handler.name == name:
                return run
        return None

    def _withdraw(self, fits, sentence):
        for entry in [entry for entry in self._queue if fits(entry[0])]:
            self._queue.remove(entry)
            self._done(refuse(entry[0], "cancelled", sentence))
        for run in self._runs:
            if fits(run.command) and not run.stop:
                run.tell("cancelled", sentence, self._clock.ticks())
                self.wake()

    def _go_through(self):
        # The queue in its order: what is too late is answered, what can start starts. The clock
        # is read for each, as the handler before it may have blocked the loop for a while.
        for entry in list(self._queue):
            command, handler = entry
            remaining = command.remaining_ms()
            if remaining is not None and remaining <= 0:
                self._queue.remove(entry)
                self._done(refuse(command, "expired", "its lifetime passed while it waited"))
            elif len(self._runs) < self._limits["running"] and not self._find(handler.name):
                self._queue.remove(entry)
                self._launch(command, handler)

    def _launch(self, command, handler):
        run = _Run(command, handler, self._clock.ticks())
        outcome = self._note(command, handler) or self._call(run)
        if outcome:
            self._done(outcome)
            self.wake()

    def _note(self, command, handler):
        # What is not in the journal is not run: after a reset it could run a second time.
        if command.waiter is None:
            try:
                self._journal.started(command, handler.durable)
            except OSError as e:
                return refuse(command, "failed", "not run: the journal can't be written (%s)" % e)
        # Flash takes its time.
        remaining = command.remaining_ms()
        if remaining is not None and remaining <= 0:
            return refuse(command, "expired", "its lifetime passed just before it started")
        return None

    def _call(self, run):
        # A plain function is over when it returns; a coroutine gets a task.
        try:
            result = run.handler.function(run.command)
        except Exception as e:  # noqa: BLE001 - any of them is an outcome
            return self._failure(run, e)
        if not hasattr(result, "send"):
            return self._judge(run, result)
        self._runs.append(run)
        run.task = asyncio.create_task(self._accompany(run, result))
        return None

    async def _accompany(self, run, coroutine):
        # Whatever blocked the loop since the launch may have used the time up.
        run.check(self._clock.ticks())
        run.entered = True
        outcome = None
        try:
            if run.stop:
                coroutine.close()
            else:
                outcome = self._judge(run, await coroutine)
        except asyncio.CancelledError:
            if not run.stop:
                outcome = refuse(run.command, "failed", "the handler was cancelled from inside")
        except Exception as e:  # noqa: BLE001 - as above
            outcome = self._failure(run, e)
        self._runs.remove(run)
        self.wake()
        if run.abandoned:
            log.info("runner: %s came back after all", run.handler.name)
        else:
            self._done(outcome or self._stopped(run))

    def _failure(self, run, error):
        if run.stop:
            return self._stopped(run)
        if isinstance(error, Rejected):
            return refuse(run.command, "rejected", str(error))
        log.write_exception(error)
        return refuse(run.command, "failed", "%s: %s" % (type(error).__name__, error))

    def _judge(self, run, result):
        # A value that came too late is told, but the command has not succeeded.
        run.entered = False  # nothing is left to cancel
        run.check(self._clock.ticks())
        try:
            check_json(result)
        except ValueError as e:
            return refuse(run.command, "failed", "the handler's result can't be sent: %s" % e)
        if run.stop:
            return refuse(run.command, run.stop, run.why, late_result=result)
        return Outcome(run.command, "succeeded", result)

    def _stopped(self, run):
        return refuse(run.command, run.stop, run.why)

    def _watch(self, run):
        now = self._clock.ticks()
        run.check(now)
        if run.stop and not run.abandoned and now - run.stopped >= _GRACE_MS:
            run.abandoned = True
            self.abandoned += 1
            log.error("runner: %s ignores its cancellation and is abandoned", run.handler.name)
            self._done(self._stopped(run))

    def _next_ms(self):
        # The milliseconds until the clock alone changes anything; None: never.
        now = self._clock.ticks()
        times = [command.remaining_ms() for command, _ in self._queue]
        for run in self._runs:
            if not run.stop:
                times.append(run.left_ms(now)[0])
            elif not run.abandoned:
                times.append(run.stopped + _GRACE_MS - now)
        times = [ms for ms in times if ms is not None]
        return min(times) if times else None
