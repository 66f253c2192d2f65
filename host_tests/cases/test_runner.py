"""The runner: order, limits, deadlines, time limits, cancellation."""

import asyncio

from agent.command import Command
from agent.journal import Journal
from agent.registry import Handler
from agent.runner import Runner
from host_tests.fake_clock import FakeClock

LIMITS = {"running": 4, "queue": 8}


class Track:
    """A runner on fake time, what its handlers did, and the outcomes that came out."""

    def __init__(self, **limits):
        self.clock = FakeClock()
        chosen = dict(LIMITS)
        chosen.update(limits)
        self.journal = Journal(self.clock, "", 64, "off")
        self.runner = Runner(self.clock, chosen, self.journal, self.outcomes_append)
        self.outcomes = []
        self.events = []
        self.over = False
        self._number = 0

    def outcomes_append(self, outcome):
        self.outcomes.append(outcome)

    async def __aenter__(self):
        self._task = asyncio.create_task(self.runner.run())
        await self.clock.settle()
        return self

    async def __aexit__(self, *exc):
        self.over = True
        for task in [self._task] + [run.task for run in self.runner._runs]:
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass

    def handler(self, name, function, **options):
        return Handler(name, function, **options)

    def submit(self, handler, lifetime=None):
        self._number += 1
        command = Command(self._number, handler.name, None, None, lifetime)
        command.receive(self.clock)
        command.timestamp = self.clock.now_ms()
        refused = self.runner.submit(command, handler)
        if refused:
            self.outcomes.append(refused)
        return command

    def sleeper(self, name, ms, **options):
        """Return a handler that takes `ms` and notes start, end and cancellation."""

        async def sleep(command):
            self.events.append("start " + name)
            try:
                await self.clock.sleep_ms(ms)
            except asyncio.CancelledError:
                self.events.append("cancelled " + name)
                raise
            self.events.append("end " + name)
            return name

        return self.handler(name, sleep, **options)

    def statuses(self):
        return [(outcome.command.id, outcome.status) for outcome in self.outcomes]


async def test_commands_of_one_name_run_one_after_the_other_in_order():
    async with Track() as track:
        handler = track.sleeper("a", 100)
        for _ in range(3):
            track.submit(handler)
        await track.clock.advance(50)
        assert track.events == ["start a"]
        await track.clock.advance(1000)
        assert track.events == ["start a", "end a"] * 3
        assert track.statuses() == [(1, "succeeded"), (2, "succeeded"), (3, "succeeded")]
        assert not track.runner.commands()


async def test_different_names_run_side_by_side_up_to_the_limit():
    async with Track(running=2) as track:
        for name in ("a", "b", "c"):
            track.submit(track.sleeper(name, 100))
        await track.clock.advance(50)
        assert sorted(track.events) == ["start a", "start b"]
        await track.clock.advance(1000)
        assert "end c" in track.events and len(track.outcomes) == 3


async def test_p4_a_full_queue_answers_busy():
    async with Track(queue=2) as track:
        handler = track.sleeper("a", 100)
        for _ in range(4):
            track.submit(handler)
            await track.clock.settle()
        assert track.statuses() == [(4, "busy")]
        await track.clock.advance(1000)
        assert track.statuses()[1:] == [(1, "succeeded"), (2, "succeeded"), (3, "succeeded")]


async def test_p2_a_queued_command_expires_at_its_deadline_without_a_start():
    async with Track() as track:
        handler = track.sleeper("a", 5000)
        track.submit(handler)
        track.submit(handler, 2)
        await track.clock.advance(1999)
        assert not track.outcomes
        await track.clock.advance(1)
        assert track.statuses() == [(2, "expired")]
        await track.clock.advance(10000)
        assert track.events == ["start a", "end a"]


async def test_p2_a_running_coroutine_is_cancelled_at_its_deadline():
    async with Track() as track:
        track.submit(track.sleeper("a", 5000), 2)
        await track.clock.advance(1999)
        assert track.events == ["start a"]
        await track.clock.advance(1)
        assert track.events == ["start a", "cancelled a"]
        assert track.statuses() == [(1, "expired")]


async def test_p2_a_plain_function_that_returns_late_is_expired_with_its_value():
    async with Track() as track:

        def slow(command):
            track.clock._move(track.clock._time.ticks + 3000)
            return "value"

        track.submit(track.handler("slow", slow), 2)
        await track.clock.settle()
        assert track.statuses() == [(1, "expired")]
        assert track.outcomes[0].result["late_result"] == "value"


async def test_p2_behind_a_plain_function_that_blocked_nothing_starts_late():
    async with Track() as track:

        def slow(command):
            track.events.append("slow")
            track.clock._move(track.clock._time.ticks + 3000)

        track.submit(track.handler("slow", slow))
        track.submit(track.handler("next", lambda command: track.events.append("next")), 3)
        await track.clock.settle()
        assert track.events == ["slow"]
        assert track.statuses() == [(1, "succeeded"), (2, "expired")]


async def test_p2_what_blocks_the_loop_between_launch_and_first_line_starts_nothing_late():
    async with Track() as track:
        track.submit(track.sleeper("a", 100), 3)
        track.runner._go_through()  # launched, but its task has had no turn yet
        track.clock._move(track.clock._time.ticks + 3000)
        await track.clock.settle()
        assert track.events == []
        assert track.statuses() == [(1, "expired")]


async def test_p2_a_deadline_that_passes_while_the_journal_is_written_is_kept():
    async with Track() as track:

        def slow(command, durable):
            track.clock._move(track.clock._time.ticks + 2000)

        track.journal.started = slow
        track.submit(track.handler("a", lambda command: track.events.append("a")), 2)
        await track.clock.settle()
        assert not track.events
        assert track.statuses() == [(1, "expired")]


