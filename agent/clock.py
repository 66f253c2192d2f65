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

_DAY_S = const(86400)

# A late sample of the server's time says less than the clock that already runs.
_SLOW_ROUND_TRIP_MS = const(1000)


def days_from_civil(year, month, day):
    """Return the days from 1970-01-01 to a date of the Gregorian calendar.

    Counts years from March, so that the leap day is a year's last and the months' lengths
    follow one formula.
    """
    if month <= 2:
        year -= 1
        month += 12
    days = 365 * year + year // 4 - year // 100 + year // 400
    return days + (153 * (month - 3) + 2) // 5 + day - 719469


def civil_from_days(days):
    """Return (year, month, day) of a day counted from 1970-01-01."""
    days += 719468
    era, doe = divmod(days, 146097)
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    month = (5 * doy + 2) // 153
    day = doy - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    return yoe + era * 400 + (month <= 2), month, day


# ESP32 counts from 2000, the others from 1970; no other line of the agent knows.
_EPOCH_MS = days_from_civil(time.gmtime(0)[0], 1, 1) * _DAY_S * 1000


def _digits(text, start, end):
    part = text[start:end]
    if len(part) != end - start or not part.isdigit():
        raise ValueError
    return int(part)


def _zone_minutes(text):
    # "", "Z", "+hh", "+hhmm" or "+hh:mm"
    if text in ("", "Z", "z"):
        return 0
    digits = text[1:].replace(":", "")
    if text[0] not in "+-" or len(digits) not in (2, 4):
        raise ValueError
    minutes = _digits(digits, 0, 2) * 60
    if len(digits) == 4:
        minutes += _digits(digits, 2, 4)
    return -minutes if text[0] == "-" else minutes


def _fraction_ms(text):
    # ".1234567" to (123, length): digits past the third are cut, as no deadline gains by them.
    end = 1
    while end < len(text) and text[end].isdigit():
        end += 1
    if end == 1:
        raise ValueError
    return int((text[1:end] + "00")[:3]), end


def _parse(text):
    if text[4] != "-" or text[7] != "-" or text[10] not in "Tt " or text[13] + text[16] != "::":
        raise ValueError
    month, day = _digits(text, 5, 7), _digits(text, 8, 10)
    days = days_from_civil(_digits(text, 0, 4), month, day)
    if not 1 <= month <= 12 or civil_from_days(days)[1:] != (month, day):
        raise ValueError
    hour, minute, second = _digits(text, 11, 13), _digits(text, 14, 16), _digits(text, 17, 19)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError
    ms, rest = 0, text[19:]
    if rest[:1] == ".":
        ms, end = _fraction_ms(rest)
        rest = rest[end:]
    return ((days * 24 + hour) * 60 + minute - _zone_minutes(rest)) * 60000 + second * 1000 + ms


def parse_iso8601(text):
    """Return the Unix milliseconds of an ISO 8601 time; without a zone it is UTC.

    Takes what the clouds send: `2026-11-21T09:27:04`, with any number of decimals, with `Z` or
    an offset. Raises ValueError with the text when it is none.
    """
    try:
        return _parse(text)
    except (ValueError, IndexError, TypeError):
        raise ValueError("%r is not an ISO 8601 time" % (text,))


def format_iso8601(ms):
    """Return Unix milliseconds as `2026-11-21T09:27:04.031`, UTC without a zone."""
    days, ms = divmod(ms, _DAY_S * 1000)
    seconds, ms = divmod(ms, 1000)
    date = civil_from_days(days)
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03d" % (
        date + (seconds // 3600, seconds // 60 % 60, seconds % 60, ms)
    )


class Clock:
    """The time on this board and, once a cloud has told it, the server's."""

    _time = time  # a test moves another

    def __init__(self):
        self.known = False
        self.changed = lambda: None  # called whenever the time was set
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
        self.changed()

    async def sleep_ms(self, ms):
        """Sleep for `ms` milliseconds, at most three days."""
        await asyncio.sleep_ms(min(ms, _LONGEST_MS))

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
