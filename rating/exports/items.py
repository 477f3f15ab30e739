"""Items: charge lines as products of a quantity and a unit price, which is what cost data and invoices know.

A charge line can hold several prices: one for each tier it reaches, a percentage, a flat amount. Each becomes an item:

    units    quantity of the tier x unit amount / per
    percent  quantity of the tier x percent / 100
    flat     how many times x the flat amount

They get shares of the line's rounded amount: rounded up to the end of each item, less what the items before have got.
So the items of a line sum to it, and each is less than one minor unit from its own product.

A line is one item, of quantity 1 (-1 where it is negative) at its rounded amount, where its items would not say how it
comes about: where it has no tier (a discount, a minimum, a credit), where steps behind the tiers change the amount (a
prorated fee, a cap), and where its rounded amount is more than a minor unit from the exact one (rounded at each event).
"""

from collections.abc import Mapping
from decimal import Decimal

import polars as pl

from rating.core.money import ROUNDED, product, quotient, round_by_currency
from rating.core.schema import AMOUNT

ITEM = pl.Schema(
    {
        "line": pl.String(),
        "item": pl.Int32(),  # from 0
        "part": pl.String(),  # units | percent | flat | whole: the line as one item
        "tier": pl.Int32(),  # from 0; null for a whole
        "is_tiered": pl.Boolean(),  # whether the line has items of several tiers
        "quantity": AMOUNT,
        "unit_price": AMOUNT,  # for `base_quantity`; never negative
        "base_quantity": pl.Int64(),
        "amount": AMOUNT,  # quantity x unit_price / base_quantity
        "net_amount": ROUNDED,  # the share of the line's rounded amount
    }
)
"""One row is one item; (`line`, `item`) is unique. The `net_amount` of a line's items sum to its rounded amount."""

_ONE = pl.lit(Decimal(1), dtype=AMOUNT)
_NEARLY_NOTHING = pl.lit(Decimal("1e-15"), dtype=AMOUNT)
_MODE = "half_away_from_zero"


def items(lines: pl.DataFrame, digits: Mapping[str, int]) -> pl.DataFrame:
    """ITEM of charge lines (CHARGE_LINE), sorted by line and item. `digits` are the minor units of their currencies."""
    parts = _parts(lines)
    sums = parts.group_by("line").agg(parts=pl.col("amount").sum())
    known = lines.lazy().select("line", "amount", "rounded_amount", "currency").join(sums, on="line", how="left")
    gap = (pl.col("amount") - pl.col("rounded_amount").cast(AMOUNT)).abs()
    says_all = ((pl.col("amount") - pl.col("parts")).abs() <= _NEARLY_NOTHING) & (gap <= _minor_unit(digits))
    judged = known.with_columns(is_itemised=says_all.fill_null(False)).collect()
    itemised = parts.join(judged.lazy().filter("is_itemised").select("line", "currency", "rounded_amount"), on="line")
    shared = _shared(itemised, digits).select(ITEM.names()).cast(ITEM)
    whole = _whole(judged.filter(~pl.col("is_itemised"))).cast(ITEM)
    return pl.concat([shared.collect(), whole]).sort("line", "item")


def _minor_unit(digits: Mapping[str, int]) -> pl.Expr:
    units = {currency: str(Decimal(1).scaleb(-places)) for currency, places in digits.items()}
    return pl.col("currency").replace_strict(units, return_dtype=pl.String).cast(AMOUNT)


def _parts(lines: pl.DataFrame) -> pl.LazyFrame:
    """One row for each price that a tier of a line has: ITEM without its place and its share."""
    tiers = lines.lazy().select("line", "tiers").explode("tiers", empty_as_null=False).unnest("tiers")
    hundred = pl.lit(100, dtype=pl.Int64)
    priced = pl.concat(
        [
            _priced(tiers.filter(pl.col("unit_amount") != 0), 0, "units", "quantity", "unit_amount", pl.col("per")),
            _priced(tiers.filter(pl.col("percent") != 0), 1, "percent", "quantity", "percent", hundred),
            _priced(tiers.filter(pl.col("flat_amount") != 0), 2, "flat", "flat_count", "flat_amount", pl.lit(1)),
            _priced(tiers.filter(_is_free()), 3, "units", "quantity", "unit_amount", pl.col("per")),
        ]
    )
    ordered = priced.filter(pl.col("quantity") != 0).sort("line", "tier", "place")
    return ordered.with_columns(
        item=pl.int_range(pl.len(), dtype=pl.Int32).over("line"),
        is_tiered=pl.col("tier").n_unique().over("line") > 1,
        reached=pl.col("amount").cum_sum().over("line"),
        is_last=pl.int_range(pl.len()).over("line") == pl.len().over("line") - 1,
    )


def _is_free() -> pl.Expr:
    """A tier that costs nothing is an item too: its units were used, and an invoice says so."""
    return (pl.col("unit_amount") == 0) & (pl.col("percent") == 0) & (pl.col("flat_amount") == 0)


def _priced(tiers: pl.LazyFrame, place: int, part: str, quantity: str, price: str, base: pl.Expr) -> pl.LazyFrame:
    """A negative price is a negative quantity at a positive one."""
    sign = pl.when(pl.col(price) < 0).then(-_ONE).otherwise(_ONE)
    amount = quotient(product(pl.col(quantity), pl.col(price)), base.cast(AMOUNT))
    return tiers.select(
        "line",
        "tier",
        pl.lit(place).alias("place"),
        pl.lit(part).alias("part"),
        product(pl.col(quantity), sign).alias("quantity"),
        pl.col(price).abs().alias("unit_price"),
        base.cast(pl.Int64).alias("base_quantity"),
        amount.alias("amount"),
    )


def _shared(parts: pl.LazyFrame, digits: Mapping[str, int]) -> pl.LazyFrame:
    """Parts with their share of the line's rounded amount; the last one takes what is left of it."""
    kinds = [(places, _MODE) for places in digits.values()]
    places = pl.col("currency").replace_strict(dict(digits), return_dtype=pl.Int32)
    rounded = round_by_currency("reached", "digits", "mode", kinds)
    moded = parts.with_columns(digits=places, mode=pl.lit(_MODE))
    reached = moded.with_columns(reached=pl.when("is_last").then("rounded_amount").otherwise(rounded))
    return reached.sort("line", "item").with_columns(
        net_amount=pl.col("reached") - pl.col("reached").shift(1, fill_value=0).over("line")
    )


def _whole(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines as one item each."""
    amount = pl.col("rounded_amount").cast(AMOUNT)
    return lines.select(
        "line",
        item=pl.lit(0),
        part=pl.lit("whole"),
        tier=pl.lit(None),
        is_tiered=pl.lit(False),
        quantity=pl.when(amount < 0).then(-_ONE).otherwise(_ONE),
        unit_price=amount.abs(),
        base_quantity=pl.lit(1),
        amount=amount,
        net_amount="rounded_amount",
    )
