"""Billing cycles: periods tile the time in every zone, and begin where plain `datetime` arithmetic says."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rating.core.cycles import BILLING_PERIOD, CYCLE_SPAN, billing_periods

on = datetime.fromisoformat

ZONES = [
    "UTC", "Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu",
    "Africa/Cairo", "America/Sao_Paulo", "Asia/Beirut", "Pacific/Kiritimati",
]  # fmt: skip
INTERVALS = ["day", "week", "month", "year"]
INSTANTS = st.datetimes(on("2005-01-01"), on("2037-12-31"), timezones=st.just(UTC))


def later(anchor: datetime, interval: str, count: int) -> datetime:
    """The wall time `count` intervals after a wall time."""
    if interval in ("day", "week"):
        return anchor + timedelta(days=count * (7 if interval == "week" else 1))
    months = anchor.year * 12 + anchor.month - 1 + count * (12 if interval == "year" else 1)
    year, month = months // 12, months % 12 + 1
    return anchor.replace(year=year, month=month, day=min(anchor.day, monthrange(year, month)[1]))


def start(anchor: datetime | None, interval: str, count: int, zone: str) -> datetime:
    """When period `count` begins, by `datetime` (PEP 495, fold 0)."""
    here = ZoneInfo(zone)
    calendar = on("1970-01-05" if interval == "week" else "1970-01-01")
    wall = calendar if anchor is None else anchor.astimezone(here).replace(tzinfo=None, fold=0)
    return later(wall, interval, count).replace(tzinfo=here).astimezone(UTC)


def cut(
    zone: str, interval: str, intervals: int, anchor: datetime | None, since: datetime, until: datetime
) -> pl.DataFrame:
    cycles = pl.DataFrame([("s", zone, interval, intervals, anchor, None, None)], schema=CYCLE_SPAN, orient="row")
    return billing_periods(cycles, since, until)


@given(
    zone=st.sampled_from(ZONES),
    interval=st.sampled_from(INTERVALS),
    intervals=st.integers(1, 13),
    anchor=st.none() | INSTANTS,
    since=INSTANTS,
    length=st.timedeltas(timedelta(microseconds=1), timedelta(days=800)),
)
@example("Pacific/Apia", "day", 1, None, datetime(2011, 12, 28, tzinfo=UTC), timedelta(days=5))
@example(
    "Asia/Beirut",
    "month",
    1,
    datetime(2026, 1, 28, 22, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=UTC),
    timedelta(days=400),
)
@example("UTC", "month", 1, datetime(2027, 1, 31, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC), timedelta(days=40))
def test_periods_tile_the_time(
    zone: str, interval: str, intervals: int, anchor: datetime | None, since: datetime, length: timedelta
) -> None:
    until = since + length
    found = cut(zone, interval, intervals, anchor, since, until)
    assert found.schema == BILLING_PERIOD
    rows = found.rows()
    assert rows[0][2] <= since
    assert rows[-1][3] >= until
    assert all(one[3] == other[2] for one, other in pairwise(rows))
    for _, number, begins, ends, _ in rows:
        assert begins == start(anchor, interval, number * intervals, zone)
        assert begins < ends
        assert begins < until
        assert ends > since


def test_a_day_that_the_month_does_not_have_comes_back() -> None:
    anchor = datetime(2027, 1, 31, tzinfo=UTC)
    found = cut("UTC", "month", 1, anchor, anchor, datetime(2027, 6, 1, tzinfo=UTC))
    assert [begins.day for begins in found["period_start"]] == [31, 28, 31, 30, 31]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Madrid", on("2026-03-29"), 23),
        ("Europe/Madrid", on("2026-10-25"), 25),
        ("Australia/Lord_Howe", on("2026-10-04"), 23.5),
        ("Asia/Kathmandu", on("2026-10-04"), 24),
    ],
)
def test_days_are_as_long_as_their_zone_makes_them(zone: str, day: datetime, hours: float) -> None:
    noon = (day + timedelta(hours=12)).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    (row,) = cut(zone, "day", 1, None, noon, noon + timedelta(microseconds=1)).rows()
    assert row[3] - row[2] == timedelta(hours=hours)


def test_a_day_that_the_zone_skipped_has_no_period() -> None:
    found = cut(
        "Pacific/Apia", "day", 1, None, datetime(2011, 12, 29, 12, tzinfo=UTC), datetime(2012, 1, 1, tzinfo=UTC)
    )
    local = [begins.astimezone(ZoneInfo("Pacific/Apia")).day for begins in found["period_start"]]
    assert 30 not in local
    assert local[:2] == [29, 31]


def test_without_cycles_there_are_no_periods() -> None:
    found = billing_periods(CYCLE_SPAN.to_frame(), datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert found.schema == BILLING_PERIOD
    assert found.is_empty()


def test_a_quarter_on_the_calendar_begins_in_january() -> None:
    found = cut("UTC", "month", 3, None, datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    assert [begins.month for begins in found["period_start"]] == [1, 4, 7, 10]
