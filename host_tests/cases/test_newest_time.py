"""The time that the journal proves: what was known at a write, whatever senders claim."""

from agent.clock import parse_iso8601
from agent.command import Command
from agent.journal import Journal
from host_tests.fake_clock import MORNING_MS, FakeClock
from host_tests.scratch import Scratch

POWER_UP = parse_iso8601("2021-01-01T00:00:03")


def started(folder, number, unix_ms, timestamp, server_ms=None):
    """Open the journal as after a reset, write one start; return what it proved before."""
    clock = FakeClock(unix_ms)
    if server_ms:
        clock.set_ms(server_ms, clock.ticks(), clock.ticks())
    journal = Journal(clock, folder, 8, "full")
    journal.load()
    proved_ms = journal.newest_ms
    journal.started(Command(number, "blink", None, timestamp, None, device="dev-1"), False)
    return proved_ms


def test_the_newest_time_that_was_known_is_there_after_a_reset():
    with Scratch() as folder:
        assert started(folder, 1, MORNING_MS, MORNING_MS) == -1
        assert started(folder, 2, POWER_UP, MORNING_MS, MORNING_MS + 5000) == MORNING_MS
        assert started(folder, 3, MORNING_MS + 9000, MORNING_MS) == MORNING_MS + 5000
        assert started(folder, 4, MORNING_MS, MORNING_MS) == MORNING_MS + 9000


def test_p4_a_timestamp_from_the_future_proves_nothing():
    # It would have TLS refuse every certificate, for ever where there is no NTP.
    with Scratch() as folder:
        started(folder, 1, MORNING_MS, parse_iso8601("2099-01-01T00:00:00"))
        assert started(folder, 2, POWER_UP, MORNING_MS) == MORNING_MS


def test_a_clock_that_was_never_set_proves_nothing_and_forgets_nothing():
    with Scratch() as folder:
        started(folder, 1, POWER_UP, MORNING_MS)
        assert started(folder, 2, MORNING_MS, MORNING_MS) == -1
        started(folder, 3, POWER_UP, MORNING_MS)
        assert started(folder, 4, POWER_UP, MORNING_MS) == MORNING_MS
