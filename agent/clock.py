"""UTC from any epoch, the server's time, and the one place where the agent waits.

All times are integers: milliseconds since 1970-01-01 UTC, or milliseconds of `Clock.ticks()`.
"""

import asyncio
import time
from errno import ETIMEDOUT

from micropython import const

# asyncio's timers stand on ticks_ms, which wraps at 2**30 and can look ahead less than half of
# that; a longer wait comes back early, and whoever waits looks at the clock again.
_LONGEST_MS = const(0x10000000)

_DAY_MS = const(86400000)

# 2026-01-01, the year of this release: a clock that was ever set does not stand before it. At
# power-up an ESP32 says 2000-01-01 and an RP2 2021-01-01.
RELEASED_MS = 1767225600000

# A late sample of the server's time says less than the clock that already runs.
_SLOW_ROUND_TRIP_MS = const(1000)


def _days(year, month, day):
    # From 1970-01-01 to a date of the Gregorian calendar. Counts years from March, so that the
    # leap day is a year's last and the months' lengths follow one formula. The 13th month is the
    # next January.
    year += (month - 3) // 12
    month = (month - 3) % 12
    days = 365 * year + year // 4 - year // 100 + year // 400
    return days + (153 * month + 2) // 5 + day - 719469


def civil_from_days(days):
    """Return (year, month, day) of a day counted from 1970-01-01."""
    # A mean month is 146097 / 4800 days long: this finds the right one or the one before.
    month = (days - 31) * 4800 // 146097 + 1
    while _days(1970, month + 1, 1) <= days:
        month += 1
    return 1970 + (month - 1) // 12, (month - 1) % 12 + 1, days - _days(1970, month, 0)


# ESP32 counts from 2000, the others from 1970; no other line of the agent knows.
_EPOCH_MS = _days(time.gmtime(0)[0], 1, 1) * _DAY_MS


def _number(text, at):
    part = text[at : at + 2]
    if len(part) != 2 or not part.isdigit():
        raise ValueError
    return int(part)


def _tail_ms(text):
    # What follows the seconds: ".1234567", of which digits past the third are cut, as no deadline
    # gains by them; then "", "Z", "+hh", "+hhmm" or "+hh:mm".
    ms = 0
    if text[:1] == ".":
        zone = text[1:].lstrip("0123456789")
        ms = int((text[1 : len(text) - len(zone)] + "00")[:3])
        if text[1:] == zone:
            raise ValueError
        text = zone
    if text in ("", "Z"):
        return ms
    digits = text[1:].replace(":", "")
    if text[0] not in "+-" or len(digits) not in (2, 4):
        raise ValueError
    offset = (_number(digits, 0) * 60 + _number(digits + "00", 2)) * 60000
    return ms + offset if text[0] == "-" else ms - offset


def parse_iso8601(text):
    """Return the Unix milliseconds of an ISO 8601 time; without a zone it is UTC.

    Takes what the clouds send: `2026-11-21T09:27:04`, with any number of decimals, with `Z` or
    an offset. Raises ValueError with the text when it is none.
    """
    try:
        upper = text.upper()
        year, month = _number(upper, 0) * 100 + _number(upper, 2), _number(upper, 5)
        days = _days(year, month, _number(upper, 8))
        hour, minute, second = _number(upper, 11), _number(upper, 14), _number(upper, 17)
        if (
            upper[4] + upper[7] + upper[13] + upper[16] == "--::"
            and upper[10] in "T "
            and _days(year, month, 1) <= days < _days(year, month + 1, 1)
            and 1 <= month <= 12
            and hour < 24
            and minute < 60
            and second < 61
        ):
            minutes = (days * 24 + hour) * 60 + minute
            return minutes * 60000 + second * 1000 + _tail_ms(upper[19:])
    except (ValueError, IndexError, AttributeError):
        pass
    raise ValueError("%r is not an ISO 8601 time" % (text,))


def format_iso8601(ms):
    """Return Unix milliseconds as `2026-11-21T09:27:04.031`, UTC without a zone."""
    days, ms = divmod(ms, _DAY_MS)
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03d" % (
        civil_from_days(days) + (ms // 3600000, ms // 60000 % 60, ms // 1000 % 60, ms % 1000)
    )


class Clock:
    """The time on this board and, once a cloud has told it, the server's."""

    _time = time  # a test moves another

    def __init__(self):
        self.known = False
        self.guessed = False  # the board's own clock was set to a time that is past
        self.changed: object = None  # called whenever the time was set
        self._wrapping = self._time.ticks_ms()
        self._ticks = 0
        self._offset = 0

    def ticks(self):
        """Return the milliseconds since this clock was made: they never wrap or step.

        Must be called at least once in six days; every session does so each few seconds.
        """
        now = self._time.ticks_ms()
        self._ticks += self._time.ticks_diff(now, self._wrapping)
        self._wrapping = now
        return self._ticks

    def now_ms(self):
        """Return Unix milliseconds: the server's where `known`, else this board's own."""
        if self.known:
            return self.ticks() + self._offset
        return self._time.time_ns() // 1000000 + _EPOCH_MS

    @property
    def plausible(self):
        """Whether this board's own clock can be right, as TLS needs it."""
        return not self.guessed and self.now_ms() >= RELEASED_MS

    def set_ms(self, ms, sent, received):
        """Take the server's time over.

        `ms` is what the server said, `sent` and `received` the ticks before and after asking.
        The whole round trip is counted as already past: the clock may run ahead of the
        server's by at most that, but never behind it, so nothing starts late.
        """
        if self.known and received - sent > _SLOW_ROUND_TRIP_MS:
            return
        self._offset = ms - sent
        self.known = True
        if callable(self.changed):
            self.changed()

    def sleep_ms(self, ms):
        """Sleep for `ms` milliseconds, at most three days; to be awaited at once."""
        return asyncio.sleep_ms(min(ms, _LONGEST_MS))

    async def wait(self, event, timeout_ms=None):
        """Wait for an event, at most `timeout_ms`; return whether it is set.

        A wait of more than three days comes back early. Where there is nothing to wait for, the
        other tasks get their turn all the same.
        """
        if event.is_set() or (timeout_ms is not None and timeout_ms <= 0):
            await asyncio.sleep_ms(0)
        elif timeout_ms is None:
            await event.wait()
        else:
            try:
                await asyncio.wait_for_ms(event.wait(), min(timeout_ms, _LONGEST_MS))
            except asyncio.TimeoutError:
                pass
        return event.is_set()

    async def bounded(self, awaitable, timeout_ms):
        """Await something for at most `timeout_ms`, then raise OSError(ETIMEDOUT).

        Ends what it awaits: only for operations that are not taken up again.
        """
        try:
            return await asyncio.wait_for_ms(awaitable, timeout_ms)
        except asyncio.TimeoutError:
            raise OSError(ETIMEDOUT, "no answer within %d ms" % timeout_ms)
