"""The checks of plans: what they refer to, their currency, and that no usage is charged twice or ambiguously."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from rating.catalog.allowances import check_allowances
from rating.catalog.credits import check_credits
from rating.catalog.left_out import LeftOut
from rating.catalog.model import Catalog, Plan
from rating.catalog.presets import FeePrice, Price
from rating.catalog.problems import Problem, listed, show

Dimensions = tuple[str, ...]
Matched = dict[tuple[str, ...], str]  # the price by the values that it matches


class PriceKeys:
    """The keys of a catalog's prices, sorted, so that all with a prefix are found at once."""

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self.prices = prices
        self._sorted = sorted(prices)

    def named_by(self, pattern: str) -> Sequence[str]:
        """The keys that a plan means by `pattern`: one key, or all that begin with what stands before the `*`."""
        if not pattern.endswith("*"):
            return [pattern] if pattern in self.prices else []
        prefix = pattern[:-1]
        start = bisect_left(self._sorted, prefix)
        end = bisect_left(self._sorted, True, lo=start, key=lambda key: not key.startswith(prefix))
        return self._sorted[start:end]

    def of_plan(self, plan: Plan) -> list[str]:
        """The keys of the plan's prices, sorted, each once."""
        return sorted({key for pattern in plan.prices for key in self.named_by(pattern)})


def check_plans(catalog: Catalog, left_out: LeftOut) -> Iterator[Problem]:
    """The problems of every plan."""
    keys = PriceKeys(catalog.prices)
    for key, plan in catalog.plans.items():
        path = f"plans.{key}"
        if plan.currency not in catalog.currencies and "currencies" not in left_out.sections:
            cure = f"Add {plan.currency} to `currencies`, or use {listed(catalog.currencies)}."
            yield Problem(f"{path}.currency", show(plan.currency), "The catalog does not declare this currency.", cure)
        yield from _check_price_names(path, plan, keys, left_out)
        yield from _check_currencies(path, plan, keys)
        yield from _check_charged_once(path, [(name, catalog.prices[name]) for name in keys.of_plan(plan)])
        metered = [name for name in keys.of_plan(plan) if not isinstance(catalog.prices[name], FeePrice)]
        windowed = [name for name in metered if getattr(catalog.prices[name], "window", None) is not None]
        yield from check_allowances(path, plan.allowances, metered, windowed, left_out)
        known = {"features": [*catalog.features], "meters": [*catalog.meters], "prices": keys.of_plan(plan)}
        yield from check_credits(path, plan.credits, known, left_out)
        for feature in plan.entitlements:
            if feature not in catalog.features and not left_out.covers("features", feature):
                yield left_out.unknown(f"{path}.entitlements.{feature}", "feature", feature, catalog.features)


def _check_price_names(path: str, plan: Plan, keys: PriceKeys, left_out: LeftOut) -> Iterator[Problem]:
    for index, pattern in enumerate(plan.prices):
        if keys.named_by(pattern):
            continue
        place = f"{path}.prices[{index}]"
        if not pattern.endswith("*"):
            if not left_out.covers("prices", pattern):
                yield left_out.unknown(place, "price", pattern, keys.prices)
        elif not left_out.covers_any("prices", pattern[:-1]):
            cure = "Correct the prefix, or remove it."
            yield Problem(place, show(pattern), "No key of a price begins with this prefix.", cure)


def _check_currencies(path: str, plan: Plan, keys: PriceKeys) -> Iterator[Problem]:
    """One problem for each entry of `prices` that brings in another currency."""
    for index, pattern in enumerate(plan.prices):
        others = [name for name in keys.named_by(pattern) if keys.prices[name].currency != plan.currency]
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            message = (
                f"The plan is in {plan.currency}, but `{others[0]}`{more} is in {keys.prices[others[0]].currency}."
            )
            yield Problem(
                f"{path}.prices[{index}]", show(pattern), message, "Use prices in the plan's currency, or a plan each."
            )


def _check_charged_once(path: str, prices: Sequence[tuple[str, Price]]) -> Iterator[Problem]:
    """No event meets two prices of the plan for the same meter that match it equally well."""
    by_meter: dict[str, dict[Dimensions, Matched]] = defaultdict(lambda: defaultdict(dict))
    reported: set[tuple[str, str]] = set()
    for name, price in prices:
        if isinstance(price, FeePrice):
            continue
        for meter, match in ((meter, cell.match) for cell in price.cells() for meter in cell.meters):
            dimensions = tuple(sorted(match))
            values = tuple(match[dimension] for dimension in dimensions)
            other = by_meter[meter][dimensions].setdefault(values, name)
            if other != name and (other, name) not in reported:
                reported.add((other, name))
                message = (
                    f"`{other}` and `{name}` price the same usage of the meter `{meter}`: it would be charged twice."
                )
                yield Problem(
                    f"{path}.prices", "", message, "Keep one of them in the plan, or let them match other values."
                )
    for meter, by_dimensions in by_meter.items():
        for pair in _ambiguous(by_dimensions):
            if pair not in reported:
                reported.add(pair)
                message = (
                    f"`{pair[0]}` and `{pair[1]}` match some usage of the meter `{meter}` equally well, "
                    "by different dimensions: which one prices it is not clear."
                )
                yield Problem(f"{path}.prices", "", message, "Let one of them match more dimensions than the other.")


def _ambiguous(by_dimensions: Mapping[Dimensions, Matched]) -> Iterator[tuple[str, str]]:
    """Pairs of prices that match equally many, but different dimensions, and agree on those that they share."""
    for (left, left_prices), (right, right_prices) in combinations(sorted(by_dimensions.items()), 2):
        if len(left) != len(right):
            continue
        shared = [dimension for dimension in left if dimension in right]
        places = [left.index(dimension) for dimension in shared]
        by_shared = {tuple(values[place] for place in places): name for values, name in left_prices.items()}
        for values, name in right_prices.items():
            other = by_shared.get(tuple(values[right.index(dimension)] for dimension in shared))
            if other is not None:
                yield other, name
