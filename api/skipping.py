"""Rating in spite of customers that cannot be rated: they are left out and named, and all others are billed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from api.rating_inputs import RatingInputs
from rating.catalog.model import Catalog
from rating.catalog.variants import missing_in
from rating.core.money import AmountOverflow
from rating.core.rating import RatedPart, rate_part


@dataclass(frozen=True)
class RatedBut:
    """What came of all customers but those that were `skipped`: mappings of `customer` and `reason`."""

    rated: RatedPart
    skipped: list[dict[str, Any]]


def rated_but(inputs: RatingInputs, catalog: Catalog) -> RatedBut:
    """Rate everyone who can be."""
    unknown = list(_on_unknown_plans(inputs.subscriptions, catalog))
    rest = _without(inputs, [one["customer"] for one in unknown]) if unknown else inputs
    try:
        return RatedBut(rated_part(rest), unknown)
    except AmountOverflow:
        too_large = [{"customer": one, "reason": "an amount is too large"} for one in _overflowing(rest)]
        skipped = [*unknown, *too_large]
        rest = _without(inputs, [one["customer"] for one in skipped])
        return RatedBut(rated_part(rest), skipped)


def rated_part(inputs: RatingInputs) -> RatedPart:
    """Raises AmountOverflow."""
    return rate_part(**inputs.arguments())


def _on_unknown_plans(subscriptions: pl.DataFrame, catalog: Catalog) -> Iterator[dict[str, Any]]:
    missing = {plan: missing_in(catalog, plan) for plan in subscriptions["plan"].unique()}
    gone = pl.col("plan").is_in([plan for plan, what in missing.items() if what is not None])
    first = subscriptions.filter(gone).unique("customer", keep="first", maintain_order=True).sort("customer")
    for customer, subscription, plan in first.select("customer", "subscription", "plan").iter_rows():
        reason = f"subscription {subscription!r} needs {missing[plan]}, which the catalog does not have"
        yield {"customer": customer, "reason": reason}


def _overflowing(inputs: RatingInputs) -> Iterator[str]:
    """The customers of whom some amount does not fit, by halves: each costs about twice what rating them all does."""
    customers = inputs.subscriptions["customer"].unique().sort()
    if customers.len() == 1:
        yield customers[0]
        return
    middle = customers.len() // 2
    for half in (customers[:middle], customers[middle:]):
        own = inputs.of(half)
        try:
            rated_part(own)
        except AmountOverflow:
            yield from _overflowing(own)


def _without(inputs: RatingInputs, customers: list[str]) -> RatingInputs:
    others = inputs.subscriptions.filter(~pl.col("customer").is_in(customers))["customer"]
    return inputs.of(others)
