"""Proration: the parts of a period add up to it, and dates count as on the customer's calendar."""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rating.core.proration import parts_of_periods
from rating.core.service_periods import SERVICE_PERIOD
from tests.conftest import shared_path
from tests.rating.test_cycles import INSTANTS, ZONES, cut

WAYS = ["seconds", "days", "30_days"]


def parts(zone: str, start: datetime, end: datetime, pieces: list[tuple[datetime, datetime]]) -> pl.DataFrame:
    rows = [
        {"time_zone": zone, "whole_start": start, "whole_end": end, "from": first, "to": last} for first, last in pieces
    ]
    return parts_of_periods(pl.DataFrame(rows, schema=SERVICE_PERIOD))


@given(
    zone=st.sampled_from(ZONES),
    interval=st.sampled_from(["week", "month", "year"]),
    anchor=st.none() | INSTANTS,
    at=INSTANTS,
    cuts=st.lists(st.floats(0, 1), max_size=4),
)
def test_the_parts_of_a_period_add_up_to_it(
    zone: str, interval: str, anchor: datetime | None, at: datetime, cuts: list[float]
) -> None:
    (period,) = cut(zone, interval, 1, anchor, at, at + timedelta(microseconds=1)).rows()
    start, end = period[2], period[3]
    edges = sorted({start, end, *(start + (end - start) * share for share in cuts)})
    found = parts(zone, start, end, list(pairwise(edges)))
    for by in WAYS:
        own = found.filter(by=by)
        assert own["served"].sum() == own["whole"][0] > 0
        assert own["whole"].n_unique() == 1
        assert (own["served"] >= 0).all() or by == "30_days"  # the 31st and the 1st are one day there


@given(zone=st.sampled_from(ZONES), start=INSTANTS, length=st.integers(1, 40 * 86_400))
def test_days_are_those_of_the_calendar(zone: str, start: datetime, length: int) -> None:
    end = start + timedelta(seconds=length)
    dates = [at.astimezone(ZoneInfo(zone)).date() for at in (start, end)]
    found = parts(zone, start, end, [(start, end)])
    assert found.filter(by="days")["served"].to_list() == [(dates[1] - dates[0]).days]
    assert found.filter(by="seconds")["served"].to_list() == [length * 10**6]


def _midnight(text: str) -> datetime:
    return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)


def test_months_of_thirty_days_are_those_of_other_engines() -> None:
    cases = [
        c
        for c in json.loads(shared_path("cases", "killbill_proration.json").read_text())
        if c["model"] == "fixed_month_days" and c["price"]["fixed_days"] == 30
    ]
    assert len(cases) == 5
    for case in cases:
        start, end = (_midnight(case["dates"][name]) for name in ("start", "end"))
        assert parts("UTC", start, end, [(start, end)]).filter(by="30_days")["served"][0] == case["expected"]["days"]
