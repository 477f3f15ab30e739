"""What nothing of a catalog uses, and usage that nothing of it prices."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from rating.catalog.check_plans import PriceKeys
from rating.catalog.compiling_meters import compiled_meter
from rating.catalog.findings import Finding, error, warning
from rating.catalog.model import Catalog
from rating.catalog.presets import FeePrice
from rating.catalog.problems import listed, show
from rating.core import book
from rating.core.book import Filter

Match = Mapping[str, str]
_SHOWN_MAX = 5


def use_findings(catalog: Catalog) -> Iterator[Finding]:
    """The findings between meters, features, prices and plans."""
    keys = PriceKeys(catalog.prices)
    by_plan = {key: keys.of_plan(plan) for key, plan in catalog.plans.items()}
    yield from _currencies(catalog)
    yield from _meters(catalog)
    yield from _prices(catalog, {price for prices in by_plan.values() for price in prices})
    yield from _features(catalog)
    for plan, prices in by_plan.items():
        yield from _plan(catalog, plan, prices)


def _currencies(catalog: Catalog) -> Iterator[Finding]:
    used = {part.currency for part in (*catalog.prices.values(), *catalog.plans.values())}
    for index, currency in enumerate(catalog.currencies):
        if currency not in used:
            message = "No price and no plan is in this currency."
            yield warning("unused_currency", f"currencies[{index}]", show(currency), message, "Remove it.")


def _meters(catalog: Catalog) -> Iterator[Finding]:
    priced = {key for price in catalog.prices.values() if not isinstance(price, FeePrice) for key in price.meter_keys}
    used = priced | {feature.meter for feature in catalog.features.values()}
    for key in catalog.meters:
        if key not in used:
            message = "No price and no feature uses this meter: it measures, and nothing is charged for it."
            yield warning("unpriced_meter", f"meters.{key}", "", message, "Add a price for it, or remove it.")
        for name in sorted(_contradicted(_filters(catalog, key))):
            message = f"No value of `{name}` passes all filters of this meter: it reads no event."
            yield error("reads_nothing", f"meters.{key}.filters", show(name), message, "Correct the filters.")


def _prices(catalog: Catalog, planned: set[str]) -> Iterator[Finding]:
    for key, price in catalog.prices.items():
        if key not in planned:
            message = "No plan has this price, so nobody pays it."
            yield warning("price_without_plan", f"prices.{key}", "", message, "Add it to a plan, or remove it.")
        if isinstance(price, FeePrice):
            continue
        for cell in price.cells():
            unknown = sorted(name for name, value in cell.match.items() if not _is_label(catalog, name, value))
            for name in unknown:
                message = f"No prefix of `{name}` leads to this value: the price never applies."
                cure = "Correct the value, or add its prefixes."
                yield error("never_matches", f"prices.{key}.match.{name}", cell.match[name], message, cure)
            broken = [m for m in cell.meters if not _can_match(compiled_meter(m, catalog.meters[m]), cell.match)]
            if cell.match and broken:
                message = f"The filters of {listed(broken, 'and')} let no such usage through: the price never applies."
                values = ", ".join(f"{name}: {value}" for name, value in sorted(cell.match.items()))
                cure = "Correct the values, or the filters of the meter."
                yield error("never_matches", f"prices.{key}.match", values, message, cure)


def _is_label(catalog: Catalog, dimension: str, value: str) -> bool:
    """Whether a value can be: of a dimension that prefixes decide it is one of their labels."""
    table = catalog.prefixes.get(dimension)
    return table is None or value in table.labels


def _filters(catalog: Catalog, meter: str) -> Sequence[Filter]:
    return compiled_meter(meter, catalog.meters[meter]).filters


def _contradicted(filters: Sequence[Filter]) -> set[str]:
    """The properties of which no value passes all filters. Ranges of numbers are checked when the catalog is read."""
    by_property: dict[str, list[Filter]] = {}
    for rule in filters:
        by_property.setdefault(rule.property, []).append(rule)
    return {name for name, rules in by_property.items() if not _some_value_passes(rules)}


def _some_value_passes(rules: Sequence[Filter]) -> bool:
    listed_values = [rule.values for rule in rules if rule.operator == "in"]
    others = [rule for rule in rules if rule.operator in ("in", "not_in", "prefix", "absent")]
    if listed_values:
        return any(all(_passes(rule, value) for rule in others) for value in listed_values[0])
    is_absent = any(rule.operator == "absent" for rule in rules)
    return not (is_absent and any(rule.operator not in ("absent", "not_in") for rule in rules))


def _can_match(meter: book.Meter, match: Match) -> bool:
    """Whether the meter lets usage with these values through, whatever else it has."""
    if not all(_passes(rule, match[rule.property]) for rule in meter.filters if rule.property in match):
        return False
    return not any(
        all(rule.property in match and _passes(rule, match[rule.property]) for rule in rules) for rules in meter.exclude
    )


def _passes(rule: Filter, value: str) -> bool:
    if rule.operator == "in":
        return value in rule.values
    if rule.operator == "not_in":
        return value not in rule.values
    if rule.operator == "prefix":
        return value.startswith(rule.values)
    return rule.operator != "absent"


def _features(catalog: Catalog) -> Iterator[Finding]:
    entitled = {feature for plan in catalog.plans.values() for feature in plan.entitlements}
    granted = {feature for plan in catalog.plans.values() for it in plan.credits.values() for feature in it.features}
    for key in catalog.features:
        if key not in entitled | granted:
            message = "No plan entitles to this feature."
            yield warning("unused_feature", f"features.{key}", "", message, "Add it to a plan, or remove it.")


def _plan(catalog: Catalog, plan: str, prices: Sequence[str]) -> Iterator[Finding]:
    if not prices:
        message = "The plan has no prices: nothing that its customers use is charged."
        yield warning("plan_without_prices", f"plans.{plan}.prices", "", message, "Add prices, unless it is free.")
        return
    for meter, matches in _matches(catalog, prices).items():
        known = _known_values(_filters(catalog, meter))
        yield from _shadowed(plan, meter, matches, known)
        if not _prices_all(matches.values(), known):
            dimensions = sorted({name for match in matches.values() for name in match})
            message = (
                f"The plan prices usage of `{meter}` for some values of {listed(dimensions, 'and')} alone; "
                "other usage of it has no price."
            )
            cure = "Add a price without `match` for the rest, unless there is none."
            yield warning("usage_without_price", f"plans.{plan}.prices", show(meter), message, cure)


def _matches(catalog: Catalog, prices: Sequence[str]) -> Mapping[str, dict[tuple[str, int], Match]]:
    """For each meter that the prices price, what each of their cells matches."""
    found: dict[str, dict[tuple[str, int], Match]] = {}
    for key in prices:
        price = catalog.prices[key]
        if not isinstance(price, FeePrice):
            for cell in price.cells():
                for meter in cell.meters:
                    found.setdefault(meter, {})[key, cell.number] = cell.match
    return found


def _known_values(filters: Sequence[Filter]) -> Mapping[str, Sequence[str]]:
    """The dimensions of which the filters of a meter list every value."""
    return {rule.property: rule.values for rule in filters if rule.operator == "in"}


def _prices_all(matches: Collection[Match], known: Mapping[str, Sequence[str]]) -> bool:
    """Whether some price takes whatever the others leave, or each value of a dimension has one of its own."""
    whole = [dict(match) for match in matches]
    by_values = (all({name: value} in whole for value in values) for name, values in known.items())
    return {} in whole or any(by_values)


def _shadowed(
    plan: str, meter: str, matches: Mapping[tuple[str, int], Match], known: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Prices of which others take every value of one more dimension."""
    taken = {frozenset(match.items()) for match in matches.values()}
    for (key, _), match in matches.items():
        for name, values in known.items():
            if name not in match and all(frozenset({**match, name: value}.items()) in taken for value in values):
                shown = listed(values[:_SHOWN_MAX], "and")
                message = (
                    f"In plan `{plan}` it never prices usage of `{meter}`: the meter lets only {name} {shown} through, "
                    "and other prices match each of them."
                )
                yield warning("shadowed_price", f"prices.{key}", "", message, "Remove it from the plan.")
