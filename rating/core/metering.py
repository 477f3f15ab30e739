"""Metering: from usage events to quantities. Rating, usage queries and quotas all count through this module.

A sum meter counts an event when the event has at least one of the meter's properties, so an event that knows nothing
of cached tokens is not an event with zero cached tokens.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

import polars as pl

from rating.core.book import Filter, Meter
from rating.core.schema import QUANTITY, PropertyType, property_column


def declared_properties(meters: Iterable[Meter], sizes: Iterable[str] = ()) -> dict[str, PropertyType]:
    """The event properties that `meters` and the `sizes` of per-request prices read, and how each is typed."""
    declared: dict[str, PropertyType] = {}
    for meter in meters:
        declared.update(dict.fromkeys((*meter.add, *meter.subtract), "number"))
        declared.update(dict.fromkeys((f.property for f in meter.filters), "string"))
        declared.update(dict.fromkeys(meter.group_by, "string"))
    declared.update(dict.fromkeys(sizes, "number"))
    return declared


def families(meters: Iterable[Meter]) -> list[tuple[Meter, ...]]:
    """The meters by what they read: those of one family look at the same events and group them alike."""
    found: dict[tuple[object, ...], list[Meter]] = {}
    for meter in meters:
        found.setdefault((meter.event_type, meter.filters, meter.group_by), []).append(meter)
    return [tuple(family) for family in found.values()]


def metered_events(usage: pl.LazyFrame, meter: Meter) -> pl.LazyFrame:
    """The events that `meter` counts, each with its `quantity`.

    `usage` is USAGE_EVENT with the meter's properties as columns. One row in is at most one row out.
    """
    return _read(usage, meter).filter(_counts(meter)).with_columns(quantity=_event_quantity(meter))


def summed_usage(usage: pl.LazyFrame, family: Sequence[Meter], by: Sequence[str]) -> pl.LazyFrame:
    """One row for each distinct value of the columns `by`: what the meters of `family` need, summed in one pass.

    Each property is summed once for all meters. Admission bounds a property by 10^15, so a sum cannot leave
    Decimal(38, 9) below 10^14 events and needs no check.
    """
    properties = sorted({property_column(p) for meter in family for p in (*meter.add, *meter.subtract)})
    counts = [_counts(meter).sum().cast(pl.Int64).alias(_events(meter)) for meter in family]
    return _read(usage, family[0]).group_by(by).agg(*[pl.col(p).sum() for p in properties], *counts)


def metered_usage(summed: pl.LazyFrame, meter: Meter, by: Sequence[str]) -> pl.LazyFrame:
    """One row for each value of `by` that `meter` has usage for: its `quantity` and the number of `events` behind it.

    `summed` is the `summed_usage` of a family that the meter is in: a sum meter adds and subtracts its sums.
    """
    columns = {"quantity": _summed_quantity(meter), "events": pl.col(_events(meter))}
    return summed.select(*by, **columns).filter(pl.col("events") > 0)


def unmetered_events(usage: pl.LazyFrame, meters: Iterable[Meter]) -> pl.LazyFrame:
    """Events of a type that no meter reads: one row a `type`, with the number of `events`."""
    known = sorted({meter.event_type for meter in meters})
    return usage.filter(~pl.col("type").is_in(known)).group_by("type").agg(events=pl.len().cast(pl.Int64))


def _events(meter: Meter) -> str:
    return f"events:{meter.key}"


def _read(usage: pl.LazyFrame, meter: Meter) -> pl.LazyFrame:
    return usage.filter(pl.col("type") == meter.event_type, *(_passes(f) for f in meter.filters))


def _passes(rule: Filter) -> pl.Expr:
    listed = pl.col(property_column(rule.property)).is_in(list(rule.values)).fill_null(False)
    return listed if rule.operator == "in" else ~listed


def _counts(meter: Meter) -> pl.Expr:
    """Whether the meter counts an event that it reads."""
    if meter.aggregation == "count":
        return pl.col("type").is_not_null()
    return pl.any_horizontal(pl.col(property_column(p)).is_not_null() for p in (*meter.add, *meter.subtract))


def _event_quantity(meter: Meter) -> pl.Expr:
    if meter.aggregation == "count":
        return pl.lit(Decimal(1), dtype=QUANTITY)
    return _linear(meter, lambda p: pl.col(property_column(p)).fill_null(pl.lit(Decimal(0), dtype=QUANTITY)))


def _summed_quantity(meter: Meter) -> pl.Expr:
    if meter.aggregation == "count":
        return pl.col(_events(meter)).cast(QUANTITY)
    return _linear(meter, lambda p: pl.col(property_column(p)))


def _linear(meter: Meter, value: Callable[[str], pl.Expr]) -> pl.Expr:
    added = sum((value(p) for p in meter.add[1:]), start=value(meter.add[0]))
    return sum((-value(p) for p in meter.subtract), start=added)
