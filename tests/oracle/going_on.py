"""Tiers and included units that go on from version to version and from month to month, one line at a time.

Usage is above zero here, in months of the calendar. Prices that are by volume have no groups that are priced together
and no amounts that are rounded event by event.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.oracle import chain, tiers, together
from tests.oracle.arithmetic import EXACT, rounded, units
from tests.oracle.counting import Counted, Numbers, total
from tests.oracle.cycles import Cycle, periods
from tests.oracle.lines import Document, Event, Key, Line, Period, Subscription
from tests.oracle.prices import rate_numbers
from tests.oracle.quantities import NOTHING, converted, pieces
from tests.oracle.usage import count, served

_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def goes_on(price: Any) -> bool:
    """Whether its lines go on behind others."""
    return "window" in price or price.get("on_change") == "continue"


def months_before(window: Any, month: str) -> Iterator[str]:
    """The months of the window in front of `month`."""
    year, number = map(int, month.split("-"))
    last = year * 12 + number - 1
    length = _MONTHS[window["interval"]] * window.get("intervals", 1)
    for index in range(last - (last - 1970 * 12) % length, last):
        yield f"{index // 12}-{index % 12 + 1:02}"


def lines_before(
    document: Document, events: Iterable[Event], subscription: Subscription, window: Any, month: str | Period
) -> Iterator[dict[Key, Line]]:
    """The lines of each of these months, or stretches, the first one first; without a window of those of the period."""
    if isinstance(month, Period):
        for stretch, period in subscription.before:
            if _window_start(window, subscription, period) == _window_start(window, subscription, month):
                yield count(document, events, [stretch], period)
        return
    if window is None:
        return
    for earlier in months_before(window, month):
        start, end = served(subscription, earlier)
        if start < end:
            yield count(document, events, [subscription], earlier)


def _window_start(window: Any, subscription: Subscription, period: Period) -> datetime:
    """Of the window in which a period begins."""
    if window is None or window["interval"] == "period":
        return period.start
    cycle = Cycle(subscription.time_zone, window["interval"], window.get("intervals", 1), period.anchor)
    [found] = periods(cycle, period.start, period.start + timedelta(microseconds=1))
    return found.start


def amounts(
    document: Document,
    events: Iterable[Event],
    subscription: Subscription,
    month: str | Period,
    name: str,
    own: Mapping[Key, list[Counted]],
) -> dict[Key, Decimal]:
    """What the lines of one price come to."""
    price = document["prices"][name]
    window = price.get("window")
    before = list(lines_before(document, events, subscription, window, month))
    counts = [{key: line.counted for key, line in lines.items() if key[1] == name} for lines in before]
    if price["model"] == "chain":
        return _chained(price, counts, own)
    found: dict[Key, Decimal] = {}
    for pool in {_pool(key, price) for key in own}:
        state = _Tiers(price)
        for counted in [*counts, own]:
            for key in sorted((key for key in counted if _pool(key, price) == pool), key=_order(price)):
                found[key] = _charged(price, state, key, counted[key])
    return {key: found[key] for key in own}


def _chained(
    price: Any, before: list[dict[Key, list[Counted]]], own: Mapping[Key, list[Counted]]
) -> dict[Key, Decimal]:
    """By a chain of one version: what all of the window comes to, less what it came to before."""
    [numbers] = price["versions"]
    earlier = {key[4:]: [event for lines in before for event in lines.get(key, [])] for key in own}
    every = {key[4:]: [*earlier[key[4:]], *own[key]] for key in own}
    whole, less = (chain.amounts(numbers, lines, lambda event: event.time.date()) for lines in (every, earlier))
    return {key: EXACT.subtract(whole[key[4:]], less[key[4:]]) for key in own}


def _pool(key: Key, price: Any) -> Any:
    """The lines that go on behind each other; each band has tiers of its own."""
    if price["model"] == "weighted_matrix":
        return key[3]
    return (key[3], key[4]) if price.get("groups") == "together" else key[3:]


def _order(price: Any) -> Callable[[Key], Any]:
    if price["model"] == "weighted_matrix":
        return lambda key: (key[2], together.cell_order(price)(key[4:]))
    return lambda key: (key[2], key[5])


def _charged(price: Any, state: "_Tiers", key: Key, counted: list[Counted]) -> Decimal:
    numbers = rate_numbers(price, key[2], key[3])
    if price["model"] == "weighted_matrix":
        return state.charge(numbers, EXACT.multiply(total(counted), together.factor(numbers, key[4:])))
    if price.get("rounding_place") != "event":
        return state.charge(numbers, total(counted))
    ordered = sorted(counted, key=lambda event: (event.time, event.place))
    costs = (state.charge(numbers, event.quantity) for event in ordered)
    return sum((rounded(amount, price["currency"], price.get("rounding")) for amount in costs), NOTHING)


class _Tiers:
    """What has been counted so far: in front of what is free, and in front of the tiers."""

    def __init__(self, price: Any) -> None:
        self._model = price["model"]
        self._counted = NOTHING
        self._filled = NOTHING

    def charge(self, numbers: Numbers, quantity: Decimal) -> Decimal:
        """What so much more costs."""
        whole = converted(quantity, numbers.get("convert"))
        included = Decimal(numbers.get("included", numbers.get("free_units", 0)))
        free = min(max(included - self._counted, NOTHING), whole)
        left = EXACT.subtract(whole, free)
        if "package_size" in numbers:
            left = pieces(left, Decimal(numbers["package_size"]), numbers.get("rounding", "up"))
        amount = self._priced(numbers, left)
        self._counted += whole
        self._filled += left
        return amount

    def _priced(self, numbers: Numbers, quantity: Decimal) -> Decimal:
        if "unit_amount" in numbers:
            return units(quantity, numbers["unit_amount"], numbers.get("per", 1))
        mode = numbers.get("mode", "graduated" if self._model in _BY_TIERS else "volume")
        if mode == "volume":
            return tiers.in_one_tier_behind(numbers, quantity, self._filled)
        row = chain.Row((None, "{}"), None, None, {}, 1, quantity)
        of_chain = {**numbers, "chain_tiers": numbers["tiers"], "tier_mode": mode}
        return chain.charged(of_chain, row, self._filled)


_BY_TIERS = {"graduated", "graduated_percentage", "allowance", "tiered_package", "weighted_matrix"}
