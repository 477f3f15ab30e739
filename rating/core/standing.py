"""Standing charges: what a subscription owes without usage: fees, and the flat amounts of prices that nobody used."""

from decimal import Decimal

import polars as pl

from rating.core.book import PriceBook, PriceShape
from rating.core.coverage import with_payers
from rating.core.matching import PRICED_USAGE
from rating.core.schema import PAYER, QUANTITY

_METERED = pl.Schema(
    {"plan": pl.String(), "price": pl.String(), "cell": pl.Int32(), "meter": pl.String(), "group": pl.String()}
)
_NOTHING = {"quantity": pl.lit(Decimal(0), dtype=QUANTITY), "events": pl.lit(0, dtype=pl.Int64)}


def fee_usage(book: PriceBook, served: pl.DataFrame) -> pl.LazyFrame:
    """PRICED_USAGE of nothing for each fee of a plan that a subscription in force in the period owes.

    The version in force at the instant at which it is due is the one charged, and charged whole.
    """
    last = pl.col("to") - pl.duration(microseconds=1)
    fees = with_payers(served).lazy().join(book.fees.lazy(), on="plan")
    owed = fees.filter((pl.col("due") != "at_start") | (pl.col("starts_at") == pl.col("from")))
    at = pl.when(pl.col("due") == "in_arrears").then(last).otherwise("from")
    no_meter = pl.lit(None, dtype=pl.String)
    return _of_nothing(_in_force(owed.with_columns(at=at, cell=0, meter=no_meter, group=pl.lit("{}")), book))


def unused(priced: pl.LazyFrame, book: PriceBook, served: pl.DataFrame) -> pl.LazyFrame:
    """PRICED_USAGE of nothing for each price that charges a flat amount without usage (`flat_when_unused`), where a
    subscription has none: `priced` is PRICED_USAGE of all. By the version in force when its part of the period begins.
    """
    charging = book.rates.filter("flat_when_unused").select("price").unique()
    prices = pl.concat([_METERED.to_frame(), *map(_metered, book.shapes)]).join(charging, on="price", how="semi")
    if prices.is_empty():
        return PRICED_USAGE.to_frame(eager=False)
    owed = with_payers(served).lazy().join(prices.lazy(), on="plan").with_columns(at="from")
    charged = _in_force(owed, book).filter("flat_when_unused")
    return _of_nothing(charged.join(priced, on=[PAYER, "price", "meter"], how="anti"))


def _metered(shape: PriceShape) -> pl.DataFrame:
    """The prices of a shape with the group that each has; those that are rated by groups have none without usage."""
    prices = shape.prices.clear() if shape.group_by else shape.prices
    group = pl.struct(shape.match).struct.json_encode() if shape.match else pl.lit("{}")
    columns = {"meter": pl.lit(shape.meter), "group": group}
    return prices.with_columns(**columns).select(_METERED.names()).cast(_METERED)


def _in_force(prices: pl.LazyFrame, book: PriceBook) -> pl.LazyFrame:
    """`prices` with their rate that is in force `at` an instant, outside every time of the day."""
    rates = book.rates.lazy().filter(pl.col("window").is_null())
    versions = prices.join(rates, on=["price", "cell"])
    return versions.filter(pl.col("at") >= pl.col("effective_from"), pl.col("at") < pl.col("effective_to"))


def _of_nothing(rates: pl.LazyFrame) -> pl.LazyFrame:
    """PRICED_USAGE of zero for each payer, price, rate, meter and group."""
    keys = [PAYER, "price", "rate", "meter", "group"]
    empty = {name: pl.lit(None, dtype=dtype) for name, dtype in PRICED_USAGE.items() if name not in keys}
    return rates.select(*keys, **{**empty, **_NOTHING}).select(PRICED_USAGE.names())
