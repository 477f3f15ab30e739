"""Random subscriptions that change: every line equals the plain loops', and what must not matter does not."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.catalog import parse_catalog
from rating.core.periods import parse_month
from rating.core.proration import parts_of_periods
from rating.core.rating import Rated
from rating.core.service_periods import SERVICE_PERIOD, Due, FinalBill, service_periods
from tests import oracle
from tests.oracle import timelines as plain
from tests.timeline_strategies import (
    CATALOG,
    DOCUMENT,
    LONG_CATALOG,
    WINDOWS,
    Example,
    examples,
    only,
    run,
    subscription_frame,
)

_MOST, _SOME, _FEW = (settings(max_examples=max(settings().max_examples // part, 1)) for part in (3, 6, 16))
_COLUMNS = ["item", "kind", "price", "service_start", "service_end", "quantity", "events", "amount", "rounded_amount"]
_ITEM = ["subscription", "item"]
_TICK = timedelta(microseconds=1)


def lines_of(rated: Rated) -> dict[str, tuple[Any, ...]]:
    return {key: tuple(values) for key, *values in rated.lines.select("line", *_COLUMNS).iter_rows()}


def lines_of_oracle(bill: oracle.Bill) -> dict[str, tuple[Any, ...]]:
    return {
        key: (line.item, line.kind, line.price, *line.served, line.quantity, line.events, line.amount, line.rounded)
        for key, line in bill.items()
    }


@pytest.mark.parametrize("document", [DOCUMENT, WINDOWS], ids=["periods", "windows"])
@_SOME
@given(example=examples())
def test_the_lines_of_a_month_equal_the_oracles(document: oracle.Document, example: Example) -> None:
    bill = oracle.bill_of_month(document, example.events, example.timelines, example.month)
    catalog = parse_catalog(json.dumps(document), format="json")
    assert lines_of(run(example, parse_month(example.month), catalog)) == lines_of_oracle(bill)


@pytest.mark.parametrize("final_bill", ["period_end", "at_end"])
@_SOME
@given(example=examples(), days=st.integers(-40, 40), clock=st.sampled_from([0, 1, 11 * 3_600, 86_399]))
def test_the_lines_of_what_is_due_equal_the_oracles(
    final_bill: FinalBill, example: Example, days: int, clock: int
) -> None:
    """With what of the periods that have begun is owed in advance."""
    first = datetime.fromisoformat(f"{example.month}-01T00:00:00Z")
    due = Due(first - timedelta(days=80), first + timedelta(days=days, seconds=clock), final_bill=final_bill)
    bill = oracle.bill_of_due(DOCUMENT, example.events, example.timelines, due.after, due.until, final_bill)
    assert lines_of(run(example, due)) == lines_of_oracle(bill)


@_MOST
@given(example=examples())
def test_service_periods_tile_the_time_in_force(example: Example) -> None:
    """From the first instant to the last one: in whole stretches, and in their parts with the same number of seats."""
    first = datetime.fromisoformat(f"{example.month}-01T00:00:00Z")
    since, until = first - timedelta(days=90), first + timedelta(days=800)
    served = service_periods(subscription_frame(example.timelines), Due(since, until)).filter(bills="all")
    for timeline in example.timelines:
        ended = [period for period in plain.billing_periods(timeline, since, until) if period.end <= until]
        assert all(one.end == other.start for one, other in pairwise(ended))
        for item in plain.items(timeline):
            in_force = [part[:2] for part in plain.parts(timeline, item, ended[0].start, ended[-1].end)]
            own = served.filter(subscription=timeline.key, item=item)
            for kinds in (["whole", "split"], ["whole", "seats"]):
                spans = own.filter(pl.col("part").is_in(kinds)).sort("from").select("from", "to").rows()
                assert joined(spans) == joined(in_force)


def joined(spans: list[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Spans that touch are one; that none begins before another ends is asserted."""
    found: list[tuple[datetime, datetime]] = []
    for start, end in spans:
        assert start < end
        assert not found or found[-1][1] <= start
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


