"""The checks of meters: that each says all its aggregation needs and nothing else, and is priced and limited by what
can be done with its quantity."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from rating.catalog.charge import Charge
from rating.catalog.compiling_meters import compiled_meter
from rating.catalog.meters import Filter, Meter, bounds, is_carried
from rating.catalog.model import Catalog
from rating.catalog.parts import Cell, Version
from rating.catalog.presets import FeePrice, UsagePrice
from rating.catalog.problems import Problem, listed, show
from rating.catalog.sql import parsed_expression
from rating.core.expression import WrongExpression

LEVELS = ("time_weighted", "weighted_sum")
SERIES = ("time_weighted", "rate_of_change")
CARRIED = ("sum", "min", "max", "latest", "unique_count", "high_water_mark", *LEVELS, "rate_of_change")

_USED_BY: dict[str, tuple[str, ...]] = {
    "percentile": ("percentile",),
    "removed_when": ("unique_count",),
    "series_by": SERIES,
    "time_unit": LEVELS,
    "carried": CARRIED,
}
"""The aggregations that have something to do with a field."""


def check_meters(catalog: Catalog) -> Iterator[Problem]:
    """The problems of every meter with itself."""
    for key, meter in catalog.meters.items():
        path = f"meters.{key}"
        yield from _check_value(path, meter)
        yield from _check_fields(path, meter)
        yield from _check_filters(path, meter)


def not_event_by_event(meter: Meter) -> str:
    """Why the quantity of the meter is not the sum of what its events are; nothing where it is."""
    if meter.aggregation not in ("count", "sum"):
        return f"has the aggregation `{meter.aggregation}`"
    if is_carried(meter):
        return "carries usage over"
    ratio = (meter.factor, meter.divide_by) != (Decimal(1), Decimal(1))
    return "converts or rounds the whole" if meter.rounding is not None or ratio else ""


def _check_value(path: str, meter: Meter) -> Iterator[Problem]:
    given = [name for name in ("property", "add", "subtract", "expression") if getattr(meter, name)]
    if meter.properties and meter.expression is None:
        yield Problem(f"{path}.properties", "", "Only an `expression` reads `properties`.", "Remove them.")
    if meter.aggregation == "count":
        if given:
            cure = f"Remove {listed(given, 'and')}, or write `aggregation: sum`."
            yield Problem(path, "", "A meter that counts events sums no property.", cure)
    elif meter.aggregation == "unique_count":
        if given != ["property"]:
            cure = "Write `property:` with the name of a property of text, and nothing else to count."
            yield Problem(f"{path}.property", "", "A meter that counts different values needs one property.", cure)
    elif meter.expression is not None:
        yield from _check_expression(path, meter, given)
    elif meter.property is None:
        cure = "Add `property:` with the name of a property, or write `aggregation: count`."
        yield Problem(f"{path}.property", "", f"A meter {_VERB.get(meter.aggregation, _MEASURES)} property.", cure)
    else:
        names = [meter.property, *meter.add, *meter.subtract]
        for name in sorted({name for name in names if names.count(name) > 1}):
            message = f"The property `{name}` is used more than once in `property`, `add` and `subtract`."
            yield Problem(path, "", message, "Use it once.")


_VERB = {"sum": "that sums needs a"}
_MEASURES = "of values needs a"


def _check_expression(path: str, meter: Meter, given: list[str]) -> Iterator[Problem]:
    place = f"{path}.expression"
    if given != ["expression"]:
        others = listed([name for name in given if name != "expression"], "and")
        yield Problem(place, "", f"The expression is the value of an event, and so is {others}.", "Keep one of them.")
    try:
        parsed_expression(meter.expression or "", meter.properties)
    except WrongExpression as wrong:
        cure = "Write one expression over `properties`, such as `input_tokens + 4 * output_tokens`."
        yield Problem(place, show(meter.expression), str(wrong), cure)


def _check_fields(path: str, meter: Meter) -> Iterator[Problem]:
    for field, users in _USED_BY.items():
        if getattr(meter, field) and meter.aggregation not in users:
            message = f"`{field}` does nothing for the aggregation `{meter.aggregation}`."
            yield Problem(f"{path}.{field}", "", message, f"Remove it, or set `aggregation` to {listed(users)}.")
    if meter.aggregation == "percentile" and meter.percentile is None:
        yield Problem(f"{path}.percentile", "", "Which percentile is missing.", 'Add `percentile: "95"`.')
    if meter.percentile is not None and meter.percentile > 100:
        yield Problem(f"{path}.percentile", show(str(meter.percentile)), "There are 100 percent.", "Write 100 or less.")
    if lasting := [name for name in ("duration", "elapsed") if getattr(meter, name) is not None]:
        yield from _check_lasting(path, meter, lasting)
    ratio = compiled_ratio(meter)
    if max(ratio) >= 10**18:
        message = "The factor, divisor and unit of time together do not fit 18 digits."
        yield Problem(f"{path}.factor", "", message, "Write them with fewer digits.")


def _check_lasting(path: str, meter: Meter, lasting: Sequence[str]) -> Iterator[Problem]:
    """Parts of an event are parts of its quantity, as it is."""
    if why := not_event_by_event(meter):
        message = f"{listed([f'`{name}`' for name in lasting], 'and')} need a quantity event by event; the meter {why}."
        yield Problem(f"{path}.{lasting[0]}", "", message, "Let it count or sum, and put units into the price (`per`).")


def compiled_ratio(meter: Meter) -> tuple[int, int]:
    """The whole numbers that the meter multiplies and divides by."""
    made = compiled_meter("", meter.model_copy(update={"expression": None})).conversion
    return made.times, made.divide_by


def _check_filters(path: str, meter: Meter) -> Iterator[Problem]:
    places = [(f"{path}.filters[{index}]", rule) for index, rule in enumerate(meter.filters)]
    for outer, rules in enumerate(meter.exclude):
        places += [(f"{path}.exclude[{outer}][{index}]", rule) for index, rule in enumerate(rules)]
    if meter.removed_when is not None:
        places.append((f"{path}.removed_when", meter.removed_when))
    for place, rule in places:
        yield from _check_filter(place, rule)


def _check_filter(path: str, rule: Filter) -> Iterator[Problem]:
    given = [name for name in ("in_", "not_in", "equals", "prefix", "exists") if getattr(rule, name) is not None]
    ends = bounds(rule)
    if len(given) + bool(ends) != 1:
        yield Problem(
            path,
            "",
            "A filter has exactly one of `in`, `not_in`, `equals`, `prefix`, `exists` and a range.",
            "Keep one of them, or write a filter for each.",
        )
    lower = [name for name in ("more_than", "at_least") if name in ends]
    upper = [name for name in ("less_than", "at_most") if name in ends]
    for names in (lower, upper):
        if len(names) == 2:
            yield Problem(path, "", f"A range has one of {listed(names, 'and')}.", "Keep one of them.")
    if len(lower) == len(upper) == 1:
        low, high = ends[lower[0]], ends[upper[0]]
        if low > high or (low == high and (lower[0], upper[0]) != ("at_least", "at_most")):
            yield Problem(path, "", "No number is in this range.", "Let the lower bound be below the upper one.")


def check_priced_meters(catalog: Catalog) -> Iterator[Problem]:
    """The problems of meters with the prices of a catalog whose prices are sound by themselves.

    A price that looks at each event needs a meter whose quantity is the sum of its events'. One that looks at days or
    at times of the day cannot tell when what was carried over was used.
    """
    for key, price in catalog.prices.items():
        if isinstance(price, FeePrice):
            continue
        for name in price.meter_keys:
            meter = catalog.meters.get(name)
            if meter is not None and not_event_by_event(meter):
                charges = [charge for cell in price.cells() if name in cell.meters for charge in _charges(price, cell)]
                yield from _check_price_of(f"prices.{key}", name, meter, price.versions, charges)


def _charges(price: UsagePrice, cell: Cell) -> Iterator[Charge]:
    """What each version of the price charges for a cell, at each time."""
    versions: Sequence[Version] = price.versions
    for version in versions:
        for rate in (version, *map(version.within, version.windows)):
            yield price.shaped(rate.charge_of(cell))


def _check_price_of(
    path: str, name: str, meter: Meter, versions: Sequence[Version], charges: Sequence[Charge]
) -> Iterator[Problem]:
    has_parts = any(version.windows for version in versions) or any(it.chain().level == "day" for it in charges)
    levels = {charge.chain().level for charge in charges}
    if "event" in levels or any(charge.size is not None for charge in charges):
        message = f"The price looks at each event, and the meter `{name}` {not_event_by_event(meter)}."
        yield Problem(f"{path}.meter", show(name), message, "Price a meter that counts or sums, as it is.")
    is_one_quantity = meter.aggregation not in (*LEVELS, "rate_of_change") and is_carried(meter)
    if is_one_quantity and has_parts:
        message = f"The meter `{name}` carries usage over, and what was before the period has no day and no time."
        yield Problem(f"{path}.meter", show(name), message, "Price it without times of the day and days.")
    elif meter.aggregation == "high_water_mark" and has_parts:
        message = f"The level of the meter `{name}` goes on from one day and time of the day to the next."
        yield Problem(f"{path}.meter", show(name), message, "Price it without times of the day and days.")
