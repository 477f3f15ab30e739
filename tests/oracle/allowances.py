"""Allowances of plans: what is used of them, in the order in which their prices are listed."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tests.oracle.counting import Counted, total
from tests.oracle.lines import Document, Event, Key, Line, Subscription
from tests.oracle.together import less
from tests.oracle.usage import count, served


def use_allowances(
    left: dict[Key, list[Counted]], document: Document, events: Iterable[Event], subscription: Subscription, month: str
) -> None:
    """Take what the allowances of the plan cover off what the lines count."""
    for rule in document["plans"][subscription.plan].get("allowances", {}).values():
        units = Decimal(rule["units"])
        over = Decimal(rule.get("rollover_maximum", 0))
        if over:
            year, number = map(int, month.split("-"))
            before = f"{year - (number == 1)}-{(number - 2) % 12 + 1:02}"
            start, end = served(subscription, before)
            used = _used_of(rule, count(document, events, [subscription], before))
            units += min(max(Decimal(rule["units"]) - used, Decimal(0)), over) if start < end else 0
        for name in rule["prices"]:
            for key in sorted((key for key in left if key[:2] == (subscription.key, name)), key=str):
                taken = min(units, max(total(left[key]), Decimal(0)))
                left[key] = less(left[key], taken)
                units -= taken


def _used_of(rule: Any, lines: Mapping[Key, Line]) -> Decimal:
    own = (line for key, line in lines.items() if key[1] in rule["prices"])
    return sum((max(line.quantity, Decimal(0)) for line in own), Decimal(0))
