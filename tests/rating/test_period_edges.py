"""Where calendars are hard: each instant is in one billing period, and days are as long as their clocks make them."""

from datetime import UTC, date, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rating.core.proration import parts_of_periods
from rating.core.service_periods import Due, open_periods, service_periods
from rating.core.subscriptions import plain_subscriptions
from tests.oracle import Timeline
from tests.oracle.cycles import periods
from tests.timeline_strategies import CYCLES, ZONES, subscription_frame

SINCE, UNTIL = datetime(2004, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
ANCHORS = [
    None,
    *(datetime(2004, 1, day, 1, 30, tzinfo=UTC) for day in (28, 29, 30, 31)),
    SINCE.replace(month=2, day=29),
]
EVERY = [
    Timeline(f"{number}", "c", (), "pro", zone, SINCE, interval=interval, intervals=intervals, anchor=anchor)
    for number, (zone, (interval, intervals), anchor) in enumerate(product(ZONES, sorted(set(CYCLES)), ANCHORS))
]
EVERY_FRAME = subscription_frame(EVERY)
HARD = [
    "2011-12-30T10:00:00",  # Samoa leaves 29 December, and begins 31
    "2018-11-04T03:00:00",  # Brazil's midnight that is none
    "2026-11-01T04:00:00",  # Cuba's second midnight of a day
    "2026-10-03T15:30:00",  # Lord Howe's half an hour forward
    "2026-04-04T15:00:00",  # and back
    "2026-10-25T01:00:00",  # Madrid's second 02:00
    "2024-02-29T00:00:00",
    "2027-01-01T00:00:00",
    "2026-12-31T18:15:00",  # the turn of the year in Kathmandu
]


@settings(max_examples=max(settings().max_examples // 5, 1))
@given(
    at=st.datetimes(datetime.fromisoformat("2005-01-01"), datetime.fromisoformat("2035-01-01"), timezones=st.just(UTC))
)
@example(at=datetime(2026, 10, 25, 1, tzinfo=UTC))
def test_each_instant_is_in_one_period_of_each_cycle(at: datetime) -> None:
    """Half-open: the end of one is in the next."""
    found = open_periods(EVERY_FRAME, at)
    assert found["subscription"].sort().to_list() == sorted(one.key for one in EVERY)
    assert found.filter((pl.col("period_start") > at) | (pl.col("period_end") <= at)).is_empty()


@pytest.mark.parametrize("text", HARD)
def test_periods_about_a_hard_instant_are_the_oracles(text: str) -> None:
    at = datetime.fromisoformat(text).replace(tzinfo=UTC)
    for instant in (at - timedelta(microseconds=1), at, at + timedelta(microseconds=1)):
        found = {
            key: bounds
            for key, *bounds in open_periods(EVERY_FRAME, instant)
            .select("subscription", "period", "period_start", "period_end")
            .iter_rows()
        }
        for timeline in EVERY:
            [(_, cycle)] = timeline.cycles
            [wanted] = periods(cycle, instant, instant + timedelta(microseconds=1))
            assert found[timeline.key] == [wanted.name, wanted.start, wanted.end], timeline


@pytest.mark.parametrize(
    ("interval", "intervals", "anchor", "days"),
    [
        pytest.param("year", 1, "2024-02-29", ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"], id="29 Feb"),
        pytest.param("month", 1, "2027-12-29", ["2028-01-29", "2028-02-29", "2028-03-29"], id="the 29th, leap year"),
        pytest.param("month", 1, "2026-12-29", ["2027-01-29", "2027-02-28", "2027-03-29"], id="the 29th"),
        pytest.param("month", 1, "2026-12-30", ["2027-01-30", "2027-02-28", "2027-03-30"], id="the 30th"),
        pytest.param("month", 1, "2026-12-31", ["2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30"], id="the 31st"),
        pytest.param("quarter", 1, "2026-11-30", ["2027-02-28", "2027-05-30", "2027-08-30"], id="quarters of the 30th"),
        pytest.param("week", 1, "2026-12-24", ["2026-12-31", "2027-01-07"], id="a week over the turn of a year"),
        pytest.param("month", 1, None, ["2027-01-01", "2027-02-01"], id="the turn of a year on the calendar"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zone", ZONES)
def test_periods_begin_on_their_days(
    zone: str, interval: str, intervals: int, anchor: str | None, days: list[str]
) -> None:
    """A day that a month does not have is its last one, and comes back."""
    here = ZoneInfo(zone)
    begins = datetime.fromisoformat(anchor or "2026-12-01").replace(tzinfo=here)
    own = {"interval": interval, "intervals": intervals, "anchor": begins if anchor else None}
    frame = subscription_frame([Timeline("s", "c", (), "pro", zone, begins.astimezone(UTC), **own)])
    last = datetime.fromisoformat(days[-1]).replace(tzinfo=here).astimezone(UTC)
    served = service_periods(frame, Due(begins.astimezone(UTC), last)).filter(bills="all").sort("from")
    starts = [at.astimezone(here) for at in served["period_end"]]
    assert [f"{at:%Y-%m-%d}" for at in starts] == days
    assert all(at.time() == begins.time() for at in starts)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Madrid", date(2026, 3, 29), 23),
        ("Europe/Madrid", date(2026, 7, 1), 24),
        ("Europe/Madrid", date(2026, 10, 25), 25),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),
        ("America/Havana", date(2026, 11, 1), 25),
        ("Asia/Kathmandu", date(2026, 12, 31), 24),
        ("Pacific/Apia", date(2011, 12, 31), 24),
    ],
)
def test_a_day_that_is_served_from_noon_owes_twelve_hours_of_its_own(zone: str, day: date, hours: float) -> None:
    here = ZoneInfo(zone)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=here).astimezone(UTC)
    plain = plain_subscriptions([("s", "c", "pro", zone, noon, None)]).with_columns(interval=pl.lit("day"))
    served = service_periods(plain, Due(noon, noon + timedelta(hours=13))).filter(bills="all")
    parts = {by: (of, whole) for by, of, whole in parts_of_periods(served).drop("payer").iter_rows()}
    hour = 3_600 * 10**6
    assert parts["seconds"] == (12 * hour, hours * hour)
    assert parts["days"] == (1, 1)
    assert parts["30_days"] == (1, 1)  # also on the 31st, which is no day of its own in months of 30


def test_the_31st_alone_is_a_day_also_in_months_of_thirty() -> None:
    """It was divided by no days at all, and owed null."""
    plain = plain_subscriptions([("s", "c", "pro", "UTC", datetime(2026, 10, 31, tzinfo=UTC), None)])
    served = service_periods(plain.with_columns(interval=pl.lit("day")), Due(SINCE, datetime(2026, 11, 2, tzinfo=UTC)))
    even = parts_of_periods(served.filter(bills="all")).filter(by="30_days")
    assert even.select("served", "whole").rows() == [(1, 1), (1, 1)]
