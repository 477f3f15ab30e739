"""What each line counts: the events, metered quantities and fees of a billing period."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from tests.oracle import telecom
from tests.oracle.arithmetic import EXACT
from tests.oracle.bands import band_at, bands_of, parts
from tests.oracle.counting import Counted
from tests.oracle.lines import Document, Event, Key, Line, Period, Subscription
from tests.oracle.meters import is_plain, metered, readings
from tests.oracle.prices import instant, plan_prices, price_for, prices_of_meter, version_at


def count(
    document: Document, events: Iterable[Event], subscriptions: Iterable[Subscription], month: str | Period
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


def served(subscription: Subscription, month: str | Period) -> tuple[datetime, datetime]:
    """The part of the month in which the subscription is in force; empty when it ends before it begins."""
    start, end = month_bounds(month, subscription.time_zone)
    return max(start, subscription.starts_at), min(end, subscription.ends_at or end)


def month_bounds(month: str | Period, zone: str) -> tuple[datetime, datetime]:
    if isinstance(month, Period):
        return month.start, month.end
    year, number = map(int, month.split("-"))
    after = (year + number // 12, number % 12 + 1)
    return datetime(year, number, 1, tzinfo=ZoneInfo(zone)), datetime(*after, 1, tzinfo=ZoneInfo(zone))


def _charge_fee(
    lines: dict[Key, Line], subscription: Subscription, name: str, price: Any, bounds: tuple[datetime, datetime]
) -> None:
    start, end = bounds
    if price["model"] == "one_time" and not _is_owed_once(subscription, name, price, start):
        return
    is_at_end = price.get("due") == "in_arrears"
    version = version_at(price, end - timedelta(microseconds=1) if is_at_end else start)
    if version is None:
        return
    line = lines[subscription.key, name, version, None, None, "{}"] = Line(gathered=0)
    if price.get("per") == "seat":
        line.counted.append(Counted(start, 0, subscription.seats_at_end if is_at_end else subscription.seats, {}))


def _is_owed_once(subscription: Subscription, name: str, price: Any, start: datetime) -> bool:
    if (subscription.began_at or subscription.starts_at) == start:
        return True
    before, is_brought = subscription.prices_before, price.get("due") == "with_plan"
    return is_brought and subscription.starts_at == start and before is not None and name not in before


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
        quantity = measure(meter, event) if is_plain(meter) else None
        if quantity is None:
            continue
        found = price_for(prices, meter_name, event["data"])
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
    starts = [instant(version["effective_from"]) for version in price["versions"] if "effective_from" in version]
    cut = parts(event["time"], duration, quantity, partial(_in_force, price), zones, clocks, starts)
    return [(at, share, EXACT.add(elapsed, before)) for at, share, before in cut]


def _meter_together(
    lines: dict[Key, Line],
    document: Document,
    subscription: Subscription,
    prices: Any,
    events: list[Event],
    month: str | Period,
) -> None:
    """The meters of more than counts and sums: one quantity a line."""
    start, end = served(subscription, month)
    bounds = start.astimezone(UTC), end.astimezone(UTC)  # Python subtracts times of one zone by the clock on the wall
    for meter_name, meter in document["meters"].items():
        if is_plain(meter):
            continue
        found = readings(meter, events, subscription.subjects, bounds[1])
        met_by = partial(price_for, prices, meter_name)
        period = month_bounds(month, subscription.time_zone)
        by_day = any(price.get("rate_each") == "day" for price in prices.values() if prices_of_meter(price, meter_name))
        for part in _days(bounds, subscription.time_zone) if by_day else [bounds]:
            for made in metered(
                meter, [r for r in found if r.time < part[1]], part, period, met_by, version_at, band_at
            ):
                key = (subscription.key, made.price, made.version, made.window, meter_name, made.group)
                line = lines.setdefault(key, Line(gathered=0))
                line.counted.append(Counted(part[0], 0, made.quantity, {}))
                line.gathered = (line.gathered or 0) + made.events


def _days(bounds: tuple[datetime, datetime], zone: str) -> list[tuple[datetime, datetime]]:
    """The days of the customer within the bounds."""
    start, end = bounds
    first = start.astimezone(ZoneInfo(zone)).date()
    midnights = [datetime.combine(first + timedelta(days=n), time(), ZoneInfo(zone)) for n in range(1, 40)]
    cuts = [start, *(at.astimezone(UTC) for at in midnights if start < at < end), end]
    return list(pairwise(cuts))


def measure(meter: Any, event: Event) -> Decimal | None:
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
