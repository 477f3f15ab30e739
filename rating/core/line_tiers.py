"""From the tiers of lines to lines: most lines have one tier, and of these nothing is summed and nothing is moved."""

from collections.abc import Sequence

import polars as pl

from rating.core.keys import codes
from rating.core.money import grouped_sum
from rating.core.schema import LINE, TIER_AMOUNT
from rating.core.windows import TOLD

NUMBER = "number"
"""The place of a line among those of its chain, from 0."""

_OF_TIER = ["from_quantity", "to_quantity", "unit_amount", "per", "flat_amount", "percent"]
_OF_LINE = ["quantity", "metered", "tier_amount", "amount"]
_CODE = "code"


def tier_rows(rows: pl.LazyFrame, *, is_summed: bool) -> pl.LazyFrame:
    """Rows of one tier each, with what makes lines and tiers; summed to one row a LINE and tier where they are not."""
    if is_summed:
        return rows.select(*LINE, "tier", *_OF_LINE, "flat_count", "events", *_OF_TIER, *traced(rows), *_told(rows))
    return sums(rows, [*LINE, "tier"], [*_OF_LINE, "flat_count"], *_OF_TIER)


def lines_of_tiers(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """One row a LINE, with NUMBER, of `tier_rows`; and for each number its tiers, in order: a list of TIER_AMOUNT."""
    code = codes(rows, LINE)
    has_several = code.is_duplicated()
    if not has_several.any():
        return rows.with_row_index(NUMBER), _one_each(rows)
    alone, tiers = rows.filter(~has_several), _tiers(rows.with_columns(code).filter(has_several))
    lines = sums(tiers.lazy(), [_CODE], _OF_LINE, *LINE).sort(_CODE).collect(engine="in-memory")
    lists = tiers.group_by(_CODE, maintain_order=True).agg(_shown())["tiers"]
    together = pl.concat([alone.select(lines.drop(_CODE).columns), lines.drop(_CODE)])
    return together.with_row_index(NUMBER), pl.concat([_one_each(alone), lists], rechunk=True)


def sums(rows: pl.LazyFrame, by: Sequence[str], columns: Sequence[str], *firsts: str) -> pl.LazyFrame:
    """`rows` summed: `columns`, the number of events and what steps left; and `firsts`, which are the same in all."""
    told = [pl.col(name).first() for name in (*_told(rows), *firsts)]
    return grouped_sum(rows, by, [*columns, *traced(rows)], pl.col("events").sum(), *told)


def traced(rows: pl.LazyFrame) -> list[str]:
    """The columns in which steps left what they made."""
    return [name for name in rows.collect_schema() if name.startswith("after_")]


def _told(rows: pl.LazyFrame) -> list[str]:
    return [name for name in rows.collect_schema() if name.startswith(TOLD)]


def _tiers(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a line and tier, in their order."""
    if rows.select(pl.struct(_CODE, "tier").is_duplicated().any()).item():
        rows = sums(rows.lazy(), [_CODE, "tier"], [*_OF_LINE, "flat_count"], *LINE, *_OF_TIER).collect(
            engine="in-memory"
        )
    return rows.sort(_CODE, "tier")


def _one_each(rows: pl.DataFrame) -> pl.Series:
    return rows.select(pl.concat_list(_shown())).to_series()


def _shown() -> pl.Expr:
    """TIER_AMOUNT of rows of tiers."""
    values = {name: pl.col("tier_amount" if name == "amount" else name) for name in TIER_AMOUNT}
    return pl.struct(values[name].cast(dtype).alias(name) for name, dtype in TIER_AMOUNT.items()).alias("tiers")
