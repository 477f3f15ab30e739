"""Variants of plans: a plan with some of its prices replaced by others, for single subscriptions.

The key of a variant is that of its plan, a space, and the replacements as a JSON object (core/subscriptions.py): no key
of a catalog has a space. A price that the plan does not have replaces nothing.
"""

import json
from collections.abc import Iterable, Mapping

from rating.catalog.check_plans import PriceKeys
from rating.catalog.model import Catalog, Plan


def with_variants(catalog: Catalog, plans: Iterable[str]) -> Catalog:
    """The catalog with those of `plans` that are variants, as plans of their own. What is rated by it is as before for
    all other plans."""
    known = [key for key in sorted(set(plans)) if " " in key and not missing_in(catalog, key)]
    variants = {key: _variant(catalog, key) for key in known}
    if not variants:
        return catalog
    return catalog.model_copy(update={"plans": {**catalog.plans, **variants}})


def missing_in(catalog: Catalog, key: str) -> str | None:
    """What the catalog does not have of a plan or a variant, in words; null when it has all."""
    name, _, replacements = key.partition(" ")
    if name not in catalog.plans:
        return f"plan {name!r}"
    prices = [price for price in json.loads(replacements or "{}").values() if price not in catalog.prices]
    return f"price {prices[0]!r}" if prices else None


def _variant(catalog: Catalog, key: str) -> Plan:
    name, _, replacements = key.partition(" ")
    plan, other = catalog.plans[name], json.loads(replacements)
    allowances = {
        key: allowance.model_copy(update={"prices": _replaced(allowance.prices, other)})
        for key, allowance in plan.allowances.items()
    }
    prices = _replaced(PriceKeys(catalog.prices).of_plan(plan), other)
    return plan.model_copy(update={"prices": prices, "allowances": allowances})


def _replaced(prices: Iterable[str], other: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(other.get(price, price) for price in prices))
