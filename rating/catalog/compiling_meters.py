"""A meter of a catalog to the meter that the core reads."""

from collections.abc import Sequence
from fractions import Fraction

from rating.catalog.meters import Filter, Meter, bounds, is_carried, text_properties, unit_of_time
from rating.catalog.sql import parsed_expression
from rating.core import book
from rating.core.prefixes import PrefixTable

MICROSECONDS = {"second": 10**6, "minute": 60 * 10**6, "hour": 3600 * 10**6, "day": 86400 * 10**6}


def compiled_meter(key: str, meter: Meter, tables: Sequence[PrefixTable] = ()) -> book.Meter:
    """The meter of a catalog that has passed its checks; `tables` are those of the catalog."""
    counts_items = meter.aggregation == "unique_count"
    value = [meter.property] if meter.property is not None and not counts_items else []
    timed = meter.aggregation in ("time_weighted", "weighted_sum")
    return book.Meter(
        key=key,
        event_type=meter.event_type,
        aggregation=meter.aggregation,
        add=tuple(sorted([*value, *meter.add])),
        subtract=tuple(sorted(meter.subtract)),
        filters=_filters(meter.filters),
        group_by=tuple(sorted(meter.group_by)),
        exclude=tuple(sorted(map(_filters, meter.exclude), key=repr)),
        expression=parsed_expression(meter.expression, meter.properties) if meter.expression is not None else None,
        item=meter.property if counts_items else None,
        removed_when=_filters((meter.removed_when,)) if meter.removed_when is not None else (),
        percentile=meter.percentile,
        series_by=tuple(sorted(meter.series_by)),
        carried=is_carried(meter),
        of_period=timed and unit_of_time(meter) == "period",
        conversion=conversion(meter),
        prefixes=tuple(table for table in tables if table.dimension in text_properties(meter)),
        duration=meter.duration,
        elapsed=meter.elapsed,
    )


def conversion(meter: Meter) -> book.Conversion:
    """Factor, divisor and unit of time as one ratio of whole numbers, and how it is rounded."""
    ratio = Fraction(meter.factor) / Fraction(meter.divide_by)
    if meter.aggregation in ("time_weighted", "weighted_sum"):
        ratio /= MICROSECONDS.get(unit_of_time(meter), 1)
    if meter.rounding is None:
        return book.Conversion(ratio.numerator, ratio.denominator)
    return book.Conversion(ratio.numerator, ratio.denominator, meter.rounding.mode, meter.rounding.decimals)


def _filters(rules: tuple[Filter, ...]) -> tuple[book.Filter, ...]:
    """The rules in one order; each bound of a range is a rule of its own."""
    return tuple(sorted((made for rule in rules for made in _filter(rule)), key=repr))


def _filter(rule: Filter) -> list[book.Filter]:
    name = rule.property
    if given := bounds(rule):
        return [book.Filter(name, bound, (), number) for bound, number in given.items()]  # type: ignore[arg-type]
    if rule.exists is not None:
        return [book.Filter(name, "exists" if rule.exists else "absent")]
    if rule.prefix is not None:
        return [book.Filter(name, "prefix", (rule.prefix,))]
    if rule.not_in is not None:
        return [book.Filter(name, "not_in", tuple(sorted(rule.not_in)))]
    values = rule.in_ if rule.in_ is not None else (rule.equals,)
    return [book.Filter(name, "in", tuple(sorted(value for value in values if value is not None)))]
