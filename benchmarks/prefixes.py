"""Longest-prefix match: records against a table of 100,000 prefixes, beside a bare hash join of the same records.

The labels of a sample are checked against a walk through a Python dict, from the longest prefix of each number to the
shortest.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder: its scripts are named like the packages


import time

import polars as pl

from benchmarks.measuring import Figure, figure, main, progress
from rating.core.prefixes import PREFIX, PrefixTable, with_labels
from rating.core.schema import property_column

PREFIXES, SAMPLE, LONGEST = 100_000, 20_000, 10
NUMBER = property_column("number")


def measure_prefixes(quick: bool) -> Figure:
    """Records a second, from numbers to labels."""
    count = 200_000 if quick else 1_000_000
    table, records = PrefixTable("zone", "number", _prefixes()), _records(count)
    begun = time.perf_counter()
    labelled = with_labels(records.lazy(), [table]).collect()
    seconds = time.perf_counter() - begun
    _check(labelled, table.prefixes)
    begun = time.perf_counter()
    records.lazy().join(table.prefixes.lazy(), left_on=NUMBER, right_on="prefix", how="left").collect()
    bare = time.perf_counter() - begun
    progress(f"{count:,} records against {PREFIXES:,} prefixes in {seconds:.2f} s; one bare join {bare:.2f} s")
    return figure(count / seconds, "records/s", count / bare, ">= 500,000/s", count / seconds >= 500_000)


def _prefixes() -> pl.DataFrame:
    """Numbers of one to ten digits, most of them long, as they are in tables of operators; each with its own label."""
    number = pl.int_range(PREFIXES * 2, eager=True)
    digits = pl.lit((number.hash(1) % 10**LONGEST).cast(pl.Int64)).cast(pl.String).str.zfill(LONGEST)
    length = pl.lit(LONGEST - (number.hash(2) % LONGEST) ** 2 // LONGEST).cast(pl.Int64)
    made = pl.select(prefix=digits.str.head(length)).unique(maintain_order=True).head(PREFIXES)
    return made.select("prefix", label=pl.format("zone-{}", "prefix")).match_to_schema(PREFIX)


def _records(count: int) -> pl.DataFrame:
    number = pl.int_range(count, eager=True)
    digits = pl.lit((number.hash(3) % 10**12).cast(pl.Int64)).cast(pl.String).str.zfill(12)
    return pl.select(digits.alias(NUMBER))


def _check(labelled: pl.DataFrame, prefixes: pl.DataFrame) -> None:
    assert prefixes.height == PREFIXES
    assert labelled.height > 0
    labels = dict(prefixes.iter_rows())
    for number, label in labelled.head(SAMPLE).iter_rows():
        walked = next((labels[number[:n]] for n in range(len(number), -1, -1) if number[:n] in labels), None)
        assert walked == label, (number, walked, label)


def measure(quick: bool) -> dict[str, Figure]:
    return {"prefix_match": measure_prefixes(quick)}


if __name__ == "__main__":
    main("records/s through the longest-prefix match", measure)
