"""The events behind lines of meters that are no sum, with what each weighs in the quantity of its line.

| aggregation         | what decides                                                                          |
|---------------------|---------------------------------------------------------------------------------------|
| max, min            | the first event with the highest, the lowest value weighs all, the others nothing     |
| latest              | the last event                                                                        |
| percentile          | the event at that rank of all values                                                  |
| high_water_mark     | the event with which the level first stood at its mark                                |
| unique_count        | the first event of each value; where values are taken away again, its last event      |
| average             | each event its value                                                                  |

"First" and "last" are by time, then by acceptance. Levels and counters (time_weighted, weighted_sum, rate_of_change)
are made between events, and what is carried over from before the period by no event of it: their lines name none, and
neither do lines of prices that look at each day.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

import polars as pl

from rating.core.book import Meter, PriceBook
from rating.core.buckets import Boundaries, boundaries, with_buckets
from rating.core.event_lines import LINE_NUMBER, EventsOfLines, RunMade, found_lines
from rating.core.keys import numbered_keys
from rating.core.matching import level_of
from rating.core.metering import is_sum, readings
from rating.core.schema import PAYER, QUANTITY, property_column
from rating.core.service_periods import with_payers

_ONE, _NONE = pl.lit(1, dtype=QUANTITY), pl.lit(0, dtype=QUANTITY)


def events_of_readings(paid: pl.LazyFrame, run: RunMade, bounds: tuple[datetime, datetime]) -> Iterator[EventsOfLines]:
    """As `events_of_lines`, for meters of the table above; `quantity` is what the event weighs."""
    for meter in run.book.meters:
        if names_events(meter, run.book):
            edges = boundaries(run.book, {meter.key}, *bounds)
            yield _events_of(paid, meter, edges, run)


def names_events(meter: Meter, book: PriceBook) -> bool:
    """Whether the rated events of a meter's lines are known, though it is no sum."""
    is_priced = any(shape.meter == meter.key for shape in book.shapes)
    has_weights = not is_sum(meter) and meter.aggregation in _WEIGHTS and not meter.carried
    return is_priced and has_weights and level_of(meter, book) == "line"


def _events_of(paid: pl.LazyFrame, meter: Meter, edges: Boundaries, run: RunMade) -> EventsOfLines:
    others = [name for name in edges.columns if name != "version_from"]
    keys = [PAYER, *(property_column(name) for name in meter.group_by), *others]
    read = readings(with_buckets(paid, edges), meter, keys)
    rows = read.join(_last_version(run, edges), on=PAYER, validate="m:1").collect(engine="streaming")
    different, key = numbered_keys(rows, [*keys, "version_from"])
    found = found_lines(different, replace(meter, aggregation="sum"), edges, run)  # matched by what they are alone
    places = different.select("key").join(found, on="key", how="left", maintain_order="left")
    own = rows.select(places[LINE_NUMBER].gather(key), "time", "value", "item", event="sequence")
    ordered = own.drop_nulls(LINE_NUMBER).sort(LINE_NUMBER, "time", "event")
    weighed = ordered.with_columns(quantity=_WEIGHTS[meter.aggregation](meter).cast(QUANTITY))
    return EventsOfLines(meter, weighed.drop("value", "item"), found.select(LINE_NUMBER, "rate").unique())


def _last_version(run: RunMade, edges: Boundaries) -> pl.LazyFrame:
    """The version in force at the end of each payer's part of the period, which prices all of it."""
    last = with_payers(run.served).lazy().select(PAYER, time=pl.col("to") - timedelta(microseconds=1))
    return with_buckets(last, Boundaries(edges.versions, (), ())).select(PAYER, "version_from")


def _only_first(decides: pl.Expr) -> pl.Expr:
    """1 for the first row of each line that decides, 0 for the others."""
    is_first = decides & (decides.cast(pl.Int64).cum_sum().over(LINE_NUMBER) == 1)
    return pl.when(is_first).then(_ONE).otherwise(_NONE)


def _highest(meter: Meter) -> pl.Expr:
    return _only_first(pl.col("value") == pl.col("value").max().over(LINE_NUMBER))


def _lowest(meter: Meter) -> pl.Expr:
    return _only_first(pl.col("value") == pl.col("value").min().over(LINE_NUMBER))


def _last(meter: Meter) -> pl.Expr:
    place, count = pl.int_range(pl.len()).over(LINE_NUMBER), pl.len().over(LINE_NUMBER)
    return pl.when(place == count - 1).then(_ONE).otherwise(_NONE)


def _at_rank(meter: Meter) -> pl.Expr:
    assert meter.percentile is not None, "a percentile meter says which"
    share = Fraction(meter.percentile) / 100
    rank = pl.col("value").rank("ordinal").over(LINE_NUMBER).cast(pl.Int64)
    count = pl.len().over(LINE_NUMBER).cast(pl.Int64)
    wanted = (count * share.numerator + share.denominator - 1) // share.denominator
    return pl.when(rank == wanted).then(_ONE).otherwise(_NONE)


def _at_mark(meter: Meter) -> pl.Expr:
    level = pl.col("value").cum_sum().over(LINE_NUMBER)
    return _only_first((level == level.max().over(LINE_NUMBER)) & (level > 0))


def _counted(meter: Meter) -> pl.Expr:
    each = [LINE_NUMBER, "item"]
    place, count = pl.int_range(pl.len()).over(each), pl.len().over(each)
    decides = place == count - 1 if meter.removed_when else place == 0
    return pl.when(decides).then("value").otherwise(_NONE)


def _value(meter: Meter) -> pl.Expr:
    return pl.col("value")


_WEIGHTS: dict[str, Callable[[Meter], pl.Expr]] = {
    "max": _highest,
    "min": _lowest,
    "latest": _last,
    "percentile": _at_rank,
    "high_water_mark": _at_mark,
    "unique_count": _counted,
    "average": _value,
}
