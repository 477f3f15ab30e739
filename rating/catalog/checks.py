"""What a catalog must hold beyond the form of its parts: every reference leads somewhere, nothing is charged twice."""

from collections.abc import Iterator

from rating.catalog.check_plans import check_plans
from rating.catalog.check_prices import check_prices
from rating.catalog.left_out import LeftOut
from rating.catalog.model import Catalog, Meter, numeric_properties, sizes, text_properties
from rating.catalog.problems import Problem, listed

__all__ = ["LeftOut", "check"]


def check(catalog: Catalog, left_out: LeftOut) -> list[Problem]:
    """Every problem of the catalog's parts with themselves and with each other, in the order of the file's sections."""
    return [
        *_check_meters(catalog),
        *_check_properties(catalog),
        *_check_features(catalog, left_out),
        *check_prices(catalog, left_out),
        *check_plans(catalog, left_out),
    ]


def _check_meters(catalog: Catalog) -> Iterator[Problem]:
    for key, meter in catalog.meters.items():
        path = f"meters.{key}"
        yield from _check_summed(path, meter)
        for index, condition in enumerate(meter.filters):
            given = [condition.in_ is not None, condition.not_in is not None, condition.equals is not None]
            if sum(given) != 1:
                yield Problem(
                    f"{path}.filters[{index}]",
                    "",
                    "A filter has exactly one of `in`, `not_in` and `equals`.",
                    "Keep one of them, or write a filter for each.",
                )


def _check_summed(path: str, meter: Meter) -> Iterator[Problem]:
    if meter.aggregation == "count":
        given = [name for name in ("property", "add", "subtract") if getattr(meter, name)]
        if given:
            cure = f"Remove {listed(given, 'and')}, or write `aggregation: sum`."
            yield Problem(path, "", "A meter that counts events sums no property.", cure)
    elif meter.property is None:
        cure = "Add `property:` with the name of a property, or write `aggregation: count`."
        yield Problem(f"{path}.property", "", "A meter that sums needs a property.", cure)
    else:
        names = numeric_properties(meter)
        for name in sorted({name for name in names if names.count(name) > 1}):
            message = f"The property `{name}` is used more than once in `property`, `add` and `subtract`."
            yield Problem(path, "", message, "Use it once.")


def _check_properties(catalog: Catalog) -> Iterator[Problem]:
    """A property is a number or text, never both; and names do not differ by case alone."""
    numbers = {name: f"prices.{key}" for key, price in catalog.prices.items() for name in sizes(price)}
    numbers |= {name: f"meters.{key}" for key, meter in catalog.meters.items() for name in numeric_properties(meter)}
    texts = {name: f"meters.{key}" for key, meter in catalog.meters.items() for name in text_properties(meter)}
    for name in sorted(numbers.keys() & texts.keys()):
        message = (
            f"The property `{name}` is a number in {numbers[name]}, and here it is text (in a filter or group_by)."
        )
        yield Problem(texts[name], "", message, "Use two properties, one of each kind.")
    spelled: dict[str, str] = {}
    for name in sorted(numbers.keys() | texts.keys()):
        other = spelled.setdefault(name.lower(), name)
        if other != name:
            path = (numbers | texts)[name]
            yield Problem(path, "", f"The properties `{other}` and `{name}` differ only by case.", "Spell them alike.")


def _check_features(catalog: Catalog, left_out: LeftOut) -> Iterator[Problem]:
    for key, feature in catalog.features.items():
        if feature.meter not in catalog.meters and not left_out.covers("meters", feature.meter):
            yield left_out.unknown(f"features.{key}.meter", "meter", feature.meter, catalog.meters)
