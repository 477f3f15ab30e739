"""Charge lines: what a bill is made of. One line is one rated amount, rounded once, with its arithmetic inside it."""

import hashlib
from collections.abc import Sequence

import polars as pl
import polars_hash as plh

from rating.core.book import PriceBook
from rating.core.chain import Charged
from rating.core.coverage import with_payers
from rating.core.money import ROUNDED, grouped_sum, round_by_currency
from rating.core.schema import AMOUNT, INSTANT, LINE, OPERATION, PAYER, QUANTITY, TIER_AMOUNT

CHARGE_LINE = pl.Schema(
    {
        "line": pl.String(),  # 32 hex digits, from the line's content (see IDENTITY): stable over reruns
        "kind": pl.String(),  # usage | fee | minimum | maximum | discount | surcharge | commitment | credit
        "customer": pl.String(),
        "subscription": pl.String(),
        "plan": pl.String(),
        "price": pl.String(),  # null for an adjustment of the plan
        "price_version": pl.Int32(),  # 0 is the first version of the price
        "effective_from": INSTANT,  # of that version; null when it holds since ever
        "window": pl.Int32(),  # the time-of-day window of that version; null outside every window
        "model": pl.String(),
        "adjustment": pl.Int32(),  # its place among those of its price or plan; null for usage and fees
        "grant": pl.String(),  # that paid, and ...
        "pays": pl.String(),  # ... the line that it paid something of; null but for a credit
        "meter": pl.String(),  # null for a fee and for an adjustment
        "group": pl.String(),  # JSON object of the dimensions that the price matches or is grouped by
        "period": pl.String(),
        "period_start": INSTANT,
        "period_end": INSTANT,
        "quantity": QUANTITY,
        "events": pl.Int64(),  # how many usage events are behind the line
        "amount": AMOUNT,  # exact
        "rounded_amount": ROUNDED,  # in the currency's minor unit, by the price's rounding
        "currency": pl.String(),
        "rounding": pl.String(),
        "size": pl.String(),  # the property that measured each event, where that chose the tier
        "tiers": pl.List(pl.Struct(TIER_AMOUNT)),
        "operations": pl.List(pl.Struct(OPERATION)),  # the steps of the chain beside tier and price
    }
)

IDENTITY = (
    "period",
    "customer",
    "subscription",
    "kind",
    "price",
    "price_version",
    "window",
    "adjustment",
    "grant",
    "pays",
    "meter",
    "group",
)
"""What tells two lines of one run apart; the line's id is the SHA-256 of these as a JSON object, 128 bits of it."""

_SINCE_EVER = pl.datetime(1, 1, 1, time_zone="UTC", time_unit="us")


def tiered_lines(charged: Charged, book: PriceBook, served: pl.DataFrame, period: str) -> pl.LazyFrame:
    """One row for each tier of each line: the line's columns, the tier as a struct in `tiers`."""
    details = charged.tiers.select(*LINE, pl.struct(pl.col(n).cast(t) for n, t in TIER_AMOUNT.items()).alias("tiers"))
    lines = _describe(charged.lines, book, served, period)
    return details.join(lines, on=LINE, nulls_equal=True, validate="m:1").select(CHARGE_LINE.names())


def charge_lines(tiered: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """CHARGE_LINE, sorted by id, from frames of `tiered_lines`.

    The rows are sorted before they are gathered into lists: moving the lists afterwards takes several times as long.
    """
    empty = pl.LazyFrame(schema={**CHARGE_LINE, "tiers": pl.Struct(TIER_AMOUNT)})
    ordered = pl.concat([empty, *tiered]).sort("line", pl.col("tiers").struct.field("tier"))
    once = [pl.col(name).first() for name in CHARGE_LINE if name not in ("line", "tiers")]
    gathered = ordered.group_by("line", maintain_order=True).agg(*once, pl.col("tiers"))
    return gathered.select(CHARGE_LINE.names())


def _describe(lines: pl.LazyFrame, book: PriceBook, served: pl.DataFrame, period: str) -> pl.LazyFrame:
    """The columns of CHARGE_LINE but its tiers, and PAYER and `rate`, for lines with their sums."""
    named = lines.join(book.rates.lazy().drop("numbers"), on="rate", validate="m:1").join(
        book.prices.lazy(), on="price", validate="m:1"
    )
    owned = named.join(with_payers(served).lazy(), on=PAYER, validate="m:1")
    kinds = list(book.prices.select("rounding_digits", "rounding").unique().iter_rows())
    described = owned.with_columns(
        effective_from=pl.when(pl.col("effective_from") > _SINCE_EVER).then(pl.col("effective_from")),
        kind=pl.when(pl.col("meter").is_null()).then(pl.lit("fee")).otherwise(pl.lit("usage")),
        adjustment=pl.lit(None),
        grant=pl.lit(None),
        pays=pl.lit(None),
        period=pl.lit(period),
        price_version=pl.col("version"),
        rounded_amount=round_by_currency("amount", "rounding_digits", "rounding", kinds),
    )
    columns = [pl.col(n).cast(t) for n, t in CHARGE_LINE.items() if n not in ("line", "tiers")]
    return with_line_ids(described.select(PAYER, "rate", *columns))


def with_line_ids(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Add `line` to rows that have all columns of IDENTITY."""
    content = pl.struct(IDENTITY).struct.json_encode().alias("content")
    return lines.with_columns(line=plh.concat_str(content).chash.sha2_256().str.slice(0, 32))


def totals(lines: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """One row a `currency`: the `lines`, their exact `amount` and `rounded_amount`, and the `drift` between them: the
    sum of the rounded amounts less the rounded sum of the exact ones (to the minor unit, half away from zero)."""
    sums = grouped_sum(lines.lazy(), ["currency"], ["amount", "rounded_amount"], pl.len().cast(pl.Int64).alias("lines"))
    digits = pl.concat([book.prices, book.adjustments], how="diagonal").select("currency", "currency_digits").unique()
    known = sums.join(digits.lazy(), on="currency", how="left", validate="1:1")
    kinds = [(int(digit), "half_away_from_zero") for digit in digits["currency_digits"].unique()]
    moded = known.with_columns(mode=pl.lit("half_away_from_zero"))
    rounded = round_by_currency("amount", "currency_digits", "mode", kinds)
    return (
        moded.with_columns(drift=pl.col("rounded_amount") - rounded)
        .drop("currency_digits", "mode")
        .sort("currency")
        .collect()
    )


def digest(lines: pl.DataFrame) -> str:
    """SHA-256 over the SHA-256 of each line as JSON, in the order of their ids: equal for equal lines whatever wrote or
    ordered them."""
    content = pl.struct(CHARGE_LINE.names()).struct.json_encode().alias("content")
    each = lines.lazy().select("line", own=plh.concat_str(content).chash.sha2_256()).sort("line")
    return hashlib.sha256("".join(each.collect(engine="streaming")["own"]).encode()).hexdigest()
