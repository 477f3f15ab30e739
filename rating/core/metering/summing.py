"""Count and sum: the meters whose usage is summed in one pass over the events, whatever number of them there is."""

from collections.abc import Iterable, Sequence

import polars as pl

from rating.core.book import Meter
from rating.core.expression import event_value
from rating.core.keys import sums_by_number_and_text
from rating.core.metering.converting import converted
from rating.core.metering.reading import adds_up, counts, linear, read, value_of
from rating.core.schema import QUANTITY, property_column


def is_sum(meter: Meter) -> bool:
    """Whether this module meters it."""
    return meter.aggregation in ("count", "sum") and adds_up(meter)


def families(meters: Iterable[Meter]) -> list[tuple[Meter, ...]]:
    """The meters of counts and sums by what they read: those of one family look at the same events and group alike."""
    found: dict[tuple[object, ...], list[Meter]] = {}
    for meter in filter(is_sum, meters):
        events = (meter.event_type, meter.filters, meter.exclude, meter.duration, meter.elapsed)
        read = (*events, meter.prefixes, meter.group_by)
        found.setdefault(read, []).append(meter)
    return [tuple(family) for family in found.values()]


def metered_events(usage: pl.LazyFrame, meter: Meter) -> pl.LazyFrame:
    """The events that `meter` counts, each with its `quantity`, before any conversion.

    `usage` is USAGE_EVENT with the meter's properties as columns. One row in is at most one row out.
    """
    return read(usage, meter).filter(counts(meter)).with_columns(quantity=value_of(meter))


def summed_usage(usage: pl.LazyFrame, family: Sequence[Meter], by: Sequence[str]) -> pl.LazyFrame:
    """One row for each distinct value of the columns `by`: what the meters of `family` need, summed in one pass.

    Each property is summed once for all meters. Admission bounds a property by 10^15, so a sum cannot leave
    Decimal(38, 9) below 10^14 events and needs no check.
    """
    return read(usage, family[0]).group_by(by).agg(*_sums(family))


def summed_by_number(usage: pl.LazyFrame, family: Sequence[Meter], number: str, by: Sequence[str]) -> pl.LazyFrame:
    """`summed_usage` for each value of the integer column `number` and of the columns `by`."""
    dimensions = {property_column(name) for meter in family for name in meter.group_by}
    if len(by) == 1 and by[0] in dimensions:
        return sums_by_number_and_text(read(usage, family[0]), number, by[0], _sums(family))
    return summed_usage(usage, family, [number, *by])


def rolled_up(summed: pl.LazyFrame, family: Sequence[Meter], by: Sequence[str]) -> pl.LazyFrame:
    """`summed_usage` of a family summed once more, by fewer columns."""
    properties = [property_column(name) for name in _summed_properties(family)]
    computed = [_computed(meter) for meter in family if meter.expression is not None]
    return summed.group_by(by).agg(pl.col(*properties, *computed, *map(_events, family)).sum())


def totals_of(summed: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    """One row for each value of `by` that `meter` has usage for: its `quantity`, before any conversion, and the number
    of `events` behind it.

    `summed` is the `summed_usage` of a family that the meter is in: a sum meter adds and subtracts its sums.
    """
    columns = {"quantity": _summed_quantity(meter), "events": pl.col(_events(meter))}
    return summed.select(*by, **columns).filter(pl.col("events") > 0)


def metered_usage(summed: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    """The same with the metered quantity, converted and rounded."""
    return converted(totals_of(summed, meter, by), meter)


def _sums(family: Sequence[Meter]) -> list[pl.Expr]:
    properties = map(property_column, _summed_properties(family))
    computed = [
        event_value(meter.expression).sum().alias(_computed(meter)) for meter in family if meter.expression is not None
    ]
    events = [_counted(meter).cast(pl.Int64).alias(_events(meter)) for meter in family]
    return [*[pl.col(p).sum() for p in properties], *computed, *events]


def _counted(meter: Meter) -> pl.Expr:
    """How many of the events that the meter reads it counts: without a sum of booleans where it can be."""
    properties = [*meter.add, *meter.subtract]
    if meter.expression is None and meter.aggregation == "count":
        return pl.len()
    if meter.expression is None and len(properties) == 1:
        return pl.col(property_column(properties[0])).count()
    return counts(meter).sum()


def _summed_properties(family: Iterable[Meter]) -> list[str]:
    return sorted({name for meter in family for name in (*meter.add, *meter.subtract)})


def _events(meter: Meter) -> str:
    return f"events:{meter.key}"


def _computed(meter: Meter) -> str:
    return f"computed:{meter.key}"


def _summed_quantity(meter: Meter) -> pl.Expr:
    if meter.aggregation == "count":
        return pl.col(_events(meter)).cast(QUANTITY)
    if meter.expression is not None:
        return pl.col(_computed(meter))
    return linear(meter, lambda p: pl.col(property_column(p)))
