"""Which price and which rate usage pays: the price with the most matched dimensions, the rate in force at the event."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from rating.core.book import Meter, PriceBook, PriceShape
from rating.core.buckets import Boundaries, boundaries, clock_column, size_column, with_buckets
from rating.core.coverage import PAYER, with_payers
from rating.core.metering import metered_usage, summed_usage
from rating.core.money import grouped_sum
from rating.core.schema import QUANTITY, property_column

PRICED_USAGE = pl.Schema(
    {
        "subscription": pl.String(),
        "price": pl.String(),
        "rate": pl.Int32(),
        "meter": pl.String(),
        "group": pl.String(),  # JSON object of the dimensions that the price matches or is grouped by
        "size_from": QUANTITY,  # per_request: the lower edge of the size bucket; null for every other model
        "quantity": QUANTITY,
        "events": pl.Int64(),
    }
)
"""One row is the usage of one subscription that one rate prices, per group and, where it matters, per size bucket."""


@dataclass(frozen=True)
class Matched:
    """What a family's usage came to: PRICED_USAGE, and the rows that no price of the plan covers."""

    priced: list[pl.LazyFrame]
    unpriced: list[pl.LazyFrame]


def match_family(
    usage: pl.LazyFrame,
    family: Sequence[Meter],
    served: pl.DataFrame,
    book: PriceBook,
    bounds: tuple[datetime, datetime],
) -> Matched:
    """Meter `usage` (see `subscribed_usage`) once for a family of meters, and match what each has metered.

    Meters that no price of the book names are left out: they measure without charging.
    """
    named = {shape.meter for shape in book.shapes}
    charging = [meter for meter in family if meter.key in named]
    if not charging:
        return Matched([], [])
    edges = boundaries(book, {meter.key for meter in charging}, *bounds)
    dimensions = [*_columns(charging[0].group_by), *edges.columns]
    # collected here: left lazy, the events would be read and summed again for every meter (measured)
    summed = summed_usage(with_buckets(usage, edges), charging, [PAYER, *dimensions]).collect(engine="streaming")
    owned = summed.lazy().join(with_payers(served).lazy(), on=PAYER, validate="m:1")
    by = ["subscription", "plan", *dimensions]
    matches = [_match_meter(metered_usage(owned, meter, by), meter, book, edges) for meter in charging]
    return Matched([f for m in matches for f in m.priced], [f for m in matches for f in m.unpriced])


def _match_meter(metered: pl.LazyFrame, meter: Meter, book: PriceBook, edges: Boundaries) -> Matched:
    """Give each row to the most specific price that matches.

    Shapes are tried from the most matched dimensions to the fewest; what one takes, the next does not see.
    """
    shapes = sorted(
        (s for s in book.shapes if s.meter == meter.key), key=lambda s: (-len(s.match), s.match, s.group_by)
    )
    rest, priced, unpriced = metered, [], []
    for shape in shapes:
        keys = ["plan", *_columns(shape.match)]
        matched = rest.join(_match_keys(shape, book), on=keys, nulls_equal=True, validate="m:1")
        in_force = pl.col("version_from") >= pl.col("first_effective_from")
        priced.append(_price_shape(matched.filter(in_force), shape, book, edges))
        unpriced.append(_unpriced(matched.filter(~in_force), meter))
        rest = rest.join(_match_keys(shape, book), on=keys, how="anti", nulls_equal=True)
    return Matched(priced, [*unpriced, _unpriced(rest, meter)])


def _columns(dimensions: Sequence[str]) -> list[str]:
    return [property_column(d) for d in dimensions]


def _match_keys(shape: PriceShape, book: PriceBook) -> pl.LazyFrame:
    """The shape's prices under the usage's column names, with the instant from which each price has a rate."""
    first = book.rates.group_by("price").agg(first_effective_from=pl.col("effective_from").min())
    prices = shape.prices.join(first, on="price", validate="m:1")
    return prices.lazy().rename({d: property_column(d) for d in shape.match})


def _price_shape(matched: pl.LazyFrame, shape: PriceShape, book: PriceBook, edges: Boundaries) -> pl.LazyFrame:
    group = _group(sorted({*shape.match, *shape.group_by}))
    rated = matched.with_columns(group=group, meter=pl.lit(shape.meter)).pipe(_choose_rate, book, edges)
    by = [name for name in PRICED_USAGE if name not in ("quantity", "events")]
    return grouped_sum(rated, by, ["quantity"], pl.col("events").sum()).select(PRICED_USAGE.names())


def _group(dimensions: Sequence[str]) -> pl.Expr:
    """The dimensions' values as one JSON object, its keys in order."""
    columns = [pl.col(property_column(d)).alias(d) for d in dimensions]
    return pl.struct(columns).struct.json_encode() if columns else pl.lit("{}")


def _choose_rate(usage: pl.LazyFrame, book: PriceBook, edges: Boundaries) -> pl.LazyFrame:
    """Add `rate` and `size_from`: the version in force at the bucket, its window where the clock is in one."""
    rates = book.rates.lazy().select(
        "rate",
        "price",
        "effective_from",
        "effective_to",
        "window",
        "window_time_zone",
        "window_from",
        "window_to",
        "size",
    )
    in_force = (pl.col("version_from") >= pl.col("effective_from")) & (pl.col("version_from") < pl.col("effective_to"))
    candidates = usage.with_row_index("usage").join(rates, on="price").filter(in_force)
    if edges.clocks:
        in_window = pl.col("window").is_not_null()
        candidates = candidates.filter(~in_window | _clock_in_window(edges))
        candidates = candidates.filter(in_window | ~in_window.any().over("usage"))
    else:
        candidates = candidates.filter(pl.col("window").is_null())
    sizes = [pl.when(pl.col("size") == s).then(pl.col(size_column(s))) for s, _ in edges.sizes]
    size_from = pl.coalesce(sizes) if sizes else pl.lit(None)
    return candidates.with_columns(size_from=size_from.cast(QUANTITY))


def _clock_in_window(edges: Boundaries) -> pl.Expr:
    clock = pl.coalesce(pl.when(pl.col("window_time_zone") == z).then(pl.col(clock_column(z))) for z, _ in edges.clocks)
    after, before = clock >= pl.col("window_from"), clock < pl.col("window_to")
    return pl.when(pl.col("window_from") < pl.col("window_to")).then(after & before).otherwise(after | before)


def _unpriced(rest: pl.LazyFrame, meter: Meter) -> pl.LazyFrame:
    """One row a plan, meter and group values: the `quantity` and `events` that no price of the plan covers."""
    keyed = rest.filter(pl.col("quantity") != 0).with_columns(meter=pl.lit(meter.key), group=_group(meter.group_by))
    return grouped_sum(keyed, ["plan", "meter", "group"], ["quantity"], pl.col("events").sum())
