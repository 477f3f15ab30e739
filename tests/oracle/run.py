"""The run: which events a line counts. What the line then comes to is told by models.py."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from tests.oracle import telecom
from tests.oracle.arithmetic import EXACT, rounded
from tests.oracle.bands import band_at, bands_of, parts
from tests.oracle.counting import Counted, total
from tests.oracle.meters import is_plain, metered, readings
from tests.oracle.together import amounts, less

Document = Mapping[str, Any]
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Subscription:
    key: str
    customer: str
    subjects: tuple[str, ...]
    plan: str
    time_zone: str
    starts_at: datetime
    ends_at: datetime | None = None


@dataclass
class Line:
    counted: list[Counted] = field(default_factory=list)
    amount: Decimal = Decimal(0)
    rounded: Decimal = Decimal(0)
    gathered: int | None = None  # the events behind one metered quantity, where these are not counted one by one

    @property
    def quantity(self) -> Decimal:
        total = Decimal(0)
        for event in self.counted:
            total = EXACT.add(total, event.quantity)
        return total

    @property
    def events(self) -> int:
        return sum(event.events for event in self.counted) if self.gathered is None else self.gathered


Key = tuple[str, str, int, int | None, str | None, str]  # subscription, price, version, window, meter, group


def rate(
    document: Document, events: Iterable[Event], subscriptions: Iterable[Subscription], month: str
) -> dict[Key, Line]:
    """The lines of usage and fees; adjustments.py goes on from here."""
    subscriptions = list(subscriptions)
    lines = count(document, events, subscriptions, month)
    left = {key: line.counted for key, line in lines.items()}
    for subscription in subscriptions:
        _use_allowances(left, document, events, subscription, month)
    zones = {subscription.key: ZoneInfo(subscription.time_zone) for subscription in subscriptions}
    _charge_calls(lines, left, document)
    for pool in {key[:4] for key in lines}:
        price = document["prices"][pool[1]]
        if price["model"] == "call":
            continue
        own = {key[4:]: left[key] for key in lines if key[:4] == pool}
        day_of = partial(_day_of, zone=zones[pool[0]])
        for rest, amount in amounts(price, rate_numbers(price, pool[2], pool[3]), own, day_of).items():
            line = lines[*pool, *rest]
            line.amount = amount
            line.rounded = rounded(line.amount, price["currency"], price.get("rounding"))
    return lines


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
            lines[key].rounded = rounded(amount, price["currency"], price.get("rounding"))


def _day_of(event: Counted, zone: ZoneInfo) -> date:
    return event.time.astimezone(zone).date()


def _use_allowances(
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


def count(
    document: Document, events: Iterable[Event], subscriptions: Iterable[Subscription], month: str
) -> dict[Key, Line]:
    """What each line of usage and each fee counts."""
    lines: dict[Key, Line] = {}
    events = [telecom.labelled(document, event) for event in events]
    for subscription in subscriptions:
        start, end = served(subscription, month)
        if start >= end:
            continue
        prices = plan_prices(document, subscription.plan)
        for name, price in prices.items():
            if price["model"] in ("flat", "one_time"):
                _charge_fee(lines, subscription, name, price, (start, end))
        for place, event in enumerate(events):
            if event["subject"] in subscription.subjects and start <= event["time"] < end:
                _count_event(lines, document, subscription, prices, event, place)
        _meter_together(lines, document, subscription, prices, events, month)
        for name, price in prices.items():
            _charge_unused(lines, subscription, name, price, start)
    return lines


def served(subscription: Subscription, month: str) -> tuple[datetime, datetime]:
    """The part of the month in which the subscription is in force; empty when it ends before it begins."""
    start, end = month_bounds(month, subscription.time_zone)
    return max(start, subscription.starts_at), min(end, subscription.ends_at or end)


def month_bounds(month: str, zone: str) -> tuple[datetime, datetime]:
    year, number = map(int, month.split("-"))
    after = (year + number // 12, number % 12 + 1)
    return datetime(year, number, 1, tzinfo=ZoneInfo(zone)), datetime(*after, 1, tzinfo=ZoneInfo(zone))


def plan_prices(document: Document, plan: str) -> dict[str, Any]:
    patterns = document["plans"][plan]["prices"]
    return {
        name: price
        for name, price in document["prices"].items()
        if any(name == p or (p.endswith("*") and name.startswith(p[:-1])) for p in patterns)
    }


def _charge_fee(
    lines: dict[Key, Line], subscription: Subscription, name: str, price: Any, bounds: tuple[datetime, datetime]
) -> None:
    start, end = bounds
    if price["model"] == "one_time" and subscription.starts_at != start:
        return
    version = version_at(price, end - timedelta(microseconds=1) if price.get("due") == "in_arrears" else start)
    if version is not None:
        lines[subscription.key, name, version, None, None, "{}"] = Line()


def _charge_unused(lines: dict[Key, Line], subscription: Subscription, name: str, price: Any, at: datetime) -> None:
    """A price that charges its first flat amount without usage has a line of nothing for each meter without any."""
    version = version_at(price, at)
    is_capacity = price["model"] == "capacity" and not price.get("group_by")
    if version is None or not (is_capacity or price["versions"][version].get("flat_when_unused")):
        return
    group = json.dumps(dict(sorted(price.get("match", {}).items())), separators=(",", ":"), ensure_ascii=False)
    for meter in price.get("meters") or [price["meter"]]:
        if not any(key[:2] == (subscription.key, name) and key[4] == meter for key in lines):
            lines[subscription.key, name, version, None, meter, group] = Line()


def _count_event(
    lines: dict[Key, Line], document: Document, subscription: Subscription, prices: Any, event: Event, place: int
) -> None:
    for meter_name, meter in document["meters"].items():
        quantity = _measure(meter, event) if is_plain(meter) else None
        if quantity is None:
            continue
        found = _price_for(prices, meter_name, event["data"])
        if found is None:
            continue
        name, price = found
        if version_at(price, event["time"]) is None:
            continue
        dimensions = sorted({*price.get("match", {}), *price.get("group_by", [])})
        group = json.dumps({d: event["data"].get(d) for d in dimensions}, separators=(",", ":"), ensure_ascii=False)
        for number, (at, share, before) in enumerate(_parts(meter, price, event, quantity)):
            version, window = _in_force(price, at)
            line = lines.setdefault((subscription.key, name, version, window, meter_name, group), Line())
            line.counted.append(Counted(at, place, share, event["data"], before, 0 if number else 1))


def _in_force(price: Any, at: datetime) -> tuple[int, int | None]:
    version = version_at(price, at)
    assert version is not None, "a version never ends without another"
    return version, band_at(price["versions"][version], at)


def _parts(meter: Any, price: Any, event: Event, quantity: Decimal) -> list[tuple[datetime, Decimal, Decimal]]:
    """The event in the parts in which another version or band holds: when each begins, its quantity and that before."""
    data = event["data"]
    elapsed = Decimal(data.get(meter.get("elapsed")) or 0)
    duration = max(Decimal(data.get(meter.get("duration")) or 0), Decimal(0))
    bands = [band for version in price["versions"] for band in bands_of(version)]
    clocks = {
        part[edge] for band in bands for part in band.get("when") or [band] for edge in ("from", "to") if edge in part
    }
    zones = {band.get("time_zone", "UTC") for band in bands}
    starts = [_instant(version["effective_from"]) for version in price["versions"] if "effective_from" in version]
    cut = parts(event["time"], duration, quantity, partial(_in_force, price), zones, clocks, starts)
    return [(at, share, EXACT.add(elapsed, before)) for at, share, before in cut]


def _meter_together(
    lines: dict[Key, Line],
    document: Document,
    subscription: Subscription,
    prices: Any,
    events: list[Event],
    month: str,
) -> None:
    """The meters of more than counts and sums: one quantity a line."""
    start, end = served(subscription, month)
    bounds = start.astimezone(UTC), end.astimezone(UTC)  # Python subtracts times of one zone by the clock on the wall
    for meter_name, meter in document["meters"].items():
        if is_plain(meter):
            continue
        found = readings(meter, events, subscription.subjects, bounds[1])
        price_for = partial(_price_for, prices, meter_name)
        period = month_bounds(month, subscription.time_zone)
        by_day = any(price.get("rate_each") == "day" for price in prices.values() if _prices(price, meter_name))
        for part in _days(bounds, subscription.time_zone) if by_day else [bounds]:
            for made in metered(
                meter, [r for r in found if r.time < part[1]], part, period, price_for, version_at, band_at
            ):
                key = (subscription.key, made.price, made.version, made.window, meter_name, made.group)
                line = lines.setdefault(key, Line(gathered=0))
                line.counted.append(Counted(part[0], 0, made.quantity, {}))
                line.gathered = (line.gathered or 0) + made.events


def _prices(price: Any, meter: str) -> bool:
    return meter in (price.get("meters") or [price.get("meter")])


def _days(bounds: tuple[datetime, datetime], zone: str) -> list[tuple[datetime, datetime]]:
    """The days of the customer within the bounds."""
    start, end = bounds
    first = start.astimezone(ZoneInfo(zone)).date()
    midnights = [datetime.combine(first + timedelta(days=n), time(), ZoneInfo(zone)) for n in range(1, 40)]
    cuts = [start, *(at.astimezone(UTC) for at in midnights if start < at < end), end]
    return list(pairwise(cuts))


def _measure(meter: Any, event: Event) -> Decimal | None:
    data = event["data"]
    if event["type"] != meter["event_type"]:
        return None
    for rule in meter.get("filters", []):
        value = data.get(rule["property"])
        wanted = rule.get("in") or rule.get("not_in") or [rule["equals"]]
        if (value in wanted) == ("not_in" in rule):
            return None
    if meter["aggregation"] == "count":
        return Decimal(1)
    added = [meter["property"], *meter.get("add", [])]
    taken = meter.get("subtract", [])
    if all(data.get(p) is None for p in (*added, *taken)):
        return None
    return sum((Decimal(data.get(p) or 0) for p in added), Decimal(0)) - sum(
        (Decimal(data.get(p) or 0) for p in taken), Decimal(0)
    )


def _price_for(prices: Mapping[str, Any], meter: str, data: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The price whose match, or one of whose cells, says most of the dimensions; with that as its match."""
    fitting = [
        (name, {**price, "match": match})
        for name, price in prices.items()
        for match in _matches(price)
        if meter in (price.get("meters") or [price.get("meter")]) and all(data.get(d) == v for d, v in match.items())
    ]
    return max(fitting, key=lambda found: len(found[1].get("match", {})), default=None)


def _matches(price: Any) -> list[dict[str, str]]:
    match = price.get("match", {})
    if price["model"] not in ("matrix", "weighted_matrix"):
        return [match]
    default = {"matrix": "unit_amount", "weighted_matrix": "factor"}[price["model"]]
    cells = [cell["match"] for version in price["versions"] for cell in version["cells"]]
    rest: list[dict[str, str]] = [{}] if any(default in version for version in price["versions"]) else []
    return [{**match, **cell} for cell in [*cells, *rest]]


def version_at(price: Any, at: datetime) -> int | None:
    begun = [
        i for i, v in enumerate(price["versions"]) if "effective_from" not in v or at >= _instant(v["effective_from"])
    ]
    return begun[-1] if begun else None


def _instant(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    parsed = datetime.fromisoformat(value)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def rate_numbers(price: Any, version: int, window: int | None) -> Any:
    base = price["versions"][version]
    return base if window is None else {**base, **bands_of(base)[window]}
