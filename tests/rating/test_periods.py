"""Months in time zones: midnights that move, are skipped or come twice, and windows that tile the time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.core.periods import (
    Month,
    month_edges,
    month_in_zones,
    month_of,
    month_starts,
    parse_month,
    with_window_start,
)
from rating.core.schema import INSTANT

ZONES = [
    "UTC",
    "Europe/Madrid",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "America/Sao_Paulo",
    "Africa/Casablanca",
    "Asia/Beirut",
]
MONTHS = st.builds(Month, st.integers(1950, 2100), st.integers(1, 12))


@pytest.mark.parametrize(
    ("month", "zone", "start", "hours"),
    [
        pytest.param("2026-10", "UTC", "2026-10-01T00:00:00+00:00", 744, id="UTC: 31 x 24"),
        pytest.param("2026-10", "Europe/Madrid", "2026-09-30T22:00:00+00:00", 745, id="clocks go back: one hour more"),
        pytest.param("2026-03", "Europe/Madrid", "2026-02-28T23:00:00+00:00", 743, id="clocks go forward: one less"),
        pytest.param("2026-02", "Asia/Kathmandu", "2026-01-31T18:15:00+00:00", 672, id="a zone at 5:45"),
        pytest.param("2024-02", "UTC", "2024-02-01T00:00:00+00:00", 696, id="a leap February"),
        pytest.param("2026-12", "UTC", "2026-12-01T00:00:00+00:00", 744, id="over the year's end"),
        pytest.param("2011-12", "Pacific/Apia", "2011-12-01T10:00:00+00:00", 720, id="Samoa skipped 30 December"),
    ],
)
def test_a_month_lies_between_local_midnights(month: str, zone: str, start: str, hours: int) -> None:
    low, high = parse_month(month).bounds(ZoneInfo(zone))
    assert low == datetime.fromisoformat(start)
    assert high - low == timedelta(hours=hours)


@pytest.mark.parametrize("zone", ZONES)
@given(month=MONTHS)
def test_months_tile_the_time(zone: str, month: Month) -> None:
    assert month.bounds(ZoneInfo(zone))[1] == month.next().bounds(ZoneInfo(zone))[0]


@pytest.mark.parametrize("zone", ZONES)
@given(month=MONTHS, offset=st.integers(-(10**11), 10**11))
def test_every_instant_is_in_exactly_the_month_it_is_said_to_be_in(zone: str, month: Month, offset: int) -> None:
    """Instants near the month's edge, microseconds to a day away."""
    edge = month.start(ZoneInfo(zone))
    for instant in (edge, edge - timedelta(microseconds=1), edge + timedelta(microseconds=offset)):
        start, end = month_of(instant, zone).bounds(ZoneInfo(zone))
        assert start <= instant < end
        framed = with_window_start(pl.DataFrame({"time": [instant]}, schema={"time": INSTANT}), zone)
        assert framed["window_start"].item() == start


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-00", "2026-1", "26-10", "2026-10-01", "", "0000-01"])
def test_what_is_no_month_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 2026-10"):
        parse_month(text)


def test_each_zone_has_one_row() -> None:
    frame = month_in_zones(Month(2026, 10), ["UTC", "Europe/Madrid", "UTC"])
    assert frame["time_zone"].to_list() == ["Europe/Madrid", "UTC"]
    assert frame["period_start"][1] == datetime(2026, 10, 1, tzinfo=UTC)
    assert frame["period_end"].to_list() == [datetime(2026, 10, 31, 23, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)]


def test_no_rows_have_no_window() -> None:
    empty = pl.DataFrame(schema={"time": INSTANT})
    assert with_window_start(empty, "UTC").schema["window_start"] == INSTANT


@pytest.mark.parametrize(
    ("month", "before", "after"),
    [
        ("2026-10", "2026-09", "2026-11"),
        ("2026-01", "2025-12", "2026-02"),
        ("2026-12", "2026-11", "2027-01"),
        ("2026-02", "2026-01", "2026-03"),
    ],
)
def test_months_follow_each_other(month: str, before: str, after: str) -> None:
    assert str(parse_month(month).before()) == before
    assert str(parse_month(month).next()) == after
    assert parse_month(before) < parse_month(month) < parse_month(after)


@pytest.mark.parametrize("text", ["1900-01", "9998-12", "2026-01", "2026-12", "1999-11"])
def test_a_month_is_read_as_it_is_written(text: str) -> None:
    assert str(parse_month(text)) == text


@pytest.mark.parametrize("text", ["1899-12", "9999-01", "x2026-10", "2026-10x", "2026-10\n"])
def test_a_month_is_written_whole_and_within_the_calendar(text: str) -> None:
    with pytest.raises(ValueError, match="is not a month"):
        parse_month(text)


def test_month_starts_are_those_of_all_months_from_the_first_to_the_last() -> None:
    starts = month_starts("Asia/Kathmandu", Month(2026, 11), Month(2027, 2))
    zone = ZoneInfo("Asia/Kathmandu")
    assert starts.to_list() == [datetime(*at, 1, tzinfo=zone) for at in ((2026, 11), (2026, 12), (2027, 1), (2027, 2))]
    assert starts.dtype == INSTANT
    assert month_starts("UTC", Month(2026, 11), Month(2026, 11)).to_list() == [datetime(2026, 11, 1, tzinfo=UTC)]


def test_month_edges_are_where_any_zone_changes_its_month() -> None:
    """From the month before what is two days earlier to behind what is two days later: no zone is farther from UTC."""
    middle = datetime(2026, 10, 15, tzinfo=UTC)
    edges = month_edges(["Europe/Madrid"], middle, middle).to_list()
    assert edges == [datetime(2026, 9, 30, 22, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)]
    late = month_edges(["UTC"], middle, datetime(2026, 10, 30, tzinfo=UTC)).to_list()
    assert late == [datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)]
    near = month_edges([], middle, datetime(2026, 10, 29, tzinfo=UTC)).to_list()
    assert near == [datetime(2026, 10, 1, tzinfo=UTC)]
    early = month_edges([], datetime(2026, 10, 2, 23, 59, tzinfo=UTC), middle).to_list()
    assert early == [datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)]


def test_an_hour_that_comes_twice_is_in_one_month_only() -> None:
    """Havana puts its clocks back at 1:00 on 1 November 2026: the first hour comes twice, in November each time."""
    first = datetime(2026, 11, 1, 4, 30, tzinfo=UTC)
    for hours in (0, 1):
        assert month_of(first + timedelta(hours=hours), "America/Havana") == Month(2026, 11)
    assert month_of(first - timedelta(minutes=31), "America/Havana") == Month(2026, 10)


def test_a_midnight_that_comes_twice_begins_the_month_once() -> None:
    """St. John's put its clocks from 0:01 on 1 November 2009 back to 23:01: what came then was November already."""
    start = Month(2009, 11).start(ZoneInfo("America/St_Johns"))
    assert month_of(start, "America/St_Johns") == Month(2009, 11)
    again = start + timedelta(minutes=30)
    assert again.astimezone(ZoneInfo("America/St_Johns")).month == 10
    assert month_of(again, "America/St_Johns") == Month(2009, 11)
