"""Which price and which rate usage pays: the price with the most matched dimensions, the rate in force at the event."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from rating.core.bands import rates_in_force
from rating.core.bands_split import lasts, longest, split
from rating.core.book import Level, Meter, PriceBook, PriceShape, of_book
from rating.core.buckets import Boundaries, boundaries, clock_column, day_column, instants, size_column, with_buckets
from rating.core.coverage import period_lengths, with_day
from rating.core.metering import adds_up, converted, is_exact, measured, metered_events
from rating.core.money import grouped_sum
from rating.core.operators.weight import BEGINS
from rating.core.schema import INSTANT, PAYER, QUANTITY, property_column
from rating.core.service_periods import with_payers

PRICED_USAGE = pl.Schema(
    {
        PAYER: pl.UInt32(),
        "price": pl.String(),
        "rate": pl.Int32(),
        "meter": pl.String(),
        "group": pl.String(),  # JSON object of the dimensions that the price matches or is grouped by
        "size_from": QUANTITY,  # cliff: the lower edge of the size bucket; null for every other tier mode
        "day": pl.Date(),  # in the customer's time zone, where each day is rated alone; null elsewhere
        "event": pl.Int64(),  # its sequence, where each event is rated alone; null elsewhere
        "time": INSTANT,  # of that event
        "quantity": QUANTITY,
        "events": pl.Int64(),
    }
)
"""One row is the usage of one payer that one rate prices, per group and, where it matters, per size bucket, day
or event. Events bring along the properties that their chain reads (`carried_properties`)."""


_FINE = ("day", "event", "time")


@dataclass(frozen=True)
class Matched:
    """What a family's usage came to: PRICED_USAGE, and the rows that no price of the plan covers."""

    priced: list[pl.LazyFrame]
    unpriced: list[pl.LazyFrame]


def match_events(
    usage: pl.LazyFrame,
    meters: Iterable[Meter],
    served: pl.DataFrame,
    book: PriceBook,
    bounds: tuple[datetime, datetime],
) -> list[Matched]:
    """What each of `meters` has metered, event by event, matched with its prices. `usage` is `subscribed_usage`."""
    matches = []
    for meter in meters:
        start, end = bounds[0], bounds[1] + longest(usage, meter)
        edges = boundaries(book, {meter.key}, start, end)
        cuts = instants(edges, (), start, end) if lasts(meter) else []
        each = _each_event(with_buckets(usage, edges), meter, served, edges, cuts)
        matches.append(match_meter(each, meter, book, edges, served))
    return matches


def needs_events(meter: Meter, book: PriceBook) -> bool:
    """Whether usage of the meter has to be looked at event by event."""
    return lasts(meter) or level_of(meter, book) == "event"


def level_of(meter: Meter, book: PriceBook) -> Level:
    """The finest level at which some price of the meter needs its usage."""
    return _level_of(book, meter.key)


@of_book
def _level_of(book: PriceBook, meter: str) -> Level:
    prices = [shape.prices["price"] for shape in book.shapes if shape.meter == meter]
    chains = book.rates.filter(pl.col("price").is_in(pl.concat(prices).implode()))["chain"].unique()
    levels = {book.chains[chain].level for chain in chains}
    return next(level for level in ("event", "day", "line") if level in levels)


def _each_event(
    usage: pl.LazyFrame, meter: Meter, served: pl.DataFrame, edges: Boundaries, cuts: Sequence[datetime]
) -> pl.LazyFrame:
    """The same with one row an event, or a part of one that lasts: its `event` (sequence), `time` and `day`."""
    events = metered_events(with_day(usage, served), meter)
    owned = events.join(with_payers(served).lazy(), on=PAYER, validate="m:1")
    each = owned.with_columns(event=pl.col("sequence"), events=pl.lit(1, dtype=pl.Int64))
    return with_buckets(split(each, meter, cuts), edges) if lasts(meter) else each


