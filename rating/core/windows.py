"""Windows: the time whose usage fills the tiers of a price, and uses its included units, one stretch after the other.

Usual tiers begin with each charge line. Where a price says otherwise, its lines of one item of a subscription fill them
one after the other: within a billing period (`period`), or within billing cycles of their own, such as a year, that
begin where the subscription's anchor says, else on the calendar. A billing period belongs to the window in which it
begins. Within a window a line goes on behind what others of the same price, band, meter and group metered before it:
those of stretches that began before, and those of earlier versions of the price.

So what was metered in a window before the billing periods of a run is metered again, and runs through the steps of its
price in front of what is charged; of itself it makes no line.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from rating.core.book import Level, PriceBook, Together, of_book
from rating.core.cycles import cut_periods
from rating.core.money import ZERO
from rating.core.schema import INSTANT, PAYER
from rating.core.service_periods import Due, service_periods, usage_payers

PERIOD = "period"
"""The interval of a window that is the billing period."""

TOLD = "told_"
"""What the names of columns begin with that are the same in all rows of a line, and told in its operations."""
EARLIER = f"{TOLD}earlier"
"""What was metered before in the window; with the place of an allowance behind it, in front of that."""
PLAN_UNITS = f"{TOLD}plan_units"
"""The units of an allowance of the plan that are the payer's."""
PLAN_EARLIER = f"{EARLIER}_plan"
"""What was used of them before."""

WINDOW = pl.Schema(
    {
        PAYER: pl.UInt32(),
        "window_interval": pl.String(),  # period | day | week | month | year
        "window_intervals": pl.Int64(),
        "owner": pl.UInt32(),  # the item of a subscription in the window: payers that have it fill the same tiers ...
        "began": INSTANT,  # ... in this order
    }
)
"""One row is the window of one payer, for each kind of window."""

_KIND = ["window_interval", "window_intervals"]
_ITEM = ["subscription", "item"]
_OF_STRETCH = ["began", "of:version"]
_POOLS: dict[Together, list[str]] = {
    "row": ["meter", "group"],
    "line": ["meter", "group"],
    "group": ["group"],
    "meter": ["meter"],
    "meter_by_day": ["meter", "day"],
    "price": [],
    "price_by_day": ["day"],
    "bands": ["meter"],
}
"""What tells the rows of one price and window apart that go on behind each other, by who shares what in one stretch."""


@dataclass(frozen=True)
class Windows:
    """The windows of a run's payers. `payers` is WINDOW; `served` the SERVICE_PERIOD of the run and, from number
    `own` on, that of the billing periods of the same windows before them."""

    payers: pl.DataFrame
    served: pl.DataFrame
    own: int

    @property
    def earlier(self) -> pl.DataFrame:
        """SERVICE_PERIOD of the billing periods before those of the run."""
        return self.served[self.own :]


def windows_of(subscriptions: pl.DataFrame, served: pl.DataFrame, book: PriceBook) -> Windows | None:
    """The windows of `served` (SERVICE_PERIOD); null where the book has none."""
    kinds = _kinds(book)
    if kinds.is_empty() or served.is_empty():
        return None
    own = usage_payers(served)
    dated = _dated(own, kinds)
    earlier = _earlier(subscriptions, served, dated)
    everyone = pl.concat([served, earlier])
    if earlier.height:
        dated = _dated(usage_payers(everyone), kinds)
    owners = pl.struct(*_ITEM, *_KIND, "window_start").rank("dense").cast(pl.UInt32)
    return Windows(dated.with_columns(owner=owners).select(WINDOW.names()).cast(WINDOW), everyone, served.height)


@of_book
def _kinds(book: PriceBook) -> pl.DataFrame:
    """The different windows of a book."""
    return pl.concat([book.rates.select(_KIND), book.plan_allowances.select(_KIND)]).drop_nulls().unique()


def filling(book: PriceBook) -> PriceBook:
    """The book with the meters that earlier usage is metered by: those of prices with a window, or in an allowance
    that has one."""
    prices = _long_prices(book).implode()
    meters = {shape.meter for shape in book.shapes if shape.prices["price"].is_in(prices).any()}
    return replace(book, shapes=tuple(shape for shape in book.shapes if shape.meter in meters))


