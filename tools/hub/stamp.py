"""Times as DeviceHive writes and reads them.

Inside the hub a time is a whole number of milliseconds since 1970-01-01 UTC.
"""

import re
from datetime import datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?"
    r"(?:Z|([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)


def write(ms):
    """The text for a time: `yyyy-MM-ddTHH:mm:ss.SSS`, UTC, without a zone.

    Arguments:
        ms: milliseconds since 1970, within the years 1 to 9999.

    Source: the server's TimestampAdapter; always three decimals.
    """
    moment = _EPOCH + timedelta(milliseconds=ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.").zfill(20) + f"{ms % 1000:03d}"


def read(value):
    """Milliseconds since 1970 for a time as a caller may send it.

    Arguments:
        value: ISO 8601 text with or without a zone, or milliseconds as a number or as text.

    Raises:
        ValueError: the value is not a time, or lies outside the years 1 to 9999.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("not a time")
    if isinstance(value, str) and not re.fullmatch(r"-?\d{5,18}", value, re.ASCII):
        return _read_iso(value)
    return _checked(int(value))


def _read_iso(text):
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError("not a time")
    year, month, day, hour, minute, second, fraction, sign, off_h, off_m = match.groups()
    moment = datetime(
        int(year),
        int(month),
        int(day),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        tzinfo=timezone.utc,
    )
    # Whole-number arithmetic: a float would move some milliseconds by one.
    ms = (moment - _EPOCH) // timedelta(milliseconds=1)
    ms += int(((fraction or "") + "000")[:3])
    if sign:
        offset = (int(off_h) * 60 + int(off_m)) * 60_000
        ms += offset if sign == "-" else -offset
    return _checked(ms)


def _checked(ms):
    try:
        _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        raise ValueError("not a time") from None
    return ms