def match_meter(
    metered: pl.LazyFrame, meter: Meter, book: PriceBook, edges: Boundaries, served: pl.DataFrame
) -> Matched:
    """Give each row to the most specific price that matches, and make the metered quantity of what each line is given.

    `metered` has the `quantity` of a meter that adds up, else readings. Shapes are tried from the most matched
    dimensions to the fewest; what one takes, the next does not see.
    """
    rest, priced, unpriced = metered, [], []
    for shape, prices in _matching(book, meter.key):
        keys = ["plan", *_columns(shape.match)]
        matched = rest.join(prices.lazy(), on=keys, nulls_equal=True, validate="m:1")
        if (prices["first_effective_from"] > edges.versions[0]).any():  # else each has a rate for all of the usage
            in_force = pl.col("version_from") >= pl.col("first_effective_from")
            unpriced.append(_unpriced(matched.filter(~in_force), meter, served))
            matched = matched.filter(in_force)
        priced.append(_price_shape(matched, shape, meter, book, edges, served))
        rest = rest.join(prices.lazy(), on=keys, how="anti", nulls_equal=True)
    return Matched(priced, [*unpriced, _unpriced(rest, meter, served)])


@of_book
def _matching(book: PriceBook, meter: str) -> list[tuple[PriceShape, pl.DataFrame]]:
    """The shapes of a meter in the order in which they are tried, with their `_match_keys`."""
    shapes = [shape for shape in book.shapes if shape.meter == meter]
    ordered = sorted(shapes, key=lambda shape: (-len(shape.match), shape.match, shape.group_by))
    return [(shape, _match_keys(shape, book)) for shape in ordered]


def _columns(dimensions: Sequence[str]) -> list[str]:
    return [property_column(d) for d in dimensions]


def _match_keys(shape: PriceShape, book: PriceBook) -> pl.DataFrame:
    """The shape's prices under the usage's column names, with the instant from which each price has a rate."""
    first = book.rates.group_by("price").agg(first_effective_from=pl.col("effective_from").min())
    prices = shape.prices.join(first, on="price", validate="m:1")
    return prices.rename({d: property_column(d) for d in shape.match})


def _price_shape(
    matched: pl.LazyFrame, shape: PriceShape, meter: Meter, book: PriceBook, edges: Boundaries, served: pl.DataFrame
) -> pl.LazyFrame:
    group = _group(sorted({*shape.match, *shape.group_by}))
    rated = matched.with_columns(group=group, meter=pl.lit(shape.meter)).pipe(_choose_rate, book, edges)
    return _at_levels(rated, meter, book, served)


def _at_levels(rated: pl.LazyFrame, meter: Meter, book: PriceBook, served: pl.DataFrame) -> pl.LazyFrame:
    """PRICED_USAGE: usage summed as far as the chain of its rate lets it."""
    columns = rated.collect_schema()
    absent = [pl.lit(None, dtype=PRICED_USAGE[name]).alias(name) for name in _FINE if name not in columns]
    fine = rated.with_columns(absent)
    has_days = _chain_is(book, "day")
    by = [name for name in PRICED_USAGE if name not in ("event", "time", "quantity", "events")]
    coarse = fine.filter(~_chain_is(book, "event")).with_columns(pl.when(has_days).then(pl.col("day")))
    gathered = _gathered(coarse, meter, by, served).with_columns(
        event=pl.lit(None, dtype=pl.Int64), time=pl.lit(None, dtype=INSTANT)
    )
    summed = gathered.select(PRICED_USAGE.names())
    if "event" not in columns:
        return summed
    carried = [name for name in (*carried_properties(book), BEGINS) if name in columns]
    each = converted(fine.filter(_chain_is(book, "event")), meter).select(*PRICED_USAGE, *carried)
    return pl.concat([summed, each], how="diagonal")


def _gathered(rows: pl.LazyFrame, meter: Meter, by: Sequence[str], served: pl.DataFrame) -> pl.LazyFrame:
    """One row for each value of `by`: its metered `quantity` and `events`."""
    if adds_up(meter):
        gathered = grouped_sum(rows, by, ["quantity"], pl.col("events").sum())
    else:
        gathered = measured(rows, meter, by)
    if meter.of_period:
        gathered = gathered.join(period_lengths(served).lazy(), on=PAYER, validate="m:1")
    return converted(gathered, meter)


