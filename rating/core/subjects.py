"""Usage whose subjects are integers: rating groups and joins events by number, and names come back with the results."""

from dataclasses import dataclass

import polars as pl

from rating.core.schema import SUBJECT_NUMBER


@dataclass(frozen=True)
class Usage:
    """`events` is `numbered_usage_schema` with the properties that are needed; `subjects` is SUBJECT_NUMBERS, with a
    row for each subject of theirs."""

    events: pl.LazyFrame
    subjects: pl.LazyFrame


def interned(events: pl.LazyFrame) -> Usage:
    """Usage of events that nobody has numbered: subjects get their numbers in the order of their names."""
    names = events.select("subject").unique().sort("subject").collect(engine="streaming")
    subjects = names.with_row_index(SUBJECT_NUMBER).select("subject", pl.col(SUBJECT_NUMBER).cast(pl.Int64)).lazy()
    return Usage(events.join(subjects, on="subject", how="left", validate="m:1"), subjects)


def with_numbers(named: pl.DataFrame, subjects: pl.LazyFrame) -> pl.DataFrame:
    """The rows of `named` whose `subject` has usage, with its SUBJECT_NUMBER; it is unique where `subject` is."""
    return named.lazy().join(subjects, on="subject", validate="m:1").collect()


def with_names(numbered: pl.LazyFrame, subjects: pl.LazyFrame) -> pl.LazyFrame:
    """Rows with a SUBJECT_NUMBER, with its `subject` besides."""
    return numbered.join(subjects, on=SUBJECT_NUMBER, how="left", validate="m:1")
