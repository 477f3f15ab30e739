"""The units of genai-prices as meters that divide usage: each counts what no more specific unit counts."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from genai_prices.data_units import unit_data
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices
from genai_prices.units import UnitDef, UnitRegistry

EVENT_TYPE = "llm.request"
REQUESTS = "requests"

Document = dict[str, Any]
PublishedPrice = Decimal | TieredPrices


class Units:
    """The units that any model prices, closed under overlap: where two of them can hold at once, there is a third for
    exactly that. Their own parts divide all usage that the package prices."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._registry = registry = UnitRegistry(unit_data)
        priced = {
            unit
            for provider in providers
            for model in provider.models
            for step in steps_of(model)
            for unit in priced_units(step)
        }
        closed = self.close(priced)
        self._keys = [key for key in registry.units if key in closed]  # in the registry's order
        self._nearest: dict[tuple[str, frozenset[str]], str | None] = {}

    def close(self, keys: Iterable[str]) -> set[str]:
        """The units `keys` and every unit that is the overlap of some of them."""
        closed = {key: self._registry.units[key] for key in keys}
        waiting = list(closed.values())
        while waiting:
            unit = waiting.pop()
            for other in [other for other in closed.values() if other.is_compatible_with(unit)]:
                join = self._registry.find_join(unit, other)
                assert join is not None, f"{unit.usage_key} and {other.usage_key} overlap in no registered unit"
                if join.usage_key not in closed:
                    closed[join.usage_key] = join
                    waiting.append(join)
        return set(closed)

    def per(self, key: str) -> int:
        """How many of a unit one published price buys."""
        return self._registry.units[key].per

    def nearest_priced(self, key: str, priced: frozenset[str]) -> str | None:
        """The unit as which `key` is billed where `priced` have prices: itself, else its most specific ancestor."""
        if (key, priced) not in self._nearest:
            self._nearest[key, priced] = self._find_nearest(key, priced)
        return self._nearest[key, priced]

    def _find_nearest(self, key: str, priced: frozenset[str]) -> str | None:
        unit = self._registry.units[key]
        ancestors = [self._registry.units[other] for other in priced if _is_within(unit, self._registry.units[other])]
        if not ancestors:
            return None
        nearest = max(ancestors, key=lambda ancestor: len(ancestor.dimensions))
        assert all(_is_within(nearest, ancestor) for ancestor in ancestors), f"{key} is billed as one of {ancestors}"
        return nearest.usage_key

    def billed_as(self, priced: frozenset[str]) -> dict[str, list[str]]:
        """The meters that each priced unit bills, its own first."""
        meters: dict[str, list[str]] = {key: [] for key in self._keys if key in priced}
        for key in self._keys:
            nearest = self.nearest_priced(key, priced)
            if nearest is not None:
                meters[nearest].append(key)
        return meters

    def meters(self, group_by: Sequence[str]) -> Document:
        """A meter for the own part of each unit."""
        return {key: self._meter(key) | {"group_by": [*group_by]} for key in self._keys}

    def _meter(self, key: str) -> Document:
        if key == REQUESTS:
            return {"event_type": EVENT_TYPE, "aggregation": "count"}
        terms = self._own_part(key)
        signed: Document = {"event_type": EVENT_TYPE, "aggregation": "sum", "property": key}
        add = [other for other, sign in terms.items() if sign == 1 and other != key]
        subtract = [other for other, sign in terms.items() if sign == -1]
        assert terms[key] == 1
        assert len(add) + len(subtract) + 1 == len(terms), f"{key} takes a property twice"
        return signed | ({"add": add} if add else {}) | ({"subtract": subtract} if subtract else {})

    def _own_part(self, key: str) -> dict[str, int]:
        """The own part of a unit as a signed sum of properties: its property less the own parts within it."""
        terms: dict[str, int] = defaultdict(int, {key: 1})
        unit = self._registry.units[key]
        for other in self._keys:
            if other != key and _is_within(self._registry.units[other], unit):
                for name, sign in self._own_part(other).items():
                    terms[name] -= sign
        return {name: sign for name, sign in terms.items() if sign != 0}


def _is_within(unit: UnitDef, ancestor: UnitDef) -> bool:
    """Whether all that `unit` counts is counted by `ancestor` too; true of a unit and itself."""
    return ancestor.dimensions.items() <= unit.dimensions.items()


def steps_of(model: ModelInfo) -> list[ModelPrice]:
    """The prices of a model, whenever they hold."""
    return [model.prices] if isinstance(model.prices, ModelPrice) else [step.prices for step in model.prices]


_USAGE_KEYS = {unit.get("price_key", usage_key): usage_key for usage_key, unit in unit_data.items()}


def priced_units(step: ModelPrice) -> dict[str, PublishedPrice]:
    """The prices of a step by the key of their unit."""
    return {_USAGE_KEYS[price_key]: price for price_key, price in vars(step).items() if price is not None}
