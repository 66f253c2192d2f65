"""The pause between sessions, and what a lost link is called."""

from errno import EACCES, ECONNABORTED, ECONNREFUSED

from agent.session import Answer, Backoff, describe


def test_the_first_retry_is_soon_and_later_ones_spread_up_to_half_a_minute():
    largest = 0
    for _ in range(50):
        backoff = Backoff()
        assert backoff.next_ms(OSError(ECONNREFUSED)) < 500
        pauses = [backoff.next_ms(OSError(ECONNREFUSED)) for _ in range(20)]
        assert pauses[0] < 2000 and pauses[1] < 4000
        assert max(pauses) < 32000
        largest = max([largest] + pauses)
    assert largest > 20000


def test_a_session_that_proved_itself_starts_the_pauses_again():
    backoff = Backoff()
    for _ in range(20):
        backoff.next_ms(OSError(ECONNREFUSED))
    backoff.succeeded()
    assert backoff.next_ms(OSError(ECONNREFUSED)) < 500


def test_refused_credentials_are_tried_slowly_from_the_first_time_on():
    backoff = Backoff()
    pauses = [backoff.next_ms(OSError(EACCES, "no")) for _ in range(10)]
    assert pauses[0] >= 60000 and pauses[1] >= 120000
    assert all(pause < 4000000 for pause in pauses)
    assert sum(pauses[:9]) > 3 * 3600000


def test_a_broker_that_closes_at_each_log_in_is_taken_for_a_refusal_in_the_end():
    backoff = Backoff()
    closed = OSError(ECONNABORTED, "closed at the log-in")
    assert all(backoff.next_ms(closed) < 4000 for _ in range(3))
    assert backoff.next_ms(closed) >= 60000 and backoff.next_ms(closed) >= 120000
    backoff.succeeded()
    assert backoff.next_ms(closed) < 500


def test_an_error_is_told_in_words():
    assert describe(OSError(EACCES, "the broker refused the login")).startswith("the broker")
    assert describe(OSError(-2, None)) == "its name could not be resolved"


def test_answers_are_good_in_the_two_hundreds_only():
    assert Answer(1).ok and Answer(1, 204).ok
    assert not Answer(1, 199).ok and not Answer(1, 300).ok and not Answer(1, 404).ok
