"""Charge lines: what a bill is made of. One line is one rated amount, rounded once, with its arithmetic inside it."""

import hashlib

import polars as pl
import polars_hash as plh

from rating.core.book import PriceBook
from rating.core.money import ROUNDED, grouped_sum, round_by_currency
from rating.core.pricing import TIER_AMOUNT
from rating.core.schema import AMOUNT, INSTANT, QUANTITY

CHARGE_LINE = pl.Schema(
    {
        "line": pl.String(),  # 32 hex digits, from the line's content (see IDENTITY): stable over reruns
        "kind": pl.String(),  # usage | fee
        "customer": pl.String(),
        "subscription": pl.String(),
        "plan": pl.String(),
        "price": pl.String(),
        "price_version": pl.Int32(),  # 0 is the first version of the price
        "effective_from": INSTANT,  # of that version; null when it holds since ever
        "window": pl.Int32(),  # the time-of-day window of that version; null outside every window
        "model": pl.String(),
        "meter": pl.String(),  # null for a fee
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
        "package_size": QUANTITY,
        "size": pl.String(),
        "tiers": pl.List(pl.Struct(TIER_AMOUNT)),
    }
)

IDENTITY = ("period", "customer", "subscription", "kind", "price", "price_version", "window", "meter", "group")
"""What tells two lines of one run apart; the line's id is the SHA-256 of these as a JSON object, 128 bits of it."""

_LINE = ["subscription", "rate", "meter", "group"]  # the same, as usage is priced
_SINCE_EVER = pl.datetime(1, 1, 1, time_zone="UTC", time_unit="us")


def usage_tiers(tier_amounts: pl.LazyFrame, book: PriceBook, served: pl.DataFrame, period: str) -> pl.LazyFrame:
    """One row for each tier of each usage line: the line's columns, the tier as a struct in `tiers`.

    A line is the rows of `pricing.tier_amounts` of one (subscription, rate, meter, group). A per-request price has rows
    for several size buckets of one tier: they are summed to the tier first.
    """
    numbers = [pl.col(c).first() for c in ("from_quantity", "to_quantity", "unit_amount", "per", "flat_amount")]
    tiers = grouped_sum(tier_amounts, [*_LINE, "tier"], ["quantity", "flat_count", "amount"], *numbers)
    lines = grouped_sum(tiers, _LINE, ["quantity", "amount"])
    counted = lines.join(_events_of_line(tier_amounts), on=_LINE, validate="1:1")
    return _with_tiers(_describe(counted, "usage", book, served, period), tiers)


def fee_tiers(book: PriceBook, served: pl.DataFrame, period: str) -> pl.LazyFrame:
    """The same for fees: each flat price of the plan once for each subscription in force in the period.

    The version in force when the subscription's part of the period begins is the one charged, and charged whole.
    """
    fees = served.lazy().join(book.fees.lazy(), on="plan").join(book.rates.lazy(), on="price")
    in_force = fees.filter(pl.col("from") >= pl.col("effective_from"), pl.col("from") < pl.col("effective_to"))
    tiers = (
        in_force.select("subscription", "rate")
        .join(book.tiers.lazy(), on="rate")
        .with_columns(
            meter=pl.lit(None, dtype=pl.String),
            group=pl.lit("{}"),
            quantity=pl.lit(0, dtype=QUANTITY),
            per=pl.lit(1, dtype=pl.Int64),
            flat_count=pl.lit(1, dtype=AMOUNT),
            amount=pl.col("flat_amount"),
        )
    )
    lines = tiers.select(*_LINE, "quantity", "amount", events=pl.lit(0, dtype=pl.Int64))
    return _with_tiers(_describe(lines, "fee", book, served, period), tiers)


def charge_lines(tiers: pl.LazyFrame) -> pl.LazyFrame:
    """CHARGE_LINE, sorted by id, from rows of `usage_tiers` and `fee_tiers`.

    The rows are sorted before they are gathered into lists: moving the lists afterwards takes several times as long.
    """
    ordered = tiers.sort("line", pl.col("tiers").struct.field("tier"))
    once = [pl.col(name).first() for name in CHARGE_LINE if name not in ("line", "tiers")]
    gathered = ordered.group_by("line", maintain_order=True).agg(*once, pl.col("tiers"))
    return gathered.select(CHARGE_LINE.names())


def _events_of_line(tier_amounts: pl.LazyFrame) -> pl.LazyFrame:
    """A graduated row repeats its events in each tier: count every usage row once."""
    rows = tier_amounts.group_by(*_LINE, "size_from").agg(pl.col("events").first())
    return rows.group_by(_LINE).agg(pl.col("events").sum())


def _describe(lines: pl.LazyFrame, kind: str, book: PriceBook, served: pl.DataFrame, period: str) -> pl.LazyFrame:
    """The columns of CHARGE_LINE but its tiers, and `rate`, for lines with their sums."""
    named = lines.join(book.rates.lazy(), on="rate", validate="m:1").join(
        book.prices.lazy(), on="price", validate="m:1"
    )
    owned = named.join(served.lazy(), on="subscription", validate="m:1")
    kinds = list(book.prices.select("currency_digits", "rounding").unique().iter_rows())
    described = owned.with_columns(
        effective_from=pl.when(pl.col("effective_from") > _SINCE_EVER).then(pl.col("effective_from")),
        kind=pl.lit(kind),
        period=pl.lit(period),
        price_version=pl.col("version"),
        rounded_amount=round_by_currency("amount", "currency_digits", "rounding", kinds),
    )
    columns = [pl.col(n).cast(t) for n, t in CHARGE_LINE.items() if n != "tiers"]
    return described.with_columns(line=_line_id()).select("rate", *columns)


def _with_tiers(lines: pl.LazyFrame, tiers: pl.LazyFrame) -> pl.LazyFrame:
    details = tiers.select(*_LINE, pl.struct(pl.col(n).cast(t) for n, t in TIER_AMOUNT.items()).alias("tiers"))
    return details.join(lines, on=_LINE, nulls_equal=True, validate="m:1").select(CHARGE_LINE.names())


def _line_id() -> pl.Expr:
    content = pl.struct(IDENTITY).struct.json_encode().alias("content")
    return plh.concat_str(content).chash.sha2_256().str.slice(0, 32)


def totals(lines: pl.DataFrame) -> pl.DataFrame:
    """One row a `currency`: the `lines`, their exact `amount` and `rounded_amount`."""
    sums = grouped_sum(lines.lazy(), ["currency"], ["amount", "rounded_amount"], pl.len().cast(pl.Int64).alias("lines"))
    return sums.sort("currency").collect()


def digest(lines: pl.DataFrame) -> str:
    """SHA-256 over the lines as text, sorted by id: equal for equal lines whatever wrote or ordered them."""
    hasher = hashlib.sha256()
    ordered = lines.sort("line").select(CHARGE_LINE.names())
    for part in ordered.iter_slices(100_000):
        tiers = pl.struct("tiers").struct.json_encode().alias("tiers")
        hasher.update(part.with_columns(tiers).write_csv(include_header=False).encode())
    return hasher.hexdigest()
