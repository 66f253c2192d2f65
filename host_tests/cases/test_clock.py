"""Time: ISO 8601, the wrap of ticks, the server's clock, the deadlines that stand on them."""

from agent.clock import format_iso8601, parse_iso8601
from agent.command import Command
from host_tests.fake_clock import MORNING_MS, FakeClock

_PERIOD = 1 << 30


def refused(text):
    try:
        parse_iso8601(text)
    except ValueError as e:
        return repr(text) in str(e)
    return False


def test_iso8601_in_every_form_that_a_cloud_sends():
    nine = MORNING_MS
    assert parse_iso8601("2026-11-21T09:00:00") == nine
    assert parse_iso8601("2026-11-21T09:00:00Z") == nine
    assert parse_iso8601("2026-11-21 09:00:00") == nine
    assert parse_iso8601("2026-11-21T09:00:00.031") == nine + 31
    assert parse_iso8601("2026-11-21T09:00:00.3") == nine + 300
    assert parse_iso8601("2026-11-21T09:00:00.1234567Z") == nine + 123
    assert parse_iso8601("2026-11-21T11:30:00+02:30") == nine
    assert parse_iso8601("2026-11-21T01:00:00.5-0800") == nine + 500
    assert parse_iso8601("2026-11-21T10:00:00+01") == nine


def test_iso8601_at_the_edges_of_the_calendar():
    assert parse_iso8601("1970-01-01T00:00:00") == 0
    assert parse_iso8601("2000-02-29T00:00:00") == 951782400000
    assert parse_iso8601("2026-12-31T23:59:60") == parse_iso8601("2027-01-01T00:00:00")
    for ms in (0, 951782399999, 951868800000, MORNING_MS + 9, 4102444799999):
        assert parse_iso8601(format_iso8601(ms)) == ms
    assert format_iso8601(MORNING_MS + 9) == "2026-11-21T09:00:00.009"


def test_iso8601_that_is_none_is_refused_with_its_text():
    for text in (
        "",
        "yesterday",
        "2026-11-21",
        "2026-11-21T09:00",
        "2026-13-01T00:00:00",
        "2026-02-30T00:00:00",
        "2026-11-21T24:00:00",
        "2026-11-21T09:60:00",
        "2026-11-21T09:00:00.",
        "2026-11-21T09:00:00X",
        "2026-11-21T09:00:00+1",
        "2026-11-21T09:00:00.5.5",
        "2o26-11-21T09:00:00",
        "0026-1121T09:00:00",
        "2026-11-21T09:00:0",
        "2026-11-21T09:00:00+01305",
        None,
        1795251600000,
        {},
    ):
        assert refused(text), text


async def test_ticks_never_wrap_although_the_boards_do():
    clock = FakeClock(ticks=_PERIOD - 500)
    for _ in range(10):
        before = clock.ticks()
        await clock.advance(_PERIOD // 4)
        assert clock.ticks() - before == _PERIOD // 4


def test_the_server_time_counts_the_round_trip_as_past():
    clock = FakeClock()
    clock._time.ticks += 400
    clock.set_ms(MORNING_MS + 5000, 0, 400)
    assert clock.known and clock.now_ms() == MORNING_MS + 5400


def test_a_slow_answer_does_not_disturb_a_clock_that_is_set():
    clock = FakeClock()
    clock.set_ms(MORNING_MS, 0, 20)
    clock._time.ticks += 9000
    # Said at the end of the nine seconds: taken over, it would put the clock ahead by them.
    clock.set_ms(MORNING_MS + 9000, 0, 9000)
    assert clock.now_ms() == MORNING_MS + 9000
    clock.set_ms(MORNING_MS + 100, 9000, 9020)
    assert clock.now_ms() == MORNING_MS + 100


def test_the_boards_own_clock_counts_only_until_the_server_has_spoken():
    clock = FakeClock()
    assert clock.now_ms() == MORNING_MS and not clock.known
    clock.set_ms(MORNING_MS + 1000, 0, 0)
    clock.step_board_ms(86400000)
    assert clock.now_ms() == MORNING_MS + 1000


async def test_p2_a_deadline_holds_through_the_wrap_of_ticks():
    clock = FakeClock(ticks=_PERIOD - 500)
    command = Command(1, "a", None, clock.now_ms(), 10)
    command.receive(clock)
    clock.set_ms(clock.now_ms(), 0, 0)
    await clock.advance(9999)
    assert command.remaining_ms() == 1
    await clock.advance(1)
    assert command.remaining_ms() == 0


def test_p2_a_clock_that_steps_back_gives_no_command_a_longer_life():
    clock = FakeClock()
    clock.set_ms(MORNING_MS, 0, 0)
    command = Command(1, "a", None, clock.now_ms(), 10)
    command.receive(clock)
    clock._time.ticks += 4000
    clock.set_ms(MORNING_MS - 3600000, 4000, 4000)
    assert command.remaining_ms() == 6000
