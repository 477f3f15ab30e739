"""Charge lines: what a bill is made of. One line is one rated amount, rounded once, with its arithmetic inside it."""

from collections.abc import Sequence

import polars as pl
import polars_hash as plh

from rating.core.book import PriceBook, of_book
from rating.core.chain import Charged
from rating.core.keys import looked_up
from rating.core.line_tiers import NUMBER
from rating.core.money import ROUNDED, grouped_sum, overflow_checked, round_by_currency
from rating.core.schema import AMOUNT, INSTANT, OPERATION, PAYER, QUANTITY, TIER_AMOUNT
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

_OF_OWNER = ("period", "customer", "subscription", "item", "plan", "service_start")
_OF_PRICE = ("price", "price_version", "window", "adjustment", "grant", "pays", "adjusts")
_OF_OTHER_KINDS = ("adjustment", "grant", "pays", "adjusts")  # null for usage and fees
IDENTITY = (*_OF_OWNER, *_OF_PRICE, "group", "kind", "meter")
"""What tells two lines of one run apart. The line's id is made of the id of its owner, the id of its price and the
rest: both are worked out once for many lines."""

LINE_SUMS = pl.Schema({"currency": pl.String(), "lines": pl.Int64(), "amount": AMOUNT, "rounded_amount": ROUNDED})
"""One row is the sums of lines in one currency."""

LINE_ORDER = ["customer", "line"]
"""The order of the lines of a run, in which their parts follow each other (api/parts.py): by customer, then by id."""

_SINCE_EVER = pl.datetime(1, 1, 1, time_zone="UTC", time_unit="us")


def charge_lines(charged: Sequence[Charged], book: PriceBook, served: pl.DataFrame) -> pl.DataFrame:
    """CHARGE_LINE in LINE_ORDER of what the chains of a book made of usage. `served` is SERVICE_PERIOD.

    What a line has of its payer and its rate is looked up by their numbers, once the order of lines is known.
    """
    if not charged:
        return CHARGE_LINE.to_frame()
    lines, tiers = _together(charged)
    owners, rates = _owners(served), _rates(book)
    keys = pl.concat(
        [
            lines.select("group", "meter", pl.col("meter").pipe(_kind)),
            looked_up(lines[PAYER], owners.select(PAYER, "place", "owner_id")),
            looked_up(lines["rate"], rates.select("rate", "price_id")),
        ],
        how="horizontal",
    )
    named = keys.select("place", line=_line_id())
    order = named.select(pl.arg_sort_by("place", "line")).to_series()
    rows = lines[order]
    described = pl.concat(
        [
            rows.drop("rate", PAYER, NUMBER),
            keys.select("kind")[order],
            named.select("line")[order],
            looked_up(rows[PAYER], owners.drop("place", "owner_id")),
            looked_up(rows["rate"], rates.drop("price_id")),
        ],
        how="horizontal",
    )
    rounded = round_by_currency("amount", "rounding_digits", "rounding", _roundings(book))
    absent = [pl.lit(None, dtype=CHARGE_LINE[name]).alias(name) for name in _OF_OTHER_KINDS]
    whole = described.with_columns(*absent, rounded_amount=rounded, tiers=tiers.gather(rows[NUMBER]))
    return whole.select(CHARGE_LINE.names())


def _together(charged: Sequence[Charged]) -> tuple[pl.DataFrame, pl.Series]:
    """The lines of all chains, numbered on, and the tiers of each number."""
    parts, first = [], 0
    for one in charged:
        parts.append(one.lines.with_columns(pl.col(NUMBER) + pl.lit(first, dtype=pl.UInt32)))
        first += one.lines.height
    # in one chunk: from several, lists are moved twenty times as slowly
    return pl.concat(parts, rechunk=True), pl.concat([one.tiers for one in charged], rechunk=True)


def _owners(served: pl.DataFrame) -> pl.DataFrame:
    """What lines have of their PAYER, by its number; the `place` of its customer among all, and the id of all that."""
    others = {"plan": plan_of_variant(), "service_start": pl.col("from"), "service_end": pl.col("to")}
    same = ["customer", "billed_to", "subscription", "item", "period", "period_start", "period_end"]
    owners = with_payers(served).select(PAYER, *same, **others)
    return owners.with_columns(place=pl.col("customer").rank("dense"), owner_id=_id_of(_OF_OWNER))


@of_book
def _rates(book: PriceBook) -> pl.DataFrame:
    """What lines have of their rate, by its number; the digits that they are rounded to, and the id of all that."""
    prices = book.prices.select("price", "currency", "model", "rounding", "rounding_digits")
    rates = book.rates.join(prices, on="price", validate="m:1", maintain_order="left").with_columns(
        price_version=pl.col("version"),
        effective_from=pl.when(pl.col("effective_from") > _SINCE_EVER).then(pl.col("effective_from")),
    )
    ids = rates.with_columns(pl.lit(None, dtype=CHARGE_LINE[name]).alias(name) for name in _OF_OTHER_KINDS)
    columns = ["rate", "price", "price_version", "effective_from", "window", "size", *prices.columns[1:]]
    return ids.with_columns(price_id=_id_of(_OF_PRICE)).select(*columns, "price_id")


def _roundings(book: PriceBook) -> list[tuple[int, str]]:
    return list(book.prices.select("rounding_digits", "rounding").unique().iter_rows())


def _kind(meter: pl.Expr) -> pl.Expr:
    return pl.when(meter.is_null()).then(pl.lit("fee")).otherwise(pl.lit("usage")).alias("kind")


def ordered(lines: pl.DataFrame) -> pl.DataFrame:
    """`lines` (CHARGE_LINE) in LINE_ORDER."""
    return lines if in_order(lines) else lines.sort(LINE_ORDER)


def in_order(lines: pl.DataFrame) -> bool:
    """Whether lines are in LINE_ORDER, and each has an id of its own."""
    customer, line = pl.col("customer"), pl.col("line")
    follows = (customer > customer.shift()) | ((customer == customer.shift()) & (line > line.shift()))
    return bool(lines.select(follows.all()).item())  # of the first row, which follows none, it is null


def with_line_ids(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Add `line` to rows that have all columns of IDENTITY."""
    named = lines.with_columns(owner_id=_id_of(_OF_OWNER), price_id=_id_of(_OF_PRICE))
    return named.with_columns(line=_line_id()).drop("owner_id", "price_id")


def _id_of(columns: Sequence[str]) -> pl.Expr:
    """128 bits of the SHA-256 of columns as a JSON object, an instant in microseconds since 1970."""
    since_1970 = pl.col("service_start").cast(INSTANT).to_physical()  # no text of an instant changes with a library
    content = pl.struct(*(since_1970 if name == "service_start" else name for name in columns))
    return plh.concat_str(content.struct.json_encode().alias("content")).chash.sha2_256().str.slice(0, 32)


def _line_id() -> pl.Expr:
    """The same of both ids, the group, which is a JSON object, the kind and the meter, one behind the other."""
    kind = pl.concat_str("kind", pl.lit(":"))
    content = plh.concat_str("owner_id", "price_id", "group", kind, pl.col("meter").fill_null(""))
    return content.chash.sha2_256().str.slice(0, 32)


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
