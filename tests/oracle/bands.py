"""Bands: which one holds at an instant, looked up day by day and clock by clock; and where a record is cut at them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from tests.oracle.arithmetic import EXACT

WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Band = Mapping[str, Any]


def bands_of(version: Any) -> Any:
    return version.get("bands") or version.get("time_of_day") or []


def band_at(version: Any, at: datetime) -> int | None:
    """The place of the band that holds, in the order of the file; of several the one that goes before the others."""
    found: int | None = None
    highest: Any = None
    for place, band in enumerate(bands_of(version)):
        for part in band.get("when") or [band]:
            rank = (band.get("weight", 0), *_rank(part))
            if _holds(part, at, band.get("time_zone", "UTC")) and (found is None or rank > highest):
                found, highest = place, rank
    return found


def _holds(band: Band, at: datetime, zone: str) -> bool:
    local = at.astimezone(ZoneInfo(zone))
    first, last = _clock(band.get("from")), _clock(band.get("to"))
    if first < last:
        return first <= local.time() < last and _on(band, local.date())
    if local.time() >= first:
        return _on(band, local.date())
    return local.time() < last and _on(band, local.date() - timedelta(days=1))


def parts(
    event_time: datetime,
    duration: Decimal,
    quantity: Decimal,
    changes: Any,
    zones: set[str],
    clocks: set[str],
    starts: Iterable[datetime],
) -> list[tuple[datetime, Decimal, Decimal]]:
    """What lasts, cut where `changes(instant)` is another: the beginning of each part, its quantity and that before.

    It is looked for at the clocks of the bands and at midnight in their zones, and every quarter of an hour of a day on
    which a zone puts its clocks forward or back, and where versions start.
    """
    start = event_time.astimezone(UTC)
    end = start + timedelta(microseconds=int(duration * 10**6))
    cuts = [at for at in sorted({*_candidates(start, end, zones, clocks), *starts}) if start < at < end]
    edges = [start, *(at for at in cuts if changes(at) != changes(at - timedelta(microseconds=1))), end]
    before = Decimal(0)
    made = []
    for first, last in pairwise(edges):
        passed = _microseconds(last - start)
        share = EXACT.divide(EXACT.multiply(quantity, passed), Decimal(_microseconds(end - start) or 1))
        until = quantity if last == end else _floor(share)
        made.append((first, until - before, before))
        before = until
    return made


def _candidates(start: datetime, end: datetime, zones: set[str], clocks: set[str]) -> list[datetime]:
    found = set()
    for name in zones | {"UTC"}:
        zone, day = ZoneInfo(name), (start - timedelta(days=2)).date()
        while day <= (end + timedelta(days=2)).date():
            for text in clocks | {"00:00"}:
                local = datetime.combine(day, _clock(text), zone)
                found |= {local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)}
            midnight = datetime.combine(day, time(0), zone)
            following = datetime.combine(day + timedelta(days=1), time(0), zone)
            if midnight.utcoffset() != following.utcoffset():
                found |= {midnight.astimezone(UTC) + timedelta(minutes=15 * n) for n in range(-8, 108)}
            day += timedelta(days=1)
    return sorted(found)


def _microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _floor(value: Decimal) -> Decimal:
    return value.quantize(Decimal("1e-9"), rounding=ROUND_FLOOR, context=EXACT)


def _clock(text: str | None) -> time:
    return time(0) if text in (None, "24:00") else time.fromisoformat(str(text))


def _on(band: Band, day: date) -> bool:
    if "holidays" in band and day not in [date.fromisoformat(str(one)) for one in band["holidays"]]:
        return False
    if "weekdays" in band and WEEKDAYS[day.weekday()] not in band["weekdays"]:
        return False
    if "month_days" in band and day.day not in band["month_days"]:
        return False
    if "months" in band and day.month not in band["months"]:
        return False
    return "years" not in band or day.year in band["years"]


def _rank(band: Band) -> Any:
    first, last = _clock(band.get("from")), _clock(band.get("to"))
    said = sum(name in band for name in ("weekdays", "month_days", "months", "years", "holidays"))
    return "holidays" in band, said + (first != last), first
