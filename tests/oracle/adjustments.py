"""What prices and plans add to their rounded lines or take off, in order."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tests.oracle.arithmetic import percent_of, rounded, units
from tests.oracle.lines import Document, Key, Line, Period, Subscription
from tests.oracle.prices import plan_prices, version_at
from tests.oracle.proration import prorated
from tests.oracle.usage import served

AdjustmentKey = tuple[str, str | None, int]  # subscription, price or null for the plan, place


def adjust(
    document: Document, lines: Mapping[Key, Line], subscriptions: Iterable[Subscription], month: str | Period
) -> dict[AdjustmentKey, Decimal]:
    """The exact amount of each adjustment that changes something."""
    found: dict[AdjustmentKey, Decimal] = {}
    for subscription in subscriptions:
        start, end = served(subscription, month)
        if start >= end:
            continue
        own = {key: line.rounded for key, line in lines.items() if key[0] == subscription.key}
        shown = [(key[1], key[4] is None, amount) for key, amount in own.items()]  # price, is a fee, rounded
        for name, price in plan_prices(document, subscription.plan).items():
            version = version_at(price, start)
            written = [] if version is None else price["versions"][version].get("adjust", [])
            for place, rule in enumerate(written):
                _take(found, shown, (subscription.key, name, place), _for_part(rule, subscription, month), price)
        plan = document["plans"][subscription.plan]
        for place, rule in enumerate(plan.get("adjust", [])):
            if rule.get("items") != "all":  # those are taken of all items together (timelines.py)
                _take(found, shown, (subscription.key, None, place), _for_part(rule, subscription, month), plan)
    return found


def change_of(
    rule: Any, shown: Iterable[tuple[str | None, bool, Decimal]], subscription: Subscription, month: str | Period
) -> Decimal:
    """What a rule of a plan adds to lines: the price of each, whether it is a fee, and what it is rounded to."""
    found: dict[AdjustmentKey, Decimal] = {}
    _take(found, [*shown], ("", None, 0), _for_part(rule, subscription, month), {"currency": "USD"})
    return found.get(("", None, 0), Decimal(0))


def _for_part(rule: Any, subscription: Subscription, month: str | Period) -> Any:
    """The rule with its amount for the part of the month that is served."""
    if "prorate" not in rule:
        return rule
    return {**rule, "amount": prorated(Decimal(rule["amount"]), rule["prorate"], subscription, month)}


def _take(found: dict[AdjustmentKey, Decimal], shown: list[Any], key: AdjustmentKey, rule: Any, owner: Any) -> None:
    price = key[1]
    of = rule.get("of", "all")
    charged = sum(
        (
            amount
            for name, is_fee, amount in shown
            if (price is None or name == price) and (of == "all" or is_fee == (of == "fees"))
        ),
        Decimal(0),
    )
    change = _change(rule, charged)
    if change:
        found[key] = change
        shown.append((price, False, rounded(change, owner["currency"], owner.get("rounding"))))


def _change(rule: Any, charged: Decimal) -> Decimal:
    amount = Decimal(rule.get("amount", 0))
    part = percent_of(charged, rule["percent"]) if "percent" in rule else amount
    match rule["kind"]:
        case "minimum":
            return max(amount - charged, Decimal(0))
        case "maximum":
            return -max(charged - amount, Decimal(0))
        case "discount":
            return -min(part, charged) if charged > 0 else Decimal(0)
        case "surcharge":
            return part
        case "commitment" if charged < amount:
            return amount - charged if rule.get("true_up", True) else Decimal(0)
        case "commitment":
            return units(charged - amount, Decimal(rule.get("overage_multiplier", 1)) - 1)
    raise AssertionError(rule)
