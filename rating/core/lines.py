"""Charge lines: what a bill is made of. One line is one rated amount, rounded once, with its arithmetic inside it."""

import hashlib
from collections.abc import Sequence

import polars as pl
import polars_hash as plh

from rating.core.book import PriceBook, of_book
from rating.core.chain import Charged
from rating.core.money import ROUNDED, grouped_sum, overflow_checked, round_by_currency
from rating.core.schema import AMOUNT, INSTANT, LINE, OPERATION, PAYER, QUANTITY, TIER_AMOUNT
from rating.core.service_periods import with_payers
from rating.core.subscriptions import plan_of_variant

CHARGE_LINE = pl.Schema(
    {
        "line": pl.String(),  # 32 hex digits, from the line's content (see IDENTITY): stable over reruns
        # usage | fee | minimum | maximum | discount | surcharge | commitment | credit | adjustment
        "kind": pl.String(),
        "customer": pl.String(),
        "billed_to": pl.String(),  # the customer who pays: the parent, where there is one
        "subscription": pl.String(),
        "item": pl.String(),  # `plan`, or the add-on
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
        "adjusts": pl.String(),  # the line of a closed period that an adjustment changes; null for all others
        "period": pl.String(),
        "period_start": INSTANT,
        "period_end": INSTANT,
        "service_start": INSTANT,  # the part of the period that the line is for: [service_start, service_end)
        "service_end": INSTANT,
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
    "item",
    "plan",
    "service_start",
    "kind",
    "price",
    "price_version",
    "window",
    "adjustment",
    "grant",
    "pays",
    "meter",
    "group",
    "adjusts",
)
"""What tells two lines of one run apart; the line's id is the SHA-256 of these as a JSON object (the instant in
microseconds since 1970), 128 bits of it."""

LINE_SUMS = pl.Schema({"currency": pl.String(), "lines": pl.Int64(), "amount": AMOUNT, "rounded_amount": ROUNDED})
"""One row is the sums of lines in one currency."""

LINE_DIGEST = pl.Schema({"line": pl.Binary(), "own": pl.Binary()})
"""One row is a line: its id, and the SHA-256 of all that it says."""

_BEHIND_ALL = b"\xff" * 17
_DIGESTED_TOGETHER = 500_000
_SINCE_EVER = pl.datetime(1, 1, 1, time_zone="UTC", time_unit="us")


def tiered_lines(charged: Charged, book: PriceBook, served: pl.DataFrame) -> pl.LazyFrame:
    """One row for each tier of each line: the line's columns, the tier as a struct in `tiers`."""
    details = charged.tiers.select(*LINE, pl.struct(pl.col(n).cast(t) for n, t in TIER_AMOUNT.items()).alias("tiers"))
    lines = _describe(charged.lines, book, served)
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


def _describe(lines: pl.LazyFrame, book: PriceBook, served: pl.DataFrame) -> pl.LazyFrame:
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
        adjusts=pl.lit(None),
        plan=plan_of_variant(),
        service_start="from",
        service_end="to",
        price_version=pl.col("version"),
        rounded_amount=round_by_currency("amount", "rounding_digits", "rounding", kinds),
    )
    columns = [pl.col(n).cast(t) for n, t in CHARGE_LINE.items() if n not in ("line", "tiers")]
    return with_line_ids(described.select(PAYER, "rate", *columns))


def with_line_ids(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Add `line` to rows that have all columns of IDENTITY."""
    since_1970 = pl.col("service_start").cast(INSTANT).to_physical()  # no text of an instant changes with a library
    content = pl.struct(*(since_1970 if name == "service_start" else name for name in IDENTITY))
    content = content.struct.json_encode().alias("content")
    return lines.with_columns(line=plh.concat_str(content).chash.sha2_256().str.slice(0, 32))


@overflow_checked()
def totals(lines: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """One row a `currency`: the `lines`, their exact `amount` and `rounded_amount`, and the `drift` between them: the
    sum of the rounded amounts less the rounded sum of the exact ones (to the minor unit, half away from zero)."""
    return _totals(sums_of(lines), book)


@overflow_checked()
def sums_of(lines: pl.DataFrame) -> pl.DataFrame:
    """LINE_SUMS of lines."""
    sums = grouped_sum(lines.lazy(), ["currency"], ["amount", "rounded_amount"], pl.len().cast(pl.Int64).alias("lines"))
    return sums.select(LINE_SUMS.names()).cast(LINE_SUMS).collect(engine="in-memory")


@overflow_checked()
def totals_of_sums(parts: Sequence[pl.DataFrame], book: PriceBook) -> pl.DataFrame:
    """The totals of lines of which each of `parts` (LINE_SUMS) has some."""
    every = pl.concat([LINE_SUMS.to_frame(), *parts]).lazy()
    sums = grouped_sum(every, ["currency"], ["amount", "rounded_amount"], pl.col("lines").sum())
    return _totals(sums.collect(engine="in-memory"), book)


def _totals(sums: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """`sums` is LINE_SUMS, one row a currency."""
    digits = _currency_digits(book)
    known = sums.lazy().join(digits.lazy(), on="currency", how="left", validate="1:1")
    kinds = [(int(digit), "half_away_from_zero") for digit in digits["currency_digits"].unique()]
    moded = known.with_columns(mode=pl.lit("half_away_from_zero"))
    rounded = round_by_currency("amount", "currency_digits", "mode", kinds)
    drifted = moded.with_columns(drift=pl.col("rounded_amount") - rounded)
    made = drifted.select("currency", "amount", "rounded_amount", "lines", "drift")
    return made.sort("currency").collect(engine="in-memory")


@of_book
def _currency_digits(book: PriceBook) -> pl.DataFrame:
    return pl.concat([book.prices, book.adjustments], how="diagonal").select("currency", "currency_digits").unique()


def digest(lines: pl.DataFrame) -> str:
    """SHA-256 over the SHA-256 of each line as JSON, in the order of their ids: equal for equal lines whatever wrote or
    ordered them."""
    return digest_of_parts([line_digests(lines)])


def line_digests(lines: pl.DataFrame) -> pl.DataFrame:
    """LINE_DIGEST of lines."""
    content = pl.struct(CHARGE_LINE.names()).struct.json_encode().alias("content")
    each = lines.lazy().select("line", own=plh.concat_str(content).chash.sha2_256())
    return each.select(pl.all().str.decode("hex")).collect(engine="streaming")


def digest_of_parts(parts: Sequence[pl.DataFrame]) -> str:
    """The digest of lines of which each of `parts` (LINE_DIGEST) has some: a sixteenth of the ids at a time, so that
    many lines need no second copy."""
    hasher = hashlib.sha256()
    for first in range(0, 256, 16):
        bounds = [pl.lit(bytes([end]) if end < 256 else _BEHIND_ALL) for end in (first, first + 16)]
        sixteenth = [part.filter(pl.col("line") >= bounds[0], pl.col("line") < bounds[1]) for part in parts]
        ordered = pl.concat([LINE_DIGEST.to_frame(), *sixteenth]).sort("line")
        for some in ordered.iter_slices(_DIGESTED_TOGETHER):
            hasher.update("".join(some["own"].bin.encode("hex")).encode())
    return hasher.hexdigest()