def filling_rates(book: PriceBook) -> pl.LazyFrame:
    """The `rate` of each of those prices."""
    return book.rates.lazy().filter(pl.col("price").is_in(_long_prices(book).implode())).select("rate")


def with_so_far(
    rows: pl.LazyFrame, name: str, together: Together, level: Level, book: PriceBook, windows: Windows
) -> pl.LazyFrame:
    """`rows` with column `name`: the quantity above zero of the rows that they go on behind, in earlier stretches."""
    if level == "event" and together in ("row", "event"):
        return rows.with_columns(ZERO.alias(name))
    of_rate = book.rates.lazy().select("rate", *_KIND, *(pl.col(it).alias(f"of:{it}") for it in _OF_RATE))
    placed = rows.join(of_rate, on="rate", validate="m:1").join(
        windows.payers.lazy(), on=[PAYER, *_KIND], validate="m:1"
    )
    pool = ["owner", "of:price", *([] if together == "bands" else ["of:window"]), *_POOLS.get(together, [])]
    if level == "day" and together == "row":
        pool.append("day")
    positive = pl.max_horizontal("quantity", ZERO)
    before = positive.cum_sum().over(pool, order_by=_OF_STRETCH) - positive
    found = placed.with_columns(before.alias(name)).with_columns(pl.col(name).min().over([*pool, *_OF_STRETCH]))
    return found.select(*rows.collect_schema().names(), name)


_OF_RATE = ["price", "window", "version"]


def _long(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("window_interval").is_not_null(), pl.col("window_interval") != PERIOD)


def _long_prices(book: PriceBook) -> pl.Series:
    return pl.concat([_long(book.rates)["price"], _long(book.plan_allowances)["price"]]).unique()


def _dated(payers: pl.DataFrame, kinds: pl.DataFrame) -> pl.DataFrame:
    """`payers` (SERVICE_PERIOD with PAYER), once for each kind of window, with `window_start` and `began`."""
    rows = [
        _in_kind(payers, str(interval), int(intervals)).with_columns(
            window_interval=pl.lit(interval), window_intervals=pl.lit(intervals, dtype=pl.Int64), began="from"
        )
        for interval, intervals in kinds.sort(_KIND).iter_rows()
    ]
    return pl.concat(rows)


def _in_kind(payers: pl.DataFrame, interval: str, intervals: int) -> pl.DataFrame:
    columns = [PAYER, *_ITEM, "period_start", "from", "window_start"]
    if interval == PERIOD:
        return payers.with_columns(window_start="period_start").select(columns)
    if payers.is_empty():
        return payers.with_columns(window_start="period_start").select(columns)
    first, last = payers.select(pl.col("period_start").min(), pl.col("period_start").max().alias("last")).row(0)
    terms = payers.select("time_zone", "anchor").unique()
    kind = {"interval": pl.lit(interval), "intervals": pl.lit(intervals, dtype=pl.Int64)}
    cut = cut_periods(terms.with_columns(**kind), first, last + timedelta(microseconds=1))
    spans = cut.select("time_zone", "anchor", window_start="period_start", window_end="period_end")
    met = payers.join(spans, on=["time_zone", "anchor"], nulls_equal=True)
    begins = (pl.col("period_start") >= pl.col("window_start")) & (pl.col("period_start") < pl.col("window_end"))
    return met.filter(begins).select(columns)


def _earlier(subscriptions: pl.DataFrame, served: pl.DataFrame, dated: pl.DataFrame) -> pl.DataFrame:
    """SERVICE_PERIOD of the billing periods of the same items and windows that began before those of `served`."""
    first = dated.select(pl.col("window_start").min()).item()
    last = served.select(pl.col("period_start").max()).item()
    if first is None or first >= last:
        return served.clear()
    since: datetime = first
    own = subscriptions.join(served, on="subscription", how="semi")
    ended = service_periods(own, Due(since, last)).filter(pl.col("bills") == "all")
    spans = dated.group_by(_ITEM).agg(pl.col("window_start").min(), pl.col("period_start").max().alias("last_start"))
    within = ended.join(spans, on=_ITEM, validate="m:1").filter(
        pl.col("period_start") >= pl.col("window_start"), pl.col("period_start") < pl.col("last_start")
    )
    charged = usage_payers(served).select(*_ITEM, "from")
    return within.join(charged, on=[*_ITEM, "from"], how="anti").select(served.columns)