@of_book
def carried_properties(book: PriceBook) -> list[str]:
    """The usage columns that steps of chains read of each event."""
    steps = [step for chain in book.chains for step in (*chain.before, *chain.after)]
    return sorted({property_column(step.property) for step in steps if step.property is not None})


def _chain_is(book: PriceBook, level: Level) -> pl.Expr:
    return pl.col("chain").is_in([place for place, chain in enumerate(book.chains) if chain.level == level])


def _group(dimensions: Sequence[str]) -> pl.Expr:
    """The dimensions' values as one JSON object, its keys in order."""
    columns = [pl.col(property_column(d)).alias(d) for d in dimensions]
    return pl.struct(columns).struct.json_encode() if columns else pl.lit("{}")


def _choose_rate(usage: pl.LazyFrame, book: PriceBook, edges: Boundaries) -> pl.LazyFrame:
    """Add `rate`, `chain` and `size_from`: of the version in force at the bucket, the band that holds there if any."""
    in_force = (pl.col("version_from") >= pl.col("effective_from")) & (pl.col("version_from") < pl.col("effective_to"))
    chosen = usage.join(_versions(book).lazy(), on=["price", "cell"]).filter(in_force)
    if edges.clocks:
        banded = _in_band(chosen.drop(_OF_RATE), book, edges)
        chosen = banded.join(book.rates.lazy().select("rate", *_OF_RATE), on="rate", validate="m:1")
    sizes = [pl.when(pl.col("size") == s).then(pl.col(size_column(s))) for s, _ in edges.sizes]
    size_from = pl.coalesce(sizes) if sizes else pl.lit(None)
    return chosen.with_columns(size_from=size_from.cast(QUANTITY))


_OF_RATE = ["chain", "size"]


@of_book
def _versions(book: PriceBook) -> pl.DataFrame:
    """The rates outside the bands, and when each is in force."""
    outside = book.rates.filter(pl.col("window").is_null())
    return outside.select("rate", "price", "cell", "effective_from", "effective_to", *_OF_RATE)


def _in_band(chosen: pl.LazyFrame, book: PriceBook, edges: Boundaries) -> pl.LazyFrame:
    """The `rate` of the band that holds, where one does. All bands of a version are in one time zone."""
    bands = rates_in_force(book.bands, edges.clocks, edges.days)
    zones = bands.select("base", "zone").unique().lazy()
    zoned = chosen.join(zones, left_on="rate", right_on="base", how="left", validate="m:1")
    class_of = {d.zone: pl.col(day_column(d.zone)) if d.tells_apart else pl.lit(0) for d in edges.days}
    bucketed = zoned.with_columns(
        clock_from=pl.coalesce(pl.when(pl.col("zone") == z).then(pl.col(clock_column(z))) for z, _ in edges.clocks),
        day_class=pl.coalesce(pl.when(pl.col("zone") == z).then(class_of[z]) for z, _ in edges.clocks).cast(pl.Int32),
    )
    keys, of_band = ["rate", "clock_from", "day_class"], ["base", "clock_from", "day_class"]
    held = bucketed.join(bands.lazy().drop("zone"), left_on=keys, right_on=of_band, how="left", validate="m:1")
    return held.with_columns(rate=pl.coalesce("rate_in_force", "rate")).drop("rate_in_force", "zone")


def _unpriced(rest: pl.LazyFrame, meter: Meter, served: pl.DataFrame) -> pl.LazyFrame:
    """One row a plan, meter and group values: the `quantity` and `events` that no price of the plan covers."""
    used = rest.filter(pl.col("quantity") != 0) if adds_up(meter) else rest
    values = _columns(meter.group_by)
    each = [] if adds_up(meter) and is_exact(meter) else [PAYER]  # what is rounded is rounded for each payer
    gathered = _gathered(used, meter, ["plan", *each, *values], served)
    sums = grouped_sum(gathered, ["plan", *values], ["quantity"], pl.col("events").sum()) if each else gathered
    named = sums.with_columns(meter=pl.lit(meter.key), group=_group(meter.group_by))
    return named.select("plan", "meter", "group", "quantity", "events")
