"""Prepaid credits on a bill: which lines ask for what, who pays it, and what is shown of each payment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, localcontext
from typing import Any

from tests.oracle import credits
from tests.oracle.adjustments import AdjustmentKey, adjust
from tests.oracle.arithmetic import EXACT, rounded
from tests.oracle.lines import Document, Event, Key, Line, Subscription, id_of, line_id
from tests.oracle.prices import version_at
from tests.oracle.run import rate
from tests.oracle.usage import count, month_bounds, served

NOTHING = Decimal(0)
Payment = tuple[Key | AdjustmentKey, str]  # the line, and the grant that pays something of it


@dataclass
class Shown:
    """A line as credits see it."""

    key: Key | AdjustmentKey
    subscription: Subscription
    currency: str
    rounding: str | None
    price: str | None
    order: tuple[Any, ...]
    amount: Decimal
    meter: str | None = None
    owed: Decimal = NOTHING


@dataclass
class Bill:
    """A bill with its credits: exact and shown amount of each payment, negative; what is left of each grant."""

    lines: dict[Key, Line]
    adjustments: dict[AdjustmentKey, Decimal]
    payments: dict[Payment, tuple[Decimal, Decimal]] = field(default_factory=dict)
    left: dict[str, Decimal] = field(default_factory=dict)


def bill(
    document: Document,
    events: Iterable[Event],
    subscriptions: Sequence[Subscription],
    month: str,
    grants: Sequence[Mapping[str, Any]],
) -> Bill:
    """One period of customers in UTC, whose grants are in money or in units."""
    events = list(events)
    with localcontext(EXACT):
        made, units_left = _rated(document, events, subscriptions, month, grants)
        lines = _shown(document, made, subscriptions, month)
        _owe(lines)
        asked = sorted((line for line in lines if line.owed > 0), key=lambda line: line.order)
        burns = [_burn(number, line, month) for number, line in enumerate(asked)]
        money = [grant for grant in grants if grant["unit"] != "units"]
        outcome = credits.burn(money, burns, month_bounds(month, "UTC")[1])
        made.left = {**units_left, **outcome.left}
        _show_payments(made, asked, outcome)
    return made


def _rated(
    document: Document,
    events: Sequence[Event],
    subscriptions: Sequence[Subscription],
    month: str,
    grants: Sequence[Mapping[str, Any]],
) -> tuple[Bill, dict[str, Decimal]]:
    """The bill behind credits in units, which pay events in the order of time before they are priced."""
    owners = {one.key: one.customer for one in subscriptions}
    counted = [
        (event.time, event.place, key, event.quantity)
        for key, line in count(document, events, subscriptions, month).items()
        if key[4] is not None
        for event in line.counted
    ]
    units = [grant for grant in grants if grant["unit"] == "units"]
    burns = [
        {
            "burn": number, "customer": owners[key[0]], "subscription": key[0], "unit": "units", "meter": key[4],
            "price": key[1], "time": at, "sequence": place, "amount": quantity,
        }
        for number, (at, place, key, quantity) in enumerate(sorted(counted, key=str))
    ]  # fmt: skip
    outcome = credits.burn(units, burns, month_bounds(month, "UTC")[1])
    credited: dict[Key, dict[int, Decimal]] = {}
    for number, (_, place, key, _) in enumerate(sorted(counted, key=str)):
        credited.setdefault(key, {})[place] = outcome.paid[number]
    lines = rate(document, events, subscriptions, month, credited)
    return Bill(lines, adjust(document, lines, subscriptions, month)), outcome.left


def _shown(document: Document, made: Bill, subscriptions: Sequence[Subscription], month: str) -> list[Shown]:
    by_key = {one.key: one for one in subscriptions}
    found = []
    for key, line in made.lines.items():
        owner, price = by_key[key[0]], document["prices"][key[1]]
        place = (key[4] is None, key[1], key[4] or "", key[5], id_of(key, owner, month, served(owner, month)[0]))
        order = (owner.customer, owner.key, price["currency"], *place)
        found.append(Shown(key, owner, price["currency"], price.get("rounding"), key[1], order, line.amount, key[4]))
    for adjusted, amount in made.adjustments.items():
        subscription, price_name, number = adjusted
        owner = by_key[subscription]
        of = document["prices"][price_name] if price_name else document["plans"][owner.plan]
        rules, version = _rules(document, owner, price_name, month)
        told = {"kind": rules[number]["kind"], "price": price_name, "price_version": version}
        told |= {"adjustment": number, "group": "{}"}
        place = (True, price_name or "", "", "{}", line_id(owner, month, served(owner, month)[0], **told))
        order = (owner.customer, owner.key, of["currency"], *place)
        found.append(Shown(adjusted, owner, of["currency"], of.get("rounding"), price_name, order, amount))
    return found


def _rules(document: Document, owner: Subscription, price: str | None, month: str) -> tuple[Any, int | None]:
    if price is None:
        return document["plans"][owner.plan]["adjust"], None
    version = version_at(document["prices"][price], served(owner, month)[0])
    assert version is not None, "an adjustment is of a version that is in force"
    return document["prices"][price]["versions"][version]["adjust"], version


def _owe(lines: Sequence[Shown]) -> None:
    """What is taken off comes off what is paid last: of the price's lines, then of the subscription's."""
    for line in lines:
        line.owed = max(line.amount, NOTHING)
    for of_price in (True, False):
        sums: dict[Any, list[Shown]] = {}
        for line in lines:
            whole = (line.order[:3], line.price if of_price else None)
            sums.setdefault(whole, []).append(line)
        for parts in sums.values():
            less = -sum((min(p.amount, NOTHING) for p in parts if (p.price is not None) == of_price), NOTHING)
            for part in sorted(parts, key=lambda one: one.order, reverse=True):
                taken = min(part.owed, less)
                part.owed, less = part.owed - taken, less - taken


def _burn(number: int, line: Shown, month: str) -> dict[str, Any]:
    return {
        "burn": number, "customer": line.subscription.customer, "subscription": line.subscription.key,
        "unit": line.currency, "meter": line.meter, "price": line.price,
        "time": served(line.subscription, month)[1] - timedelta(microseconds=1), "sequence": 0, "amount": line.owed,
    }  # fmt: skip


def _show_payments(made: Bill, asked: Sequence[Shown], outcome: credits.Outcome) -> None:
    """Each payment is shown as the difference that it makes to what is left of its line, rounded."""
    rest = {number: line.amount for number, line in enumerate(asked)}
    for grant, kind, _, burn, amount in outcome.entries:
        if kind != "burn" or burn is None:
            continue
        line, before = asked[burn], rest[burn]
        rest[burn] = before + amount
        shown = [rounded(value, line.currency, line.rounding) for value in (rest[burn], before)]
        made.payments[line.key, grant] = (amount, shown[0] - shown[1])
