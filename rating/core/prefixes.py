"""Longest-prefix match: a dimension that a table of prefixes reads off a property, such as the zone of a number.

One hash join for each length that prefixes have, all in one pass over the events; the longest that is found wins. The
work does not depend on how many prefixes there are to a length, and no prefix and no event is looked at alone. The
empty prefix is found in everything that has the property.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from rating.core.schema import property_column

PREFIX = pl.Schema({"prefix": pl.String(), "label": pl.String()})
"""One row is one prefix of a table; `prefix` is unique, so that no join below makes more rows."""


@dataclass(frozen=True, eq=False)
class PrefixTable:
    """`dimension` of an event is the label of the longest of `prefixes` (PREFIX) that its `property` begins with; null
    where there is none."""

    dimension: str
    property: str
    prefixes: pl.DataFrame


def with_labels(events: pl.LazyFrame, tables: Sequence[PrefixTable]) -> pl.LazyFrame:
    """`events` with the dimension of each table as a column, as if it were a property of theirs."""
    for table in tables:
        events = _labelled(events, table)
    return events


def _labelled(events: pl.LazyFrame, table: PrefixTable) -> pl.LazyFrame:
    """Prefixes are found as their numbers, and only the one that wins brings its label: half the time (measured)."""
    numbered = table.prefixes.with_row_index(_NUMBER).with_columns(length=pl.col("prefix").str.len_chars())
    lengths = numbered["length"].unique().sort(descending=True).to_list()
    found = events
    for length in lengths:
        of_length = numbered.filter(length=length).select("prefix", pl.col(_NUMBER).alias(_found(length)))
        head = pl.col(property_column(table.property)).str.head(length)
        found = found.with_columns(head.alias(_HEAD)).join(
            of_length.lazy(), left_on=_HEAD, right_on="prefix", how="left"
        )
    longest = pl.coalesce([pl.col(_found(length)) for length in lengths] or [pl.lit(None, dtype=pl.UInt32)])
    labels = numbered.lazy().select(_NUMBER, pl.col("label").alias(property_column(table.dimension)))
    placed = found.with_columns(longest.alias(_NUMBER)).drop(*map(_found, lengths), _HEAD, strict=False)
    return placed.join(labels, on=_NUMBER, how="left").drop(_NUMBER)


_HEAD, _NUMBER = "prefix:head", "prefix:number"


def _found(length: int) -> str:
    return f"prefix:{length}"