@_MOST
@given(example=examples())
def test_the_parts_of_a_period_and_its_gaps_sum_to_it(example: Example) -> None:
    """By each way of counting: what is served, and what is not for a trial, a pause, a late begin, an early end, or
    for another cycle that cuts the period short."""
    first = datetime.fromisoformat(f"{example.month}-01T00:00:00Z")
    frame = subscription_frame(example.timelines)
    served = service_periods(frame, Due(first - timedelta(days=90), first + timedelta(days=400)))
    for kinds in (["whole", "split"], ["whole", "seats"]):
        own = served.filter(pl.col("part").is_in(kinds))
        every = pl.concat([own, gaps(own)])
        keyed = parts_of_periods(every).join(every.with_row_index("payer"), on="payer", validate="m:1")
        sums = keyed.group_by(*_ITEM, "period_start", "by").agg(pl.col("served").sum(), pl.col("whole").unique())
        assert sums.filter(pl.col("whole").list.len() != 1).is_empty()
        assert sums.filter(pl.col("whole").list.first() != pl.col("served")).is_empty()
        assert sums.filter(pl.col("served") <= 0).is_empty()


def gaps(served: pl.DataFrame) -> pl.DataFrame:
    """A row of SERVICE_PERIOD for each part of the whole of a period between those of `served`."""
    rows = []
    for _, own in served.group_by(*_ITEM, "period_start"):
        [row, *_] = own.rows(named=True)
        edges = [row["whole_start"], *(at for span in own.sort("from").select("from", "to").rows() for at in span)]
        edges.append(row["whole_end"])
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if start < end:
                rows.append({**row, "from": start, "to": end})
    return pl.DataFrame(rows, schema=SERVICE_PERIOD)


@_FEW
@given(example=examples(), data=st.data())
def test_a_change_that_changes_nothing_changes_no_line(example: Example, data: st.DataObject) -> None:
    """Not its id either, whatever it says again: the plan, the seats, the state, the prices, the cycle, or nothing."""
    first = datetime.fromisoformat(f"{example.month}-01T00:00:00Z")
    split = []
    for timeline in example.timelines:
        days = data.draw(st.lists(st.integers(-40 * 24, 30 * 24), min_size=1, max_size=3))
        again = [change for day in days for change in no_ops(timeline, first + timedelta(hours=day), data)]
        split.append(replace(timeline, changes=[*timeline.changes, *again]))
    due = Due(first - timedelta(days=80), first + timedelta(days=9))
    for span, catalog in ((parse_month(example.month), CATALOG), (due, LONG_CATALOG)):
        assert run(replace(example, timelines=split), span, catalog).digest == run(example, span, catalog).digest


def no_ops(timeline: oracle.Timeline, at: datetime, data: st.DataObject) -> list[dict[str, Any]]:
    """Changes that say what holds of an item already, or nothing."""
    item = data.draw(st.sampled_from(plain.items(timeline)))
    terms = plain.terms_at(timeline, item, at)
    if terms is None or at <= timeline.starts_at:
        return []
    *_, cycle = (cycle for since, cycle in timeline.cycles if since <= at)
    said: dict[str, Any] = {"plan": terms.plan, "seats": terms.seats, "state": terms.state, "prices": terms.prices}
    said["cycle"] = {"interval": cycle.interval, "intervals": cycle.intervals, "anchor": cycle.anchor}
    names = data.draw(st.sets(st.sampled_from(sorted(said))))
    return [{"at": at, "item": item, **{name: said[name] for name in sorted(names)}}]


@_FEW
@given(example=examples(customers=3))
def test_a_run_of_all_customers_is_the_runs_of_each(example: Example) -> None:
    first = datetime.fromisoformat(f"{example.month}-01T00:00:00Z")
    due = Due(first - timedelta(days=10), first + timedelta(days=20))
    customers = sorted({timeline.customer for timeline in example.timelines})
    for span, catalog in ((parse_month(example.month), CATALOG), (due, LONG_CATALOG)):
        each = pl.concat([run(only(example, customer), span, catalog).lines for customer in customers])
        assert run(example, span, catalog).lines.equals(each.sort("customer", "line"))