async def test_p2_a_coroutine_whose_first_turn_comes_too_late_never_starts():
    async with Track() as track:
        wait = track.clock.wait

        async def blocked(event, timeout_ms=None):
            # After the launch, and before the coroutine has its turn.
            track.clock.wait = wait
            track.clock._move(track.clock._time.ticks + 3000)
            return await wait(event, timeout_ms)

        track.clock.wait = blocked
        track.submit(track.sleeper("a", 100), 2)
        await track.clock.settle()
        assert not track.events
        assert track.statuses() == [(1, "expired")]


async def test_the_time_limit_cancels_and_says_timed_out():
    async with Track() as track:
        track.submit(track.sleeper("a", 5000, timeout=1.5), 60)
        await track.clock.advance(1499)
        assert not track.outcomes
        await track.clock.advance(1)
        assert track.statuses() == [(1, "timed_out")]
        assert track.events[-1] == "cancelled a"


async def test_the_time_limit_counts_from_the_start_not_from_the_queue():
    async with Track() as track:
        handler = track.sleeper("a", 1000, timeout=1.5)
        track.submit(handler)
        track.submit(handler)
        await track.clock.advance(5000)
        assert track.statuses() == [(1, "succeeded"), (2, "succeeded")]


async def test_when_busy_reject_answers_busy():
    async with Track() as track:
        handler = track.sleeper("a", 1000, when_busy="reject")
        track.submit(handler)
        await track.clock.settle()
        track.submit(handler)
        assert track.statuses() == [(2, "busy")]


async def test_when_busy_replace_cancels_the_older_and_runs_the_newer():
    async with Track() as track:
        handler = track.sleeper("a", 1000, when_busy="replace")
        track.submit(handler)
        await track.clock.advance(100)
        track.submit(handler)
        await track.clock.advance(2000)
        assert track.statuses() == [(1, "cancelled"), (2, "succeeded")]
        assert track.events == ["start a", "cancelled a", "start a", "end a"]


async def test_when_busy_replace_of_one_that_has_not_begun_never_starts_it():
    async with Track() as track:
        handler = track.sleeper("a", 1000, when_busy="replace")
        for _ in range(3):
            track.submit(handler)
        await track.clock.advance(2000)
        assert track.statuses() == [(1, "cancelled"), (2, "cancelled"), (3, "succeeded")]
        assert track.events == ["start a", "end a"]


async def test_a_run_told_to_stop_before_its_first_line_is_answered_once():
    async with Track() as track:
        handler = track.sleeper("a", 1000, when_busy="replace")
        track.submit(handler)
        track.runner._go_through()  # launched, but its task has had no turn yet
        track.submit(handler)
        await track.clock.advance(2000)
        assert track.statuses() == [(1, "cancelled"), (2, "succeeded")]
        assert track.events == ["start a", "end a"]


def stubborn(track):
    async def ignore(command):
        while True:
            try:
                await track.clock.sleep_ms(60000)
                return "at last"
            except asyncio.CancelledError:
                if track.over:
                    raise

    return ignore


async def test_p4_a_handler_that_swallows_its_cancellation_is_abandoned_and_answered():
    async with Track() as track:
        handler = track.handler("stubborn", stubborn(track), timeout=1)
        track.submit(handler)
        await track.clock.advance(2500)
        assert not track.outcomes
        await track.clock.advance(1000)
        assert track.statuses() == [(1, "timed_out")]
        assert track.runner.abandoned == 1
        track.submit(track.sleeper("a", 100))
        track.submit(handler)
        await track.clock.advance(1000)
        assert track.statuses()[1:] == [(2, "succeeded")]


async def test_p3_an_abandoned_handler_that_comes_back_is_not_answered_twice():
    async with Track() as track:
        track.submit(track.handler("stubborn", stubborn(track), timeout=1))
        await track.clock.advance(120000)
        assert track.statuses() == [(1, "timed_out")]
        assert not track.runner.commands()


async def test_a_cancelled_handler_that_returns_in_time_has_its_value_told():
    async with Track() as track:

        async def tidy(command):
            try:
                await track.clock.sleep_ms(5000)
            except asyncio.CancelledError:
                return "half done"

        track.submit(track.handler("tidy", tidy, timeout=1))
        await track.clock.advance(1000)
        assert track.statuses() == [(1, "timed_out")]
        assert track.outcomes[0].result["late_result"] == "half done"


async def test_p3_a_handler_that_cancels_itself_is_answered_failed():
    async with Track() as track:

        async def odd(command):
            raise asyncio.CancelledError

        track.submit(track.handler("odd", odd))
        await track.clock.settle()
        assert track.statuses() == [(1, "failed")]


async def test_p4_every_kind_of_exception_is_an_outcome():
    async with Track() as track:
        for number, error in enumerate(
            (KeyError("k"), MemoryError(), OSError(5), StopIteration())
        ):

            def throw(command, error=error):
                raise error

            track.submit(track.handler("h%d" % number, throw))
            await track.clock.settle()
        assert [status for _, status in track.statuses()] == ["failed"] * 4


async def test_a_deadline_moves_to_the_servers_clock_when_that_is_known():
    async with Track() as track:
        handler = track.sleeper("a", 60000)
        command = track.submit(handler, 30)
        command.timestamp = track.clock.now_ms() - 20000
        await track.clock.advance(1000)
        assert command.remaining_ms() == 29000
        track.clock.changed = track.runner.wake
        ticks = track.clock.ticks()
        track.clock.set_ms(track.clock.now_ms(), ticks, ticks)
        assert command.remaining_ms() == 9000
        await track.clock.advance(8999)
        assert not track.outcomes
        await track.clock.advance(1)
        assert track.statuses() == [(1, "expired")]
