"""Meters as a catalog file writes them: which events, what of them, how it is put together, in which unit."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from rating.catalog.literals import (
    SECTION,
    PositiveQuantity,
    PropertyName,
    PropertyNames,
    SomeNames,
    decimal_text,
    read_signed_quantity,
    refusal,
)
from rating.catalog.part import Part
from rating.core.book import Aggregation
from rating.core.schema import PropertyType

Bound = Annotated[
    Decimal,
    PlainValidator(read_signed_quantity),
    PlainSerializer(decimal_text, return_type=str),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$"}, {"type": "integer"}]}),
]


def _read_decimals(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -9 <= value <= 9:
        raise refusal("Decimals must be a whole number from -9 to 9.", "Write 0 for whole units, -3 for thousands.")
    return value


Decimals = Annotated[
    int, PlainValidator(_read_decimals), WithJsonSchema({"type": "integer", "minimum": -9, "maximum": 9, "default": 0})
]


class Filter(Part):
    """Keeps an event by one of its properties. One of `in`, `not_in`, `equals`, `prefix` and `exists` is given, or a
    range: at most one lower and one upper bound."""

    property: PropertyName
    """The property of the event to look at: text, or a number for a range."""
    in_: SomeNames | None = Field(None, alias="in")
    """Keep an event whose property is one of these."""
    not_in: SomeNames | None = None
    """Keep an event whose property is none of these, also when it has no such property."""
    equals: str | None = None
    """Keep an event whose property is this."""
    prefix: str | None = Field(None, min_length=1)
    """Keep an event whose property begins so."""
    exists: bool | None = None
    """Keep an event that has the property, or, where this is false, one that has it not."""
    more_than: Bound | None = None
    """Keep an event whose number is above this."""
    at_least: Bound | None = None
    """Keep an event whose number is this or above."""
    less_than: Bound | None = None
    """Keep an event whose number is below this."""
    at_most: Bound | None = None
    """Keep an event whose number is this or below."""


class QuantityRounding(Part):
    """How a metered quantity is rounded, once, after everything is put together and converted."""

    mode: Literal["up", "down", "half_away_from_zero", "half_even", "ceiling", "floor"]
    """`up` is away from zero, `down` toward zero; `ceiling` and `floor` go to the next higher and lower number."""
    decimals: Decimals = 0
    """The decimals that are kept; negative for tens, hundreds and so on."""


class Meter(Part):
    """The rule that turns usage events of one type into a quantity."""

    event_type: str = Field(min_length=1, examples=["llm.request"])
    """The `type` of the events that are metered."""
    aggregation: Aggregation
    """How the values of the events become one quantity: see docs/catalog.md."""
    property: PropertyName | None = None
    """The property that gives an event its value: a number; text for `unique_count`. Not used by `count`."""
    add: PropertyNames = ()
    """Further numeric properties to add, event by event, an absent property being zero."""
    subtract: PropertyNames = ()
    """Numeric properties to take off, event by event."""
    expression: str | None = Field(None, min_length=1, max_length=2000)
    """The value of an event as a SQL expression over `properties`, in place of `property`, `add` and `subtract`."""
    properties: Annotated[dict[PropertyName, PropertyType], SECTION] = Field(default={})
    """The properties that `expression` reads, and whether each is a `number` or a `string`."""
    filters: tuple[Filter, ...] = ()
    """Events must pass every filter to be metered."""
    exclude: tuple[Annotated[tuple[Filter, ...], Field(min_length=1)], ...] = ()
    """Lists of filters; an event that passes every filter of one of the lists is not metered."""
    group_by: PropertyNames = ()
    """The dimensions of the meter: properties by which usage can be told apart, matched and priced."""
    removed_when: Filter | None = None
    """`unique_count`: the events that take a value away instead of adding it."""
    percentile: PositiveQuantity | None = None
    """`percentile`: which one, above 0 and at most 100."""
    series_by: PropertyNames = ()
    """`time_weighted` and `rate_of_change`: what tells one gauge or counter from another besides `group_by`; `subject`
    is the event's subject."""
    time_unit: Literal["second", "minute", "hour", "day", "period"] | None = None
    """`time_weighted` and `weighted_sum`: the unit of time that levels are multiplied by (a day has 24 hours); `period`
    is the billing period, which makes the quantity an average. `hour` unless given, `period` for `weighted_sum`."""
    carried: bool | None = None
    """Whether what was before the period counts on. True unless given for `time_weighted` and `rate_of_change`."""
    factor: PositiveQuantity = Decimal(1)
    """The metered quantity is multiplied by this ..."""
    divide_by: PositiveQuantity = Decimal(1)
    """... and divided by this: 1000000000 makes gigabytes of bytes."""
    duration: PropertyName | None = None
    """`count` and `sum`: the property with the seconds that an event lasts from its `time` on. Such an event is cut
    where another band or version begins to hold, its quantity in proportion; without it an event pays what holds at its
    time."""
    elapsed: PropertyName | None = None
    """`count` and `sum`: the property with the quantity that earlier events have reported of the same call."""
    rounding: QuantityRounding | None = None
    """How the quantity is rounded; 9 decimals, half even, unless given."""


CARRIED_UNLESS_SAID: tuple[Aggregation, ...] = ("time_weighted", "rate_of_change")


def bounds(rule: Filter) -> dict[str, Decimal]:
    """The bounds of a filter's range by their names."""
    named = {name: getattr(rule, name) for name in ("more_than", "at_least", "less_than", "at_most")}
    return {name: bound for name, bound in named.items() if bound is not None}


def is_carried(meter: Meter) -> bool:
    """`carried`, with what it is unless given."""
    return meter.aggregation in CARRIED_UNLESS_SAID if meter.carried is None else meter.carried


def unit_of_time(meter: Meter) -> str:
    """`time_unit`, with what it is unless given."""
    return meter.time_unit or ("period" if meter.aggregation == "weighted_sum" else "hour")


def numeric_properties(meter: Meter) -> list[str]:
    """The properties that a meter needs as numbers."""
    value = [meter.property] if meter.property is not None and meter.aggregation != "unique_count" else []
    ranges = [rule.property for rule in all_filters(meter) if bounds(rule)]
    in_expression = [name for name, kind in meter.properties.items() if kind == "number"]
    lasting = [name for name in (meter.duration, meter.elapsed) if name is not None]
    return [*value, *meter.add, *meter.subtract, *ranges, *in_expression, *lasting]


def text_properties(meter: Meter) -> list[str]:
    """The properties that a meter compares or groups by."""
    item = [meter.property] if meter.property is not None and meter.aggregation == "unique_count" else []
    compared = [rule.property for rule in all_filters(meter) if not bounds(rule) and rule.exists is None]
    series = [name for name in meter.series_by if name != "subject"]
    in_expression = [name for name, kind in meter.properties.items() if kind == "string"]
    return [*item, *compared, *meter.group_by, *series, *in_expression]


def looked_for_properties(meter: Meter) -> list[str]:
    """The properties that only need to be there: text, unless something else needs them as numbers."""
    return [rule.property for rule in all_filters(meter) if rule.exists is not None]


def all_filters(meter: Meter) -> list[Filter]:
    """Every filter of the meter, wherever it stands."""
    removal = [meter.removed_when] if meter.removed_when is not None else []
    return [*meter.filters, *(rule for rules in meter.exclude for rule in rules), *removal]
