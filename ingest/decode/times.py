"""One RFC 3339 text -> microseconds since 1970 UTC, or the reason why not."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pyarrow.compute as pc

from ingest.decode.numbers import Problem, shown

_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?\s?(?:([Zz])|([+-])(\d\d):?(\d\d))?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_time(text: str) -> int | Problem:
    """Microseconds since 1970. Digits below a microsecond are cut; a leap second is the last microsecond before it ends
    its minute, so that it stays in its day. What Arrow reads as an instant is read as Arrow does."""
    try:
        instant = pc.cast(pa.scalar(text, pa.string()), pa.timestamp("us", "UTC"))
        return int(instant.value)
    except pa.ArrowInvalid:
        return _read_form(text)


def _read_form(text: str) -> int | Problem:
    match = _FORM.fullmatch(text)
    if match is None:
        return Problem("invalid_time", f"time is {shown(text)}; send RFC 3339, such as 2026-10-01T12:00:00Z")
    year, month, day, hour, minute, second, fraction, zulu, sign, zone_hour, zone_minute = match.groups()
    if zulu is None and sign is None:
        return Problem(
            "time_without_zone", f"time is {shown(text)}; say its zone: end it with Z, or an offset like +02:00"
        )
    leap = second == "60"
    micros = 999_999 if leap else int((fraction or "")[:6].ljust(6, "0"))
    try:
        zone = (
            UTC
            if zulu
            else timezone((1 if sign == "+" else -1) * timedelta(hours=int(zone_hour), minutes=int(zone_minute)))
        )
        instant = datetime(
            int(year), int(month), int(day), int(hour), int(minute), 59 if leap else int(second or 0), micros, zone
        )
        return (instant - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return Problem(
            "invalid_time", f"time is {shown(text)}, which no calendar has; send RFC 3339, such as 2026-10-01T12:00:00Z"
        )
