"""Windows tile the time in every zone, begin where billing periods do, and move when the wall clock says."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rating.core.cycles import CYCLE_SPAN, billing_periods
from rating.core.quota.terms import UNITS
from rating.core.quota.windows import BEGINNING, END, WindowRule, following, is_due, steps, window_at
from tests.rating.quota.accounts import account, span, standing_at
from tests.rating.test_cycles import INSTANTS, INTERVALS, ZONES, start

on = datetime.fromisoformat
TINY = timedelta(microseconds=1)


def window(rule: WindowRule, at: str, zone: str) -> list[str | None]:
    return [edge and edge.isoformat()[:16] for edge in window_at(rule, on(at), zone)]


def walked(
    at: datetime, interval: str, intervals: int, anchor: datetime | None, zone: str
) -> tuple[datetime, datetime]:
    """The window that `at` is in, by walking from one beginning to the next."""
    days = {"day": 1, "week": 7, "month": 31, "year": 366}[interval] * intervals
    number = (at - (anchor or datetime(1970, 1, 1, tzinfo=UTC))) // timedelta(days=days) - 3
    while start(anchor, interval, number * intervals, zone) > at:
        number -= 1
    while start(anchor, interval, (number + 1) * intervals, zone) <= at:
        number += 1
    return start(anchor, interval, number * intervals, zone), start(anchor, interval, (number + 1) * intervals, zone)


@given(
    zone=st.sampled_from(ZONES),
    interval=st.sampled_from(INTERVALS),
    intervals=st.integers(1, 13),
    anchor=st.none() | INSTANTS,
    at=INSTANTS,
)
@example("Pacific/Apia", "day", 1, None, on("2011-12-30T12:00:00Z"))
@example("Asia/Beirut", "day", 1, None, on("2023-03-26T12:00:00Z"))
def test_windows_begin_where_a_plain_loop_comes_to(
    zone: str, interval: str, intervals: int, anchor: datetime | None, at: datetime
) -> None:
    unit = {"day": "d", "week": "w", "month": "mo", "year": "y"}[interval]
    rule = WindowRule("every", f"{intervals}{unit}", anchor=anchor, time_zone=zone)
    found = window_at(rule, at, "UTC")
    assert found == walked(at, interval, intervals, anchor, zone)
    assert found[0] <= at < found[1]  # type: ignore[operator]


@given(
    zone=st.sampled_from(ZONES),
    interval=st.sampled_from(INTERVALS),
    intervals=st.integers(1, 13),
    anchor=st.none() | INSTANTS,
    at=INSTANTS,
)
def test_a_billing_window_is_the_billing_period(
    zone: str, interval: str, intervals: int, anchor: datetime | None, at: datetime
) -> None:
    cycle = (zone, interval, intervals, anchor)
    cycles = pl.DataFrame([("s", *cycle, None, None)], schema=CYCLE_SPAN, orient="row")
    expected = billing_periods(cycles, at, at + TINY).select("period_start", "period_end").row(0)
    assert window_at(WindowRule("billing"), at, "Asia/Tokyo", cycle) == expected


@given(
    zone=st.sampled_from(ZONES),
    kind=st.sampled_from(["hour", "day", "week", "month", "quarter", "year"]),
    at=INSTANTS,
)
def test_windows_of_the_calendar_tile_the_time(zone: str, kind: str, at: datetime) -> None:
    rule = WindowRule(kind)  # type: ignore[arg-type]
    begin, end = window_at(rule, at, zone)
    assert end is not None
    assert begin <= at < end
    assert window_at(rule, begin, zone) == window_at(rule, end - TINY, zone) == (begin, end)
    assert window_at(rule, end, zone)[0] == end
    assert window_at(rule, begin - TINY, zone)[1] == begin


@pytest.mark.parametrize(("rule", "zone", "at", "expected"), [
    pytest.param(WindowRule("quarter"), "UTC", "2026-05-20T00:00:00Z", ["2026-04-01T00:00", "2026-07-01T00:00"],
                 id="quarters begin in January, April, July and October"),
    pytest.param(WindowRule("week"), "Europe/Madrid", "2026-11-22T22:59:59Z", ["2026-11-15T23:00", "2026-11-22T23:00"],
                 id="a week ends on Sunday at midnight of the zone"),
    pytest.param(WindowRule("hour"), "Asia/Kathmandu", "2026-11-22T10:14:59Z", ["2026-11-22T09:15", "2026-11-22T10:15"],
                 id="an hour of the clock, 5:45 from UTC"),
    pytest.param(WindowRule("hour"), "Australia/Lord_Howe", "2026-10-03T15:45:00Z",
                 ["2026-10-03T15:30", "2026-10-03T16:00"], id="the clock skips half an hour"),
    pytest.param(WindowRule("hour"), "Europe/Madrid", "2026-10-25T01:30:00Z", ["2026-10-25T00:00", "2026-10-25T02:00"],
                 id="an hour that the clock shows twice is one window"),
    pytest.param(WindowRule("day"), "Europe/Madrid", "2026-10-25T12:00:00Z", ["2026-10-24T22:00", "2026-10-25T23:00"],
                 id="a day of 25 hours"),
    pytest.param(WindowRule("every", "6h"), "Europe/Madrid", "2026-10-25T05:59:00Z",
                 ["2026-10-25T00:00", "2026-10-25T06:00"], id="hours of an interval are exact"),
    pytest.param(WindowRule("every", "1mo", anchor=on("2026-01-31T10:00:00Z")), "UTC", "2026-03-30T00:00:00Z",
                 ["2026-02-28T10:00", "2026-03-31T10:00"], id="the 31st clips and comes back"),
    pytest.param(WindowRule("day", time_zone="Asia/Tokyo"), "UTC", "2026-10-25T16:00:00Z",
                 ["2026-10-25T15:00", "2026-10-26T15:00"], id="a zone of its own"),
    pytest.param(WindowRule("rolling", "1h", "15m"), "UTC", "2026-10-25T16:20:00Z",
                 ["2026-10-25T15:30", "2026-10-25T16:30"], id="four tiles, the running one is the last"),
    pytest.param(WindowRule("rolling", "1y", "1mo"), "UTC", "2026-10-25T16:20:00Z",
                 ["2025-11-01T00:00", "2026-11-01T00:00"], id="a year in months"),
    pytest.param(WindowRule("every", "9999y"), "UTC", "2026-10-25T16:20:00Z",
                 ["1970-01-01T00:00", END.isoformat()[:16]], id="longer than the calendar"),
    pytest.param(WindowRule("lifetime"), "UTC", "2026-10-25T16:20:00Z", [BEGINNING.isoformat()[:16], None],
                 id="a lifetime has no end"),
])  # fmt: skip
def test_a_window(rule: WindowRule, zone: str, at: str, expected: list[str]) -> None:
    assert window(rule, at, zone) == expected


@pytest.mark.parametrize(("every", "step", "expected"), [
    ("1h", "1m", 60), ("1d", "1h", 24), ("2w", "1d", 14), ("1y", "1mo", 12), ("366d", "1d", 366),
    ("1h", "7m", None), ("1mo", "1d", None), ("1h", "2h", None), ("367d", "1d", None), ("1y", "5mo", None),
])  # fmt: skip
def test_steps_fill_a_rolling_window(every: str, step: str, expected: int | None) -> None:
    rule = WindowRule("rolling", every, step)
    if expected is not None:
        assert steps(rule) == expected
    else:
        with pytest.raises(ValueError, match="do not fill"):
            steps(rule)


def test_occurrences_are_counted_from_the_anchor() -> None:
    anchor = on("2026-01-31T00:00:00Z")
    assert following("1mo", anchor, on("2026-02-28T00:00:00Z"), "UTC") == on("2026-03-31T00:00:00Z")
    assert is_due("1mo", anchor, on("2026-02-28T00:00:00Z"), "UTC")
    assert not is_due("1mo", anchor, on("2026-02-27T00:00:00Z"), "UTC")


def test_billing_windows_are_cut_where_the_cycle_changes_and_what_is_left_goes_on() -> None:
    """30 of 100 are used until 10 March, when weeks begin: 70 of them are left for the first week, up to 50."""
    billing, rollover = WindowRule("billing"), (0, 50)
    month, week = ("UTC", "month", 1, None), ("UTC", "week", 1, on("2026-03-10T00:00Z"))
    change, week_end = on("2026-03-10T00:00Z"), on("2026-03-17T00:00Z")
    before = span(100, on("2026-02-10T00:00Z"), on("2026-03-04T00:00Z"), window=billing, cycle=month)
    more = span(100, on("2026-03-04T00:00Z"), change, window=billing, cycle=month, rollover=rollover, priority=7)
    terms = account(before, more, span(100, change, window=billing, cycle=week))
    used = {on("2026-03-02T00:00Z"): 10, on("2026-03-05T00:00Z"): 20, on("2026-03-10T00:00Z"): 1}
    first, second = (standing_at(terms, at, used) for at in (on("2026-03-09T23:59Z"), on("2026-03-11T00:00Z")))
    assert (first.segment.window_start, first.segment.window_end) == (on("2026-03-01T00:00Z"), change)
    assert (second.segment.window_start, second.segment.window_end) == (change, week_end)
    assert (second.window_used_before, second.available) == (0, 150 * UNITS)
