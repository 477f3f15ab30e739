"""Which events a meter reads, and the value of each.

A meter of numbers counts an event when the event has at least one of the meter's properties, so an event that knows
nothing of cached tokens is not an event with zero cached tokens; an expression counts it where it is not null.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal

import polars as pl

from rating.core.book import Filter, Meter
from rating.core.expression import columns_of, event_value
from rating.core.prefixes import with_labels
from rating.core.schema import QUANTITY, SUBJECT_NUMBER, PropertyType, property_column

SUBJECT = "subject"
"""In `series_by`, the subject of the event."""

ONE = pl.lit(Decimal(1), dtype=QUANTITY)
NONE = pl.lit(Decimal(0), dtype=QUANTITY)


def declared_properties(meters: Iterable[Meter], sizes: Iterable[str] = ()) -> dict[str, PropertyType]:
    """The event properties that `meters` and the `sizes` of per-request prices read, and how each is typed."""
    declared: dict[str, PropertyType] = {}
    merely_there: set[str] = set()
    derived: set[str] = set()
    for meter in meters:
        derived |= {table.dimension for table in meter.prefixes}
        declared.update(dict.fromkeys((*meter.add, *meter.subtract), "number"))
        declared.update(columns_of(meter.expression) if meter.expression is not None else {})
        for rule in _rules(meter):
            if rule.operator in ("exists", "absent"):
                merely_there.add(rule.property)
            else:
                declared[rule.property] = "number" if rule.bound is not None else "string"
        declared.update((name, "number") for name in (meter.duration, meter.elapsed) if name is not None)
        texts = [*meter.group_by, *text_series(meter), *([meter.item] if meter.item is not None else [])]
        declared.update(dict.fromkeys((*texts, *(table.property for table in meter.prefixes)), "string"))
    declared.update(dict.fromkeys(sizes, "number"))
    known: dict[str, PropertyType] = {**dict.fromkeys(sorted(merely_there), "string"), **declared}
    return {name: kind for name, kind in known.items() if name not in derived}


def text_series(meter: Meter) -> list[str]:
    """The properties in `series_by`."""
    return [name for name in meter.series_by if name != SUBJECT]


def _rules(meter: Meter) -> list[Filter]:
    return [*meter.filters, *(rule for rules in meter.exclude for rule in rules), *meter.removed_when]


def adds_up(meter: Meter) -> bool:
    """Whether the quantities of two pieces of usage make the quantity of both."""
    together = {"count", "sum", "time_weighted", "weighted_sum", "rate_of_change"}
    return meter.aggregation in together and not (meter.aggregation == "sum" and meter.carried)


def unmetered_events(usage: pl.LazyFrame, meters: Iterable[Meter]) -> pl.LazyFrame:
    """Events of a type that no meter reads: one row a `type`, with the number of `events`."""
    known = sorted({meter.event_type for meter in meters})
    return usage.filter(~pl.col("type").is_in(known)).group_by("type").agg(events=pl.len().cast(pl.Int64))


def read(usage: pl.LazyFrame, meter: Meter) -> pl.LazyFrame:
    """The events of the meter's type that pass its filters, with its dimensions that are read off prefixes."""
    excluded = [~pl.all_horizontal(passes(rule) for rule in rules) for rules in meter.exclude]
    labelled = with_labels(usage.filter(pl.col("type") == meter.event_type), meter.prefixes)
    return labelled.filter(*map(passes, meter.filters), *excluded)


def passes(rule: Filter) -> pl.Expr:
    """Whether an event passes; never null."""
    column = pl.col(property_column(rule.property))
    if rule.operator in ("exists", "absent"):
        return column.is_not_null() if rule.operator == "exists" else column.is_null()
    if rule.operator in ("in", "not_in"):
        listed = column.is_in(list(rule.values)).fill_null(False)
        return listed if rule.operator == "in" else ~listed
    if rule.operator == "prefix":
        return pl.any_horizontal(column.str.starts_with(prefix) for prefix in rule.values).fill_null(False)
    return _RANGES[rule.operator](column, pl.lit(rule.bound, dtype=QUANTITY)).fill_null(False)


_RANGES: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "more_than": lambda column, bound: column > bound,
    "at_least": lambda column, bound: column >= bound,
    "less_than": lambda column, bound: column < bound,
    "at_most": lambda column, bound: column <= bound,
}


def counts(meter: Meter) -> pl.Expr:
    """Whether the meter counts an event that it reads."""
    if meter.item is not None:
        return pl.col(property_column(meter.item)).is_not_null()
    if meter.expression is not None:
        return event_value(meter.expression).is_not_null()
    if meter.aggregation == "count":
        return pl.col("type").is_not_null()
    return pl.any_horizontal(pl.col(property_column(p)).is_not_null() for p in (*meter.add, *meter.subtract))


def value_of(meter: Meter) -> pl.Expr:
    """The value of an event that the meter counts: 1 where it counts events or items, 0 where it takes an item away."""
    if meter.removed_when:
        return pl.when(pl.all_horizontal(map(passes, meter.removed_when))).then(NONE).otherwise(ONE)
    if meter.item is not None or meter.aggregation == "count":
        return ONE
    if meter.expression is not None:
        return event_value(meter.expression)
    return linear(meter, lambda name: pl.col(property_column(name)).fill_null(NONE))


def linear(meter: Meter, value: Callable[[str], pl.Expr]) -> pl.Expr:
    """`add` less `subtract`."""
    added = sum((value(p) for p in meter.add[1:]), start=value(meter.add[0]))
    return sum((-value(p) for p in meter.subtract), start=added)


def series_columns(meter: Meter) -> list[str]:
    """The columns that tell one gauge or counter of the meter from another, besides who pays."""
    names = [property_column(name) for name in sorted({*meter.group_by, *text_series(meter)})]
    return [*names, SUBJECT_NUMBER] if SUBJECT in meter.series_by else names


def readings(usage: pl.LazyFrame, meter: Meter, keep: Iterable[str] = ()) -> pl.LazyFrame:
    """One row an event that the meter counts: `time`, `sequence`, `value`, `item` (null unless it counts items) and
    `events` (1), with the columns `keep`. `usage` is USAGE_EVENT with the meter's properties as columns."""
    item = pl.col(property_column(meter.item)) if meter.item is not None else pl.lit(None, dtype=pl.String)
    columns = {"value": value_of(meter), "item": item, "events": pl.lit(1, dtype=pl.Int64)}
    return read(usage, meter).filter(counts(meter)).select(*keep, "time", "sequence", **columns)


def sequenced(rows: pl.LazyFrame, by: Iterable[str]) -> pl.LazyFrame:
    """Readings in the order in which they count, one key of `by` after another."""
    return rows.sort(*by, "time", "sequence", nulls_last=False)
