"""The second opinion: a rating run as plain loops over `decimal.Decimal`, from the catalog document alone.

It shares no code with the engine. A document is the mapping that a catalog file holds (rating/catalog); an event is a
mapping with `type`, `subject`, `time` (aware datetime) and `data` (numbers as int or Decimal, dimensions as str).
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Context, Decimal
from typing import Any
from zoneinfo import ZoneInfo

EXACT = Context(prec=120)
MINOR_DIGITS = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4}
MODES = {"half_away_from_zero": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN, "up": ROUND_UP, "down": ROUND_DOWN}
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
    quantity: Decimal = Decimal(0)
    events: int = 0
    amount: Decimal = Decimal(0)
    rounded: Decimal = Decimal(0)
    sizes: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))  # per_request: quantity per tier
    counts: dict[int, int] = field(default_factory=lambda: defaultdict(int))


Key = tuple[str, str, int, int | None, str | None, str]  # subscription, price, version, window, meter, group


def rate(
    document: Document, events: Iterable[Event], subscriptions: Iterable[Subscription], month: str
) -> dict[Key, Line]:
    lines: dict[Key, Line] = {}
    events = list(events)
    for subscription in subscriptions:
        start, end = _month(month, subscription.time_zone)
        start, end = max(start, subscription.starts_at), min(end, subscription.ends_at or end)
        if start >= end:
            continue
        prices = _plan_prices(document, subscription.plan)
        for name, price in prices.items():
            if price["model"] == "flat":
                _charge_fee(lines, subscription, name, price, start)
        for event in events:
            if event["subject"] in subscription.subjects and start <= event["time"] < end:
                _count_event(lines, document, subscription, prices, event)
    for (_, name, version, window, _, _), line in lines.items():
        price = document["prices"][name]
        line.amount = _amount(price, _rate(price, version, window), line)
        line.rounded = _round(line.amount, price)
    return lines


def _month(month: str, zone: str) -> tuple[datetime, datetime]:
    year, number = map(int, month.split("-"))
    after = (year + number // 12, number % 12 + 1)
    return datetime(year, number, 1, tzinfo=ZoneInfo(zone)), datetime(*after, 1, tzinfo=ZoneInfo(zone))


def _plan_prices(document: Document, plan: str) -> dict[str, Any]:
    patterns = document["plans"][plan]["prices"]
    return {
        name: price
        for name, price in document["prices"].items()
        if any(name == p or (p.endswith("*") and name.startswith(p[:-1])) for p in patterns)
    }


def _charge_fee(lines: dict[Key, Line], subscription: Subscription, name: str, price: Any, at: datetime) -> None:
    version = _version_at(price, at)
    if version is not None:
        lines[subscription.key, name, version, None, None, "{}"] = Line()


def _count_event(
    lines: dict[Key, Line], document: Document, subscription: Subscription, prices: Any, event: Event
) -> None:
    for meter_name, meter in document["meters"].items():
        quantity = _measure(meter, event)
        if quantity is None:
            continue
        found = _price_for(prices, meter_name, event)
        if found is None:
            continue
        name, price = found
        version = _version_at(price, event["time"])
        if version is None:
            continue
        window = _window_at(price["versions"][version], event["time"])
        dimensions = sorted({*price.get("match", {}), *price.get("group_by", [])})
        group = json.dumps({d: event["data"].get(d) for d in dimensions}, separators=(",", ":"), ensure_ascii=False)
        line = lines.setdefault((subscription.key, name, version, window, meter_name, group), Line())
        line.quantity += quantity
        line.events += 1
        if price["model"] == "per_request":
            rate_ = _rate(price, version, window)
            tier = _tier_of(rate_["tiers"], Decimal(event["data"].get(rate_["size"]) or 0))
            line.sizes[tier] += quantity
            line.counts[tier] += 1


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


def _price_for(prices: Mapping[str, Any], meter: str, event: Event) -> tuple[str, Any] | None:
    fitting = [
        (name, price)
        for name, price in prices.items()
        if meter in (price.get("meters") or [price.get("meter")])
        and all(event["data"].get(d) == v for d, v in price.get("match", {}).items())
    ]
    return max(fitting, key=lambda found: len(found[1].get("match", {})), default=None)


def _version_at(price: Any, at: datetime) -> int | None:
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


def _window_at(version: Any, at: datetime) -> int | None:
    for index, window in enumerate(version.get("time_of_day", [])):
        clock = at.astimezone(ZoneInfo(window["time_zone"])).time()
        first, last = time.fromisoformat(window["from"]), time.fromisoformat(window["to"])
        if first <= clock < last if first < last else clock >= first or clock < last:
            return index
    return None


def _rate(price: Any, version: int, window: int | None) -> Any:
    base = price["versions"][version]
    return base if window is None else {**base, **base["time_of_day"][window]}


def _tier_of(tiers: Any, quantity: Decimal) -> int:
    return next(i for i, t in enumerate(tiers) if t["up_to"] is None or quantity <= Decimal(t["up_to"]))


def _amount(price: Any, rate_: Any, line: Line) -> Decimal:
    model, quantity, per = price["model"], line.quantity, Decimal(rate_.get("per", 1))
    if model == "flat":
        return Decimal(rate_["amount"])
    if model == "per_unit":
        return _units(quantity, rate_["unit_amount"], per)
    if model == "package":
        packages = (quantity / Decimal(rate_["package_size"])).to_integral_value(ROUND_CEILING) if quantity > 0 else 0
        return packages * Decimal(rate_["amount"])
    tiers = rate_["tiers"]
    if model == "per_request":
        return sum(
            (
                _units(q, tiers[i].get("unit_amount", 0), per)
                + line.counts[i] * Decimal(tiers[i].get("flat_amount", 0))
                for i, q in line.sizes.items()
            ),
            Decimal(0),
        )
    if model == "volume":
        tier = tiers[_tier_of(tiers, quantity)]
        return _units(quantity, tier.get("unit_amount", 0), per) + (
            Decimal(tier.get("flat_amount", 0)) if quantity > 0 else 0
        )
    return _graduated(tiers, quantity, per)


def _graduated(tiers: Any, quantity: Decimal, per: Decimal) -> Decimal:
    amount, lower = Decimal(0), Decimal(0)
    for index, tier in enumerate(tiers):
        upper = quantity if tier["up_to"] is None else min(quantity, Decimal(tier["up_to"]))
        if index == 0 or quantity > lower:
            part = upper - (lower if index else 0)
            amount += _units(part, tier.get("unit_amount", 0), per) + (
                Decimal(tier.get("flat_amount", 0)) if part > 0 else 0
            )
        lower = upper
    return amount


def _units(quantity: Decimal, unit_amount: Any, per: Decimal) -> Decimal:
    """To 21 decimals, half even, where the amount has more: the engine's one stated limit."""
    exact = EXACT.divide(EXACT.multiply(quantity, Decimal(unit_amount)), per)
    return exact.quantize(Decimal(1).scaleb(-21), rounding=ROUND_HALF_EVEN, context=EXACT)


def _round(amount: Decimal, price: Any) -> Decimal:
    step = Decimal(1).scaleb(-MINOR_DIGITS[price["currency"]])
    return amount.quantize(step, rounding=MODES[price.get("rounding", "half_away_from_zero")], context=EXACT)
