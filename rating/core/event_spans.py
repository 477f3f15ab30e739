"""Spans: parts of a line's time in which all of its events are in one piece, so that their order changes nothing.

What the events of a line weigh before a span and up to its end are grouped sums. Where no edge of a piece lies between
the two, every event of the span is in that piece and costs its rate; only the events of the other spans are put in
order, each span like a line of its own. Sorting all events takes several times as long (docs/decisions/0022).

That holds where the rates of all pieces are exact and nothing weighs less than zero: a correction might cross an edge
and return within a span.
"""

from dataclasses import dataclass

import polars as pl

from rating.core.keys import looked_up
from rating.core.schema import AMOUNT

EVENTS_OF_SPAN = 8
"""About so many events are in a span: with fewer there are more spans to look at, with more more events to sort."""

_SPANS_MAX = 64  # of a line


@dataclass(frozen=True)
class Cut:
    """`rows` have the number of their span as `owner`, and their own owner as `line`. `even` are the spans in one piece
    (`owner`, `rate`, `tier`), `uneven` the pieces that each of the other spans touches, from its beginning."""

    rows: pl.DataFrame
    even: pl.DataFrame
    uneven: pl.DataFrame


def cut_into_spans(rows: pl.DataFrame, pieces: pl.DataFrame) -> Cut | None:
    """The spans of `rows` (as in event_shares.shares), which weigh nothing negative and whose owners all have `pieces`
    with exact rates; None where the rows are too few."""
    lines = pieces.select("owner").unique().sort("owner").with_row_index("number")
    fitting = 2**31 // lines.height - 1  # in the number of a span
    count = min(_SPANS_MAX, rows.height // lines.height // EVENTS_OF_SPAN, fitting)
    if count < 2:
        return None
    number = looked_up(rows["owner"], lines.select("owner", "number"))["number"]
    spanned = rows.with_columns(line="owner", owner=number.cast(pl.Int32) * count + _part(rows["time"], count))
    touched = _weights(spanned, count).join(pieces.join(lines, on="owner").drop("owner").lazy(), on="number")
    # an event that weighs nothing is in the piece that begins where it is: so the end of a span is not yet an edge
    begins = pl.col("is_first") | (pl.col("from") <= pl.col("start"))
    holds = begins & (pl.col("is_last") | (pl.col("end") < pl.col("to")))
    even, others = pl.collect_all(
        [
            touched.filter(holds).select("span", "rate", "tier"),
            touched.join(touched.filter(holds), on="span", how="anti").filter(_touches()),
        ]
    )
    moved = [pl.col(name) - pl.col("start") for name in ("from", "to")]
    uneven = others.with_columns(moved).rename({"span": "owner"}).select(pieces.columns)
    return Cut(spanned, even.rename({"span": "owner"}), uneven)


def _touches() -> pl.Expr:
    ends = pl.col("is_last") | (pl.col("start") <= pl.col("to"))
    return ends & (pl.col("is_first") | (pl.col("from") <= pl.col("end")))


def _part(time: pl.Series, count: int) -> pl.Series:
    """In which of `count` equal parts of the time of all rows each of them is."""
    instants = time.dt.epoch("us")
    first, last = instants.min(), instants.max()
    return ((instants - first) // ((last - first) // count + 1)).cast(pl.Int32)  # type: ignore[operator]


def _weights(rows: pl.DataFrame, count: int) -> pl.LazyFrame:
    """Each `span` of a line's `number`, with what the events weigh before it (`start`) and up to its `end`."""
    sums = rows.lazy().group_by(span="owner").agg(pl.col("weight").sum()).collect(engine="streaming").lazy()
    placed = sums.sort("span").with_columns(
        number=(pl.col("span") // count).cast(pl.UInt32), weight=pl.col("weight").cast(AMOUNT)
    )
    summed = placed.with_columns(end=pl.col("weight").cum_sum().over("number"))
    return summed.select("span", "number", "end", start=pl.col("end") - pl.col("weight"))
