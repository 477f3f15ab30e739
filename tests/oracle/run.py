"""The run: what the lines of usage and fees come to, and what of it is shown."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal, localcontext
from functools import partial
from zoneinfo import ZoneInfo

from tests.oracle import going_on, telecom
from tests.oracle.allowances import use_allowances
from tests.oracle.arithmetic import EXACT
from tests.oracle.bands import bands_of
from tests.oracle.counting import Counted
from tests.oracle.lines import Document, Event, Key, Line, Period, Subscription
from tests.oracle.prices import rate_numbers
from tests.oracle.proration import part_of, prorated
from tests.oracle.rounding import show
from tests.oracle.tiers import of_part
from tests.oracle.together import amounts
from tests.oracle.usage import count


def rate(
    document: Document,
    events: Iterable[Event],
    subscriptions: Iterable[Subscription],
    month: str | Period,
    credited: Mapping[Key, Mapping[int, Decimal]] | None = None,
) -> dict[Key, Line]:
    """The lines of usage and fees; adjustments.py goes on from here. `credited` is what credits in units have paid of
    the events of each line."""
    with localcontext(EXACT):
        return _rate(document, events, list(subscriptions), month, credited or {})


def _rate(
    document: Document,
    events: Iterable[Event],
    subscriptions: list[Subscription],
    month: str | Period,
    credited: Mapping[Key, Mapping[int, Decimal]],
) -> dict[Key, Line]:
    lines = count(document, events, subscriptions, month)
    left = {key: _uncredited(line.counted, credited.get(key, {})) for key, line in lines.items()}
    for subscription in subscriptions:
        use_allowances(left, document, events, subscription, month)
    by_key = {subscription.key: subscription for subscription in subscriptions}
    zones = {subscription.key: ZoneInfo(subscription.time_zone) for subscription in subscriptions}
    _charge_calls(lines, left, document)
    for pool in {key[:4] for key in lines}:
        price = document["prices"][pool[1]]
        if price["model"] == "call" or going_on.goes_on(price):
            continue
        own = {key[4:]: left[key] for key in lines if key[:4] == pool}
        day_of = partial(_day_of, zone=zones[pool[0]])
        part = partial(part_of, subscription=by_key[pool[0]], month=month)
        numbers = of_part(price, rate_numbers(price, pool[2], pool[3]), part)
        for rest, amount in amounts(price, numbers, own, day_of).items():
            by = price.get("prorate") if price["model"] == "flat" else None
            lines[*pool, *rest].amount = prorated(amount, by, by_key[pool[0]], month)
    for key, name in {key[:2] for key in lines if going_on.goes_on(document["prices"][key[1]])}:
        own_lines = {line: left[line] for line in lines if line[:2] == (key, name)}
        for line, amount in going_on.amounts(document, events, by_key[key], month, name, own_lines).items():
            lines[line].amount = amount
    show(document, lines, subscriptions, month)
    return lines


def _uncredited(counted: list[Counted], paid: Mapping[int, Decimal]) -> list[Counted]:
    return [replace(event, quantity=event.quantity - paid.get(event.place, Decimal(0))) for event in counted]


def _charge_calls(lines: dict[Key, Line], left: Mapping[Key, list[Counted]], document: Document) -> None:
    """Calls go on from one line to the next, so that all lines of a price are charged together."""
    for subscription, name, meter in {(key[0], key[1], key[4]) for key in lines}:
        price = document["prices"][name]
        if price["model"] != "call":
            continue
        own = [key for key in lines if (key[0], key[1], key[4]) == (subscription, name, meter)]
        parts = [
            telecom.Part(
                key, telecom.numbers_in(version, band), event, (key[2], -1 if key[3] is None else key[3], key[5])
            )
            for key in own
            for version in [price["versions"][key[2]]]
            for band in [None if key[3] is None else bands_of(version)[key[3]]]
            for event in left[key]
        ]
        for key, amount in telecom.amounts(parts).items():
            lines[key].amount = amount


def _day_of(event: Counted, zone: ZoneInfo) -> date:
    return event.time.astimezone(zone).date()
