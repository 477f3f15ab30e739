"""Difference: what is still to be booked when usage is rated again.

    due = lines now - lines before

Progressive billing rates all usage of the period so far and takes off what was billed of it; a correction rates a
closed period again and takes off what it came to. Lines are taken apart into their parts: what a tier made of units at
one unit amount, of a percentage, and of its flat amount; and what the steps behind the tiers changed. Parts that agree
in everything but quantity and amount are subtracted; a part at another unit amount is reversed whole and booked anew.
Worked example: 16 units at 5.00 after 15 at 10.00 are -15 at 10.00 and 16 at 5.00, -70.00.
"""

from decimal import Decimal

import polars as pl

from rating.core.lines import CHARGE_LINE
from rating.core.money import ZERO, grouped_sum, product, quotient
from rating.core.schema import AMOUNT

_HUNDRED = pl.lit(Decimal(100), dtype=AMOUNT)
_SERVICE = ["subscription", "item", "plan", "period", "service_start"]
_OWNER = [*_SERVICE, "kind", "price", "price_version", "window", "adjustment", "grant", "meter", "group"]
_KEY = [*_OWNER, "part", "tier", "unit_amount"]
PART = pl.Schema(
    {
        **{name: CHARGE_LINE[name] for name in _OWNER},
        "part": pl.String(),  # units | percent | flat | rest
        "tier": pl.Int32(),  # from 0; null for the rest
        "unit_amount": AMOUNT,  # of one unit (for `per` of the price), one percent, one flat amount; 0 for the rest
        "quantity": AMOUNT,
        "amount": AMOUNT,
    }
)
"""One row is a part of a charge line; the parts of a line sum to its exact amount."""


def parts_of(lines: pl.DataFrame) -> pl.DataFrame:
    """PART of charge lines (CHARGE_LINE), sorted by what tells them apart."""
    tiers = lines.lazy().select(*_OWNER, "tiers").explode("tiers", empty_as_null=False).unnest("tiers")
    flat = product(pl.col("flat_amount"), pl.col("flat_count"))
    percent = quotient(product(pl.col("quantity"), pl.col("percent")), _HUNDRED)
    parts = [
        tiers.filter(pl.col("unit_amount") != 0).select(
            *_part("units", "unit_amount", pl.col("amount") - flat - percent)
        ),
        tiers.filter(pl.col("percent") != 0).select(*_part("percent", "percent", percent)),
        tiers.filter(flat != 0).select(*_part("flat", "flat_amount", flat, "flat_count")),
        lines.lazy().select(*_rest()),
    ]
    return _summed(pl.concat([part.cast(PART) for part in parts]))


def difference(now: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """PART: what `now` (PART) is more or less than `before` (PART); parts that have not changed are left out."""
    taken = before.with_columns(quantity=-pl.col("quantity"), amount=-pl.col("amount")).cast(PART)
    return _summed(pl.concat([now, taken]).lazy())


def _part(name: str, unit_amount: str, amount: pl.Expr, quantity: str = "quantity") -> list[pl.Expr]:
    told = [pl.lit(name).alias("part"), pl.col("tier"), pl.col(unit_amount).alias("unit_amount")]
    return [*map(pl.col, _OWNER), *told, pl.col(quantity).alias("quantity"), amount.alias("amount")]


def _rest() -> list[pl.Expr]:
    """What is not in the tiers: an adjustment whole, and what steps changed."""
    in_tiers = pl.col("tiers").list.eval(pl.element().struct.field("amount")).list.sum()
    amount = pl.col("amount") - in_tiers.fill_null(ZERO)
    told = [pl.lit("rest").alias("part"), pl.lit(None).alias("tier"), ZERO.alias("unit_amount")]
    return [*map(pl.col, _OWNER), *told, ZERO.alias("quantity"), amount.alias("amount")]


def _summed(parts: pl.LazyFrame) -> pl.DataFrame:
    summed = grouped_sum(parts, _KEY, ["quantity", "amount"])
    changed = summed.filter((pl.col("quantity") != 0) | (pl.col("amount") != 0))
    return changed.select(PART.names()).sort(_KEY).collect()
