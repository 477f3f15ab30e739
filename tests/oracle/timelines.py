"""Subscriptions that change: what holds at an instant, billing periods, and the lines of each part of them.

A change says what holds from an instant on, of one item or of all of them; of one instant the last one wins. Each part
of a billing period in which the plan and its prices are the same is rated as a subscription of its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from tests.oracle.adjustments import adjust, change_of
from tests.oracle.arithmetic import rounded
from tests.oracle.cycles import Cycle, cut, periods
from tests.oracle.lines import Document, Event, Key, Line, Period, Subscription, id_of, line_id
from tests.oracle.prices import plan_prices, version_at
from tests.oracle.run import rate
from tests.oracle.usage import month_bounds

Change = Mapping[str, Any]  # at; item, plan, seats, state, prices, cycle: what it does not say stays as it was
Bounds = tuple[datetime, datetime]
_EVER = datetime(9999, 1, 1, tzinfo=UTC)
_BEFORE_ALL = datetime(1, 1, 3, tzinfo=UTC)


@dataclass(frozen=True)
class Timeline:
    """A subscription as it was agreed, and what was changed since."""

    key: str
    customer: str
    subjects: tuple[str, ...]
    plan: str
    time_zone: str
    starts_at: datetime
    ends_at: datetime | None = None
    interval: str = "month"
    intervals: int = 1
    anchor: datetime | None = None
    seats: Decimal = Decimal(1)
    trial_ends_at: datetime | None = None
    changes: Sequence[Change] = ()

    @property
    def cycles(self) -> list[tuple[datetime, Cycle]]:
        """Since when it has which cycle; what was agreed at first since ever."""
        found = [(_BEFORE_ALL, Cycle(self.time_zone, self.interval, self.intervals, self.anchor))]
        for change in sorted(self.changes, key=lambda change: change["at"]):
            if change.get("cycle"):
                found.append((change["at"], Cycle(self.time_zone, **change["cycle"])))
        return [one for one, other in zip(found, [*found[1:], None], strict=True) if other is None or one[0] < other[0]]


@dataclass(frozen=True)
class Terms:
    """What holds of an item at an instant."""

    plan: str
    seats: Decimal
    state: str
    prices: Mapping[str, str]


@dataclass
class Stretch:
    """A part of a billing period with one plan and its prices, in parts with the same number of seats."""

    prices: Mapping[str, str]
    parts: list[Subscription]

    @property
    def whole(self) -> Subscription:
        first, last = self.parts[0], self.parts[-1]
        return replace(first, ends_at=last.ends_at, seats_at_end=last.seats)


@dataclass(frozen=True)
class Billed:
    """A line."""

    item: str
    kind: str
    price: str | None
    served: Bounds
    amount: Decimal
    rounded: Decimal
    quantity: Decimal = field(default=Decimal(0))
    events: int = 0


Bill = dict[str, Billed]  # by the id of the line


def bill_of_month(document: Document, events: Iterable[Event], timelines: Iterable[Timeline], month: str) -> Bill:
    """The lines of the billing periods that end in a month, as the calendar of each subscription has it."""
    events, found = list(events), {}
    for timeline in timelines:
        first, last = (at.astimezone(UTC) for at in month_bounds(month, timeline.time_zone))
        for period in billing_periods(timeline, first, last):
            if first < period.end <= last:
                found |= _bill(document, events, timeline, period)
    return found


def bill_of_due(
    document: Document,
    events: Iterable[Event],
    timelines: Iterable[Timeline],
    after: datetime,
    until: datetime,
    final_bill: str = "period_end",
) -> Bill:
    """The lines of the billing periods that end on (`after`, `until`], and what of those that have begun is owed in
    advance; nothing was billed before. With `at_end` a period ends, too, when the subscription has ended in it."""
    events, found = list(events), {}
    for timeline in timelines:
        for period in billing_periods(timeline, after, until + timedelta(microseconds=1)):
            ends = {period.end, end_within(timeline, period) if final_bill == "at_end" else period.end}
            if any(after < end <= until for end in ends):
                found |= _bill(document, events, timeline, period)
            elif period.end > until:
                found |= _bill(_in_advance(document), [], timeline, period, until)
    return found


def end_within(timeline: Timeline, period: Period) -> datetime:
    """When the subscription ends in a period, for the rest of it; else the end of the period."""
    changes = {change["at"] for item in items(timeline) for change in _changes(timeline, item)}
    cuts = sorted(at for at in changes if period.start <= at < period.end)
    charged = [end for item in items(timeline) for _, end, _ in parts(timeline, item, period.start, period.end)]
    for at in cuts:
        later = [terms_at(timeline, item, one) for item in items(timeline) for one in cuts if one >= at]
        has_ended = all(terms is None or terms.state == "ended" for terms in later)
        if has_ended and charged and at >= max(charged):
            return at
    return period.end


def billing_periods(timeline: Timeline, since: datetime, until: datetime) -> list[Period]:
    """Those that have an instant on [`since`, `until`): where the cycle changes, one ends and another begins."""
    found: list[Period] = []
    for (start, cycle), (end, _) in pairwise([*_merged(timeline.cycles), (_EVER, None)]):
        if cycle is not None and max(since, start) < min(until, end):
            every = [cut(one, cycle, start, end) for one in periods(cycle, max(since, start), min(until, end))]
            found += [one for one in every if one is not None]
    return found


def _merged(cycles: Sequence[tuple[datetime, Cycle]]) -> list[tuple[datetime, Cycle]]:
    return [one for place, one in enumerate(cycles) if place == 0 or cycles[place - 1][1] != one[1]]


def items(timeline: Timeline) -> list[str]:
    return sorted({"plan", *(change.get("item", "plan") or "plan" for change in timeline.changes)})


def terms_at(timeline: Timeline, item: str, instant: datetime) -> Terms | None:
    """What holds of an item: every change by then, one after the other; nothing before it has a plan."""
    values: dict[str, Any] = {"plan": None, "seats": Decimal(1), "state": "active", "prices": {}}
    for change in _changes(timeline, item):
        if change["at"] > instant:
            break
        said = {name: change[name] for name in values if change.get(name) is not None}
        if said.get("state") == "after_trial":
            said["state"] = "active" if values["state"] == "trial" else values["state"]
        values |= said
    return None if values["plan"] is None else Terms(**{**values, "seats": Decimal(values["seats"])})


def _changes(timeline: Timeline, item: str) -> list[Change]:
    """What was agreed at first, and the changes since, in the order in which they hold."""
    has_trial = timeline.trial_ends_at is not None and timeline.trial_ends_at > timeline.starts_at
    agreed: list[Change] = [
        {"at": timeline.starts_at, "plan": timeline.plan, "seats": timeline.seats},
        {"at": timeline.starts_at, "item": None, "state": "trial" if has_trial else "active"},
    ]
    if has_trial:
        agreed.append({"at": timeline.trial_ends_at, "item": None, "state": "after_trial"})
    if timeline.ends_at is not None:
        agreed.append({"at": timeline.ends_at, "item": None, "state": "ended"})
    own = (change for change in (*agreed, *timeline.changes) if change.get("item", "plan") in (item, None))
    return sorted(own, key=lambda change: change["at"])


def parts(timeline: Timeline, item: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, Terms]]:
    """What of [`start`, `end`) an item is charged for, in parts in which nothing of it changes."""
    cuts = sorted({start, end, *(c["at"] for c in _changes(timeline, item) if start < c["at"] < end)})
    found: list[tuple[datetime, datetime, Terms]] = []
    for first, last in pairwise(cuts):
        terms = terms_at(timeline, item, first)
        if terms is None or terms.state != "active":
            continue
        if found and found[-1][1:] == (first, terms):
            found[-1] = (found[-1][0], last, terms)
        else:
            found.append((first, last, terms))
    yield from found


def stretches(timeline: Timeline, item: str, period: Period, known_until: datetime = _EVER) -> list[Stretch]:
    """The parts of a billing period with one plan each, of those that begin by an instant."""
    found: list[Stretch] = []
    began = next(parts(timeline, item, timeline.starts_at, _EVER), None)
    for first, last, terms in parts(timeline, item, period.start, period.end):
        if first > known_until:
            continue
        own = (timeline.key, timeline.customer, timeline.subjects, terms.plan, timeline.time_zone, first, last, item)
        part = Subscription(*own, terms.seats, terms.seats, began[0] if began else None)
        before = found[-1].parts[-1] if found else None
        if before and (before.ends_at, before.plan, found[-1].prices) == (first, terms.plan, terms.prices):
            found[-1].parts.append(part)
        else:
            found.append(Stretch(terms.prices, [part]))
    return found


def _bill(
    document: Document, events: list[Event], timeline: Timeline, period: Period, known_until: datetime = _EVER
) -> Bill:
    found: Bill = {}
    wholes: list[Subscription] = []
    for item in items(timeline):
        before = _before(document, timeline, item, period)
        for stretch in stretches(timeline, item, period, known_until):
            own = {"before": tuple(before), "prices_before": _prices_before(document, timeline, stretch)}
            stretch.parts = [replace(part, **own) for part in stretch.parts]
            found |= _bill_of_stretch(_with_prices(document, stretch), events, stretch, period)
            before.append((stretch.whole, period))
            wholes.append(stretch.whole)
    for place in range(max((len(plan.get("adjust", [])) for plan in document["plans"].values()), default=0)):
        changes = [_over_all_items(document, found, whole, period, place) for whole in wholes]
        found |= {identity: line for change in changes for identity, line in change.items()}
    return found


def _over_all_items(document: Document, bill: Bill, whole: Subscription, period: Period, place: int) -> Bill:
    """What a plan adds for all items of the subscription that have lines since the stretch began."""
    plan = document["plans"][whole.plan]
    rules = plan.get("adjust", [])
    if place >= len(rules) or rules[place].get("items") != "all":
        return {}
    since = [line for line in bill.values() if whole.starts_at <= line.served[0] < (whole.ends_at or _EVER)]
    shown = [(line.price, line.kind == "fee", line.rounded) for line in since]
    amount = change_of(rules[place], shown, whole, period)
    return _line_of_rule(plan, rules[place], place, amount, whole, period) if amount else {}


def _prices_before(document: Document, timeline: Timeline, stretch: Stretch) -> frozenset[str] | None:
    """Those of the plan that an item was on before, where a stretch begins with another."""
    first = stretch.parts[0]
    earlier = [terms for _, _, terms in parts(timeline, first.item, timeline.starts_at, first.starts_at)]
    if not earlier or (earlier[-1].plan, earlier[-1].prices) == (first.plan, stretch.prices):
        return None
    names = plan_prices(document, earlier[-1].plan)
    return frozenset(earlier[-1].prices.get(name, name) for name in names)


def _before(document: Document, timeline: Timeline, item: str, period: Period) -> list[tuple[Subscription, Period]]:
    """The stretches of the billing periods in front of one, where that matters."""
    if not any("window" in owner for owner in (*document["prices"].values(), *_allowances(document))):
        return []
    earlier = billing_periods(timeline, timeline.starts_at, period.start)
    return [(stretch.whole, one) for one in earlier for stretch in stretches(timeline, item, one)]


def _allowances(document: Document) -> Iterator[Mapping[str, Any]]:
    for plan in document["plans"].values():
        yield from plan.get("allowances", {}).values()


def _bill_of_stretch(document: Document, events: list[Event], stretch: Stretch, period: Period) -> Bill:
    """Fees of a seat that are prorated, of each part by itself; everything else of the whole."""
    whole = stretch.whole
    prices = plan_prices(document, whole.plan)
    by_part = {name for name, price in prices.items() if price.get("per") == "seat" and "prorate" in price}
    rated = [(whole, rate(_of_plan(document, whole.plan, set(prices) - by_part), events, [whole], period))]
    rated += [(part, rate(_of_plan(document, part.plan, by_part), [], [part], period)) for part in stretch.parts]
    found, together = {}, dict[Key, Line]()
    for owner, lines in rated:
        for key, line in lines.items():
            sum_of_key = together.setdefault(key, Line())
            sum_of_key.rounded += line.rounded
            kind, served = "fee" if key[4] is None else "usage", (owner.starts_at, owner.ends_at or _EVER)
            told = Billed(owner.item, kind, key[1], served, line.amount, line.rounded, line.quantity, line.events)
            found[id_of(key, owner, period, owner.starts_at)] = told
    return found | _adjusted(document, together, whole, period)


def _adjusted(document: Document, lines: Mapping[Key, Line], whole: Subscription, period: Period) -> Bill:
    found: Bill = {}
    for (_, price, place), amount in adjust(document, lines, [whole], period).items():
        owner = document["prices"][price] if price else document["plans"][whole.plan]
        version = version_at(owner, whole.starts_at) if price else None
        rule = (owner if version is None else owner["versions"][version])["adjust"][place]
        found |= _line_of_rule(owner, rule, place, amount, whole, period, price=price, price_version=version)
    return found


def _line_of_rule(
    owner: Any, rule: Any, place: int, amount: Decimal, whole: Subscription, period: Period, **told: Any
) -> Bill:
    """The line of an adjustment of a price or a plan."""
    shown = rounded(amount, owner["currency"], owner.get("rounding"))
    served = whole.starts_at, whole.ends_at or _EVER
    identity = line_id(whole, period, whole.starts_at, **told, kind=rule["kind"], adjustment=place, group="{}")
    return {identity: Billed(whole.item, rule["kind"], told.get("price"), served, amount, shown)}


def _with_prices(document: Document, stretch: Stretch) -> Document:
    """The document in which other prices stand in for some of the plan."""
    key = stretch.parts[0].plan
    return _of_plan(document, key, {stretch.prices.get(name, name) for name in plan_prices(document, key)})


def _of_plan(document: Document, key: str, names: Iterable[str]) -> Document:
    plan = {**document["plans"][key], "prices": sorted(names)}
    return {**document, "plans": {**document["plans"], key: plan}}


def _in_advance(document: Document) -> Document:
    """The document without what is owed when a period is over."""
    fees = {
        name: {**price, "versions": [_percentages(version) for version in price["versions"]]}
        for name, price in document["prices"].items()
        if price["model"] in ("flat", "one_time") and price.get("due") != "in_arrears"
    }
    plans = {
        key: {**_percentages(plan), "prices": [name for name in plan["prices"] if name in fees]}
        for key, plan in document["plans"].items()
    }
    return {**document, "prices": fees, "plans": plans}


def _percentages(owner: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is adjusted only percentages; the others, which keep their places, change nothing."""
    nothing = {"kind": "discount", "percent": "0"}
    return {**owner, "adjust": [rule if "percent" in rule else nothing for rule in owner.get("adjust", [])]}
