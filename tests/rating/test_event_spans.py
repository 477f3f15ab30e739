"""Spans of time change nothing: the shares of events are those that all of them in order would have."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.core import event_spans
from rating.core.event_shares import PIECE, shares
from rating.core.event_spans import cut_into_spans
from rating.core.schema import AMOUNT, INSTANT, QUANTITY

FIRST = datetime(2026, 10, 1, tzinfo=UTC)
ROW = {"owner": pl.Int32(), "event": pl.Int64(), "time": INSTANT, "quantity": QUANTITY}
RATES = ["1", "0.5", "0.000000000001", "0"]
EVENTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(-2, 30)), min_size=1, max_size=60)
EDGES = st.lists(st.integers(1, 200), max_size=3, unique=True).map(sorted)


def rows_of(events: list[tuple[int, int, int]]) -> pl.DataFrame:
    rows = [(owner, event, FIRST + timedelta(hours=hour), Decimal(n)) for event, (owner, hour, n) in enumerate(events)]
    return pl.DataFrame(rows, schema=ROW, orient="row").with_columns(weight="quantity")


def pieces_of(rows: pl.DataFrame, edges: list[int], rates: list[str]) -> pl.DataFrame:
    """Tiers up to each of `edges` that the owner's events reach, and a last one up to all of their weight."""
    made = []
    for owner, weight in rows.group_by("owner").agg(pl.col("weight").sum()).rows():
        bounds = [Decimal(0), *(Decimal(edge) for edge in edges if edge < weight), weight]
        for place, (start, end) in enumerate(pairwise(bounds)):
            made.append((owner, place, place, start, end, (end - start) * Decimal(rates[place])))
    return pl.DataFrame(made, schema=PIECE, orient="row")


def shared(rows: pl.DataFrame, pieces: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(shares(rows, pieces, QUANTITY.scale)).sort("owner", "event", "tier")


@given(events=EVENTS, edges=EDGES, rates=st.permutations(RATES))
def test_shares_are_the_same_with_and_without_spans(
    events: list[tuple[int, int, int]], edges: list[int], rates: list[str]
) -> None:
    rows = rows_of(events)
    pieces = pieces_of(rows, edges, rates)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_spans, "EVENTS_OF_SPAN", 1)
        by_spans = shared(rows, pieces)
        patch.setattr(event_spans, "EVENTS_OF_SPAN", 1000)
        in_order = shared(rows, pieces)
    columns = ["owner", "event", "time", "quantity", "share", "tier"]
    assert by_spans.select(columns).equals(in_order.select(columns))
    sums = by_spans.group_by("owner").agg(pl.col("share").sum()).sort("owner")
    owed = pieces.group_by("owner").agg(pl.col("amount").sum()).sort("owner")
    assert sums.rows() == owed.rows()


def test_only_the_span_with_the_edge_is_put_in_order() -> None:
    rows = rows_of([(0, hour, 10) for hour in range(32)])
    edge = {"is_first": [True, False], "is_last": [False, True], "rate": [Decimal(1), Decimal(2)]}
    pieces = pieces_of(rows, [95], ["1", "2"]).with_columns(*(pl.Series(name, values) for name, values in edge.items()))
    cut = cut_into_spans(rows, pieces.with_columns(pl.col("rate").cast(AMOUNT)))
    assert cut is not None
    # four spans of 8 events: 80 below the edge, then 80 to 160 with it in between
    assert cut.even.sort("owner").select("owner", "tier").rows() == [(0, 0), (2, 1), (3, 1)]
    assert cut.uneven.sort("place").select("owner", "from", "to").rows() == [
        (1, Decimal(-80), Decimal(15)),
        (1, Decimal(15), Decimal(240)),
    ]
