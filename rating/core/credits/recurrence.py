"""Recurrence: the instants anchor + n intervals, for every whole n.

Each is counted from the anchor and never from the one before, so that month ends clip and come back: 31 January, 28
February, 31 March. Intervals are days, weeks, months and years of the calendar of `time_zone`.
"""

from datetime import datetime

import polars as pl

from rating.core.schema import INSTANT

_SHORTEST_DAYS = {"d": 1, "w": 7, "mo": 28, "y": 365}
INTERVAL = r"^([1-9][0-9]*)(d|w|mo|y)$"


def occurrences(every: pl.DataFrame, time_zone: str = "UTC") -> pl.DataFrame:
    """Add `at`: one row for each instant in [from, to] of each row.

    `every` has `recurs_every` (as GRANT), `recurs_from`, `from` and `to` beside its keys.
    """
    count = pl.col("recurs_every").str.extract(INTERVAL, 1).cast(pl.Int64)
    unit = pl.col("recurs_every").str.extract(INTERVAL, 2)
    days = count * unit.replace_strict(_SHORTEST_DAYS, return_dtype=pl.Int64)
    parsed = every.with_columns(count=count, unit=unit, days=days)
    assert parsed["count"].null_count() == 0, "an interval is a number and d, w, mo or y"
    # calendar intervals are at least `days` long, so these bounds hold every n; what is outside is filtered below
    first = (pl.col("from") - pl.col("recurs_from")).dt.total_days() - 1
    last = (pl.col("to") - pl.col("recurs_from")).dt.total_days() + 1
    low = pl.when(first < 0).then(first.floordiv(pl.col("days"))).otherwise(_fewest(first))
    high = pl.when(last < 0).then(-_fewest(-last)).otherwise(last.floordiv(pl.col("days")) + 1)
    numbered = parsed.with_columns(n=pl.int_ranges(low - 1, high + 2)).explode("n", empty_as_null=False)
    step = pl.concat_str(pl.col("n") * pl.col("count"), "unit")
    at = pl.col("recurs_from").dt.convert_time_zone(time_zone).dt.offset_by(step).dt.convert_time_zone("UTC")
    dated = numbered.with_columns(at=at.cast(INSTANT)).filter(
        pl.col("at") >= pl.col("from"), pl.col("at") <= pl.col("to")
    )
    return dated.drop("count", "unit", "days", "n")


def _fewest(days: pl.Expr) -> pl.Expr:
    """At least so many intervals are in so many days: none is longer than 366 days a year, 31 a month."""
    longest = pl.col("unit").replace_strict({"d": 1, "w": 7, "mo": 31, "y": 366}, return_dtype=pl.Int64)
    return days.floordiv(longest * pl.col("count")) - 1


def previous(every: str, anchor: datetime, at: datetime, *, inclusive: bool) -> datetime:
    """The last occurrence before `at`, or at it where that counts."""
    found = _around(every, anchor, at)
    return found.filter(found <= at if inclusive else found < at).max()  # type: ignore[return-value]


def following(every: str, anchor: datetime, at: datetime, *, inclusive: bool) -> datetime:
    """The first occurrence after `at`, or at it where that counts."""
    found = _around(every, anchor, at)
    return found.filter(found >= at if inclusive else found > at).min()  # type: ignore[return-value]


def period(every: str, anchor: datetime, at: datetime) -> tuple[datetime, datetime]:
    """The period [from, to) between two occurrences that `at` is in."""
    return previous(every, anchor, at, inclusive=True), following(every, anchor, at, inclusive=False)


def _around(every: str, anchor: datetime, at: datetime) -> pl.Series:
    """Occurrences on both sides of `at`: two intervals each way."""
    row = pl.DataFrame({"recurs_every": [every], "at": [at]}, schema={"recurs_every": pl.String, "at": INSTANT})
    count = int(every.rstrip("dwmoy"))
    reach = f"{2 * count}{every[len(str(count)) :]}"
    bounds = {
        "from": pl.col("at").dt.offset_by(f"-{reach}"),
        "to": pl.col("at").dt.offset_by(reach),
        "recurs_from": pl.lit(anchor, dtype=INSTANT),
    }
    return occurrences(row.with_columns(**bounds).drop("at"))["at"]
