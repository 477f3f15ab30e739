"""Which files of the usage table to merge next. Pure: it is given the files and gives back some of their paths.

Files of one day and bucket are merged with others of about their size, so that each event is rewritten a few times in
all: with 8 files a merge, 1,000 flushes rewrite an event at most three or four times.
"""

from dataclasses import dataclass

import polars as pl

from ingest.schema import BUCKET, DAY

SMALL_ROWS = 16_384
SIZE_FACTOR = 4


@dataclass(frozen=True)
class MergeLimits:
    """`files` of about one size are merged, or fewer that make up half of `rows`, which one pass reads at most."""

    files: int
    rows: int


def choose(files: pl.DataFrame, late: pl.DataFrame, limits: MergeLimits) -> list[str]:
    """The paths to rewrite in one pass, all of one day and bucket; empty when there is nothing to do.

    `files` and `late` are TABLE_FILE: all files, and those that lack the column of a property. The merge that removes
    most files comes first; then late files, alone or with others.
    """
    merge = _best(_levelled(files.filter(pl.col("rows") <= limits.rows // 2)), limits)
    lift = _grouped(late.with_columns(level=pl.lit(0)), limits).sort("rows", descending=True)
    due = [*merge["paths"].head(1), *lift["paths"].head(1)]
    return [str(path) for path in due[0]] if due else []


def _best(files: pl.DataFrame, limits: MergeLimits) -> pl.DataFrame:
    is_due = (pl.col("files") >= limits.files) | ((pl.col("files") > 1) & (pl.col("rows") >= limits.rows // 2))
    return _grouped(files, limits).filter(is_due).sort("files", DAY, descending=[True, False])


def _levelled(files: pl.DataFrame) -> pl.DataFrame:
    """Files with their size as a power of SIZE_FACTOR; what is small is of level 0."""
    times_small = (pl.col("rows") / SMALL_ROWS).clip(lower_bound=1)
    return files.with_columns(level=times_small.log(SIZE_FACTOR).floor().cast(pl.Int64))


def _grouped(files: pl.DataFrame, limits: MergeLimits) -> pl.DataFrame:
    """One row is what one pass could rewrite of a day, bucket and level: the oldest files, `rows` in all."""
    key = [DAY, BUCKET, "level"]
    in_order = files.sort(*key, "first_sequence", "path")
    before = pl.col("rows").cum_sum().over(key) - pl.col("rows")
    fitting = in_order.filter((before == 0) | (before + pl.col("rows") <= limits.rows))
    return fitting.group_by(key, maintain_order=True).agg(
        pl.col("path").alias("paths"), pl.col("rows").sum(), pl.len().alias("files")
    )
