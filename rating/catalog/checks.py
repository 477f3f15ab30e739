"""What a catalog must hold beyond the form of its parts: every reference leads somewhere, nothing is charged twice."""

from collections.abc import Iterator

from rating.catalog.check_entitlements import check_entitlements
from rating.catalog.check_meters import check_meters, check_priced_meters, not_event_by_event
from rating.catalog.check_plans import check_plans
from rating.catalog.check_policies import check_policies
from rating.catalog.check_prices import check_prices
from rating.catalog.left_out import LeftOut
from rating.catalog.meters import looked_for_properties, numeric_properties, text_properties
from rating.catalog.model import Catalog, sizes
from rating.catalog.prefixes import check_prefixes
from rating.catalog.problems import Problem

__all__ = ["LeftOut", "check"]


def check(catalog: Catalog, left_out: LeftOut) -> list[Problem]:
    """Every problem of the catalog's parts with themselves and with each other, in the order of the file's sections."""
    found = [
        *check_meters(catalog),
        *_check_properties(catalog),
        *_check_features(catalog, left_out),
        *check_prefixes(catalog.prefixes),
        *check_prices(catalog, left_out),
        *check_plans(catalog, left_out),
        *check_entitlements(catalog),
        *check_policies(catalog, left_out),
    ]
    return found or list(check_priced_meters(catalog))


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
    sought = {n: f"meters.{key}" for key, meter in catalog.meters.items() for n in looked_for_properties(meter)}
    places = {**sought, **numbers, **texts}
    spelled: dict[str, str] = {}
    for name in sorted(places):
        other = spelled.setdefault(name.lower(), name)
        if other != name:
            yield Problem(
                places[name], "", f"The properties `{other}` and `{name}` differ only by case.", "Spell them alike."
            )


def _check_features(catalog: Catalog, left_out: LeftOut) -> Iterator[Problem]:
    for key, feature in catalog.features.items():
        name = feature.meter
        if name is not None and name not in catalog.meters and not left_out.covers("meters", name):
            yield left_out.unknown(f"features.{key}.meter", "meter", name, catalog.meters)
        meter = catalog.meters.get(name) if name is not None else None
        if feature.anomaly is not None and name is None:
            message = f"What is usual is worked out of usage, and the feature `{key}` has no meter."
            yield Problem(f"features.{key}.anomaly", "", message, "Add a `meter` to the feature, or remove it.")
        elif feature.anomaly is not None and meter is not None and (why := not_event_by_event(meter)):
            message = f"Usage is added up event by event, and the meter `{name}` {why}."
            cure = "Let the feature name a meter that counts or sums, as it is."
            yield Problem(f"features.{key}.anomaly", "", message, cure)
