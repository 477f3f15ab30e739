"""Allowances of plans: what is used of them, in the order in which their prices are listed."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tests.oracle.counting import Counted, total
from tests.oracle.going_on import lines_before
from tests.oracle.lines import Document, Event, Key, Line, Period, Subscription
from tests.oracle.proration import part_of
from tests.oracle.tiers import bound_of_part
from tests.oracle.together import less
from tests.oracle.usage import count, served


def use_allowances(
    left: dict[Key, list[Counted]],
    document: Document,
    events: Iterable[Event],
    subscription: Subscription,
    month: str | Period,
) -> None:
    """Take what the allowances of the plan cover off what the lines count."""
    for rule in document["plans"][subscription.plan].get("allowances", {}).values():
        units = _units(rule, subscription, month)
        over = Decimal(rule.get("rollover_maximum", 0))
        if over:
            assert isinstance(month, str), "what rolls over is of months of the calendar here"
            year, number = map(int, month.split("-"))
            before = f"{year - (number == 1)}-{(number - 2) % 12 + 1:02}"
            start, end = served(subscription, before)
            if start < end:
                used = _used_of(rule, count(document, events, [subscription], before))
                units += min(max(_units(rule, subscription, before) - used, Decimal(0)), over)
        if "window" in rule:
            for lines in lines_before(document, events, subscription, rule["window"], month):
                units -= _used_of(rule, lines)
        units = max(units, Decimal(0))
        for name in rule["prices"]:
            for key in sorted((key for key in left if key[:2] == (subscription.key, name)), key=str):
                taken = min(units, max(total(left[key]), Decimal(0)))
                left[key] = less(left[key], taken)
                units -= taken


def _units(rule: Any, subscription: Subscription, month: str | Period) -> Decimal:
    units = Decimal(rule["units"])
    return units if "prorate" not in rule else bound_of_part(units, part_of(rule["prorate"], subscription, month))


def _used_of(rule: Any, lines: Mapping[Key, Line]) -> Decimal:
    own = (line for key, line in lines.items() if key[1] in rule["prices"])
    return sum((max(line.quantity, Decimal(0)) for line in own), Decimal(0))
