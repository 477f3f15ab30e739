"""Standing charges: what a subscription owes without usage: fees, and the flat amounts of prices that nobody used."""

from decimal import Decimal

import polars as pl

from rating.core.book import PriceBook, PriceShape, of_book
from rating.core.matching import PRICED_USAGE
from rating.core.schema import PAYER, QUANTITY
from rating.core.service_periods import usage_payers, with_payers

_METERED = pl.Schema(
    {"plan": pl.String(), "price": pl.String(), "cell": pl.Int32(), "meter": pl.String(), "group": pl.String()}
)
_ZERO = pl.lit(Decimal(0), dtype=QUANTITY)
_WHOLE = ["whole", "split"]
_ITEM = ["subscription", "item"]
_BY_SEAT = pl.col("per_seat") & pl.col(
    "prorates"
)  # of each part of the period in which the number of seats is the same


def fee_usage(book: PriceBook, served: pl.DataFrame, subscriptions: pl.DataFrame) -> pl.LazyFrame:
    """PRICED_USAGE for each fee of a plan that a subscription in force in the period owes: of its seats, where the
    fee is for each of them, else of nothing. `subscriptions` is SUBSCRIPTION.

    The version in force at the instant at which it is due is the one charged, and charged whole.
    """
    last = pl.col("to") - pl.duration(microseconds=1)
    fees = with_payers(served).lazy().join(book.fees.lazy(), on="plan")
    is_at_end = pl.col("due") == "in_arrears"
    begins = pl.col("began_at") == pl.col("from")
    is_once = pl.col("due").is_in(["at_start", "with_plan"])
    brought = _brought(book, served, subscriptions).lazy()
    known = fees.join(brought, on=[*_ITEM, "from", "price"], how="left", validate="m:1")
    owed = known.filter(~is_once | begins | pl.col("is_brought"))
    owed = owed.filter(~is_at_end | (pl.col("bills") == "all"), pl.col("part").is_in(_WHOLE) | _BY_SEAT)
    owed = owed.filter(~_BY_SEAT | (pl.col("part") != "split"))
    at = pl.when(is_at_end).then(last).otherwise("from")
    seats = pl.when(is_at_end).then("seats_at_end").otherwise("seats")
    no_meter = pl.lit(None, dtype=pl.String)
    dated = owed.with_columns(
        at=at, cell=0, meter=no_meter, group=pl.lit("{}"), quantity=pl.when("per_seat").then(seats).otherwise(_ZERO)
    )
    return _standing(_in_force(dated, book))


def _brought(book: PriceBook, served: pl.DataFrame, subscriptions: pl.DataFrame) -> pl.DataFrame:
    """The fees that a change brings with a plan: `subscription`, `item`, `from` and `price`, and `is_brought`."""
    fees = book.fees.filter(pl.col("due") == "with_plan").select("plan", "price")
    own = subscriptions.filter(pl.col("state") == "active") if fees.height else subscriptions.clear()
    within = own.join(served, on="subscription", how="semi").sort(*_ITEM, "starts_at")
    came = within.with_columns(before=pl.col("plan").shift(1).over(_ITEM)).filter(pl.col("before") != pl.col("plan"))
    owed = came.select(*_ITEM, "before", "plan", pl.col("starts_at").alias("from")).join(fees, on="plan")
    new = owed.join(fees, left_on=["before", "price"], right_on=["plan", "price"], how="anti")
    return new.select(*_ITEM, "from", "price", is_brought=pl.lit(True))


def unused(priced: pl.LazyFrame, book: PriceBook, served: pl.DataFrame) -> pl.LazyFrame:
    """PRICED_USAGE of nothing for each price that charges a flat amount without usage (`flat_when_unused`), where a
    subscription has none: `priced` is PRICED_USAGE of all. By the version in force when its part of the period begins.
    """
    prices = _charging_unused(book)
    if prices.is_empty():
        return PRICED_USAGE.to_frame(eager=False)
    owed = usage_payers(served).lazy().join(prices.lazy(), on="plan").with_columns(at="from", quantity=_ZERO)
    charged = _in_force(owed, book).filter("flat_when_unused")
    return _standing(charged.join(priced, on=[PAYER, "price", "meter"], how="anti"))


@of_book
def _charging_unused(book: PriceBook) -> pl.DataFrame:
    """_METERED of the prices that charge without usage."""
    charging = book.rates.filter("flat_when_unused").select("price").unique()
    return pl.concat([_METERED.to_frame(), *map(_metered, book.shapes)]).join(charging, on="price", how="semi")


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


def _standing(rates: pl.LazyFrame) -> pl.LazyFrame:
    """PRICED_USAGE of the `quantity`, without an event, for each payer, price, rate, meter and group."""
    keys = [PAYER, "price", "rate", "meter", "group", "quantity"]
    empty = {name: pl.lit(None, dtype=dtype) for name, dtype in PRICED_USAGE.items() if name not in keys}
    rows = rates.select(*keys, **{**empty, "events": pl.lit(0, dtype=pl.Int64)})
    return rows.select(PRICED_USAGE.names()).cast(PRICED_USAGE)
