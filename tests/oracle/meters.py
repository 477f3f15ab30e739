"""Meters as loops: which events a meter reads, and what their values come to. Fractions, rounded once."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Context, Decimal
from fractions import Fraction
from operator import ge, gt, le, lt
from typing import Any

MODES = {
    "up": ROUND_UP, "down": ROUND_DOWN, "ceiling": ROUND_CEILING, "floor": ROUND_FLOOR,
    "half_away_from_zero": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN,
}  # fmt: skip
TIMED = ("time_weighted", "weighted_sum")
QUARTER = timedelta(minutes=15)
RANGES: Mapping[str, Callable[[Any, Any], bool]] = {"more_than": gt, "at_least": ge, "less_than": lt, "at_most": le}
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True)
class Reading:
    time: datetime
    place: int
    value: Decimal
    item: str | None
    data: Mapping[str, Any]
    series: tuple[Any, ...]


@dataclass(frozen=True)
class Metered:
    """One quantity: where it belongs, and the number of events of the period behind it."""

    price: str
    version: int
    window: int | None
    group: str
    quantity: Decimal
    events: int


def is_plain(meter: Mapping[str, Any]) -> bool:
    """Whether the meter only counts or sums its events, one by one."""
    known = {"event_type", "aggregation", "property", "add", "subtract", "filters", "group_by", "duration", "elapsed"}
    more = meter.keys() - known
    return meter["aggregation"] in ("count", "sum") and not more


def passes(rule: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    value = data.get(rule["property"])
    if "exists" in rule:
        return (value is not None) is bool(rule["exists"])
    if "not_in" in rule:
        return value not in rule["not_in"]
    if value is None:
        return False
    if "prefix" in rule:
        return bool(str(value).startswith(rule["prefix"]))
    if "in" in rule or "equals" in rule:
        return bool(value in rule.get("in", [rule.get("equals")]))
    return all(check(Decimal(value), Decimal(rule[name])) for name, check in RANGES.items() if name in rule)


def reads(meter: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    data = event["data"]
    is_excluded = any(all(passes(rule, data) for rule in rules) for rules in meter.get("exclude", []))
    passed = all(passes(rule, data) for rule in meter.get("filters", []))
    return bool(event["type"] == meter["event_type"]) and passed and not is_excluded


def value_of(meter: Mapping[str, Any], data: Mapping[str, Any]) -> Decimal | None:
    """The value of an event that the meter reads; None where it does not count it."""
    if meter["aggregation"] == "count":
        return Decimal(1)
    if meter["aggregation"] == "unique_count":
        is_gone = "removed_when" in meter and passes(meter["removed_when"], data)
        return None if data.get(meter["property"]) is None else Decimal(0 if is_gone else 1)
    added, taken = [meter["property"], *meter.get("add", [])], meter.get("subtract", [])
    if all(data.get(name) is None for name in (*added, *taken)):
        return None
    plus = sum((Decimal(data.get(name) or 0) for name in added), Decimal(0))
    return plus - sum((Decimal(data.get(name) or 0) for name in taken), Decimal(0))


def readings(meter: Mapping[str, Any], events: Sequence[Any], subjects: Sequence[str], end: datetime) -> list[Reading]:
    """The readings before `end`, in their order."""
    found = []
    for place, event in enumerate(events):
        data = event["data"]
        if event["subject"] in subjects and event["time"] < end and reads(meter, event):
            value = value_of(meter, data)
            if value is not None:
                names = sorted({*meter.get("group_by", []), *meter.get("series_by", [])})
                series = tuple(event["subject"] if name == "subject" else data.get(name) for name in names)
                item = data.get(meter["property"]) if meter["aggregation"] == "unique_count" else None
                found.append(Reading(event["time"], place, value, item, data, series))
    return sorted(found, key=lambda reading: (reading.time, reading.place))


def metered(
    meter: Mapping[str, Any],
    found: Sequence[Reading],
    bounds: tuple[datetime, datetime],
    period: tuple[datetime, datetime],
    price_for: Callable[[Mapping[str, Any]], tuple[str, Any] | None],
    version_at: Callable[[Any, datetime], int | None],
    window_at: Callable[[Any, datetime], int | None],
) -> Iterator[Metered]:
    """What `found` comes to on the part `bounds` of the billing period `period`, line by line."""
    timed = meter["aggregation"] in TIMED
    is_carried = meter.get("carried", meter["aggregation"] in ("time_weighted", "rate_of_change"))
    used = [reading for reading in found if is_carried or reading.time >= bounds[0]]
    adds_up = timed or meter["aggregation"] == "rate_of_change" or (_is_sum(meter) and not is_carried)
    parts = list(_pieces(meter, used, bounds)) if adds_up else [(r.time, Fraction(r.value), r) for r in used]
    lines: dict[tuple[str, int, int | None, str], list[tuple[datetime, Fraction, Reading]]] = {}
    for at, amount, reading in parts:
        priced = price_for(reading.data)
        if priced is None:
            continue
        name, price = priced
        version = version_at(price, at if adds_up else bounds[1] - timedelta(microseconds=1))
        if version is None:
            continue
        window = window_at(price["versions"][version], at) if adds_up or not is_carried else None
        dimensions = sorted({*price.get("match", {}), *price.get("group_by", [])})
        values = {name: reading.data.get(name) for name in dimensions}
        group = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
        lines.setdefault((name, version, window, group), []).append((at, amount, reading))
    for key, line in lines.items():
        within = {reading.place for at, _, reading in line if at == reading.time and at >= bounds[0]}
        number = sum((a for _, a, _ in line), Fraction(0)) if adds_up else _whole(meter, [r for *_, r in line], bounds)
        if within or number:
            yield Metered(*key, converted(meter, number, period), len(within))


def _is_sum(meter: Mapping[str, Any]) -> bool:
    return meter["aggregation"] in ("count", "sum")


def _pieces(
    meter: Mapping[str, Any], used: Sequence[Reading], bounds: tuple[datetime, datetime]
) -> Iterator[tuple[datetime, Fraction, Reading]]:
    """What adds up: (instant, amount, reading), an amount in units x microseconds where levels are held."""
    if _is_sum(meter):
        yield from ((r.time, Fraction(r.value), r) for r in used)
        return
    for series in {r.series for r in used}:
        own = [r for r in used if r.series == series]
        if meter["aggregation"] == "rate_of_change":
            previous: Decimal | None = None
            for r in own:
                rise = Decimal(0) if previous is None else r.value if r.value < previous else r.value - previous
                previous = r.value
                if r.time >= bounds[0]:
                    yield r.time, Fraction(rise), r
        else:
            yield from _held(meter, own, bounds)


def _held(
    meter: Mapping[str, Any], own: Sequence[Reading], bounds: tuple[datetime, datetime]
) -> Iterator[tuple[datetime, Fraction, Reading]]:
    level = Decimal(0)
    for place, r in enumerate(own):
        level = level + r.value if meter["aggregation"] == "weighted_sum" else r.value
        at = max(r.time, bounds[0])
        until = max(own[place + 1].time, bounds[0]) if place + 1 < len(own) else bounds[1]
        if r.time >= bounds[0]:
            yield r.time, Fraction(0), r
        while at < until:
            grid = at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0) + QUARTER
            upper = min(grid, until)
            yield at, Fraction(level) * ((upper - at) // timedelta(microseconds=1)), r
            at = upper


def _whole(meter: Mapping[str, Any], used: Sequence[Reading], bounds: tuple[datetime, datetime]) -> Fraction:
    """One number of all readings of a line, in their order."""
    return Fraction(_WHOLE[meter["aggregation"]](meter, used, bounds[0]))


def _extreme(meter: Mapping[str, Any], used: Sequence[Reading], start: datetime) -> Decimal:
    last_before = {r.series: r.value for r in used if r.time < start}
    values = [*last_before.values(), *(r.value for r in used if r.time >= start)]
    return min(values) if meter["aggregation"] == "min" else max(values)


def _percentile(meter: Mapping[str, Any], used: Sequence[Reading], start: datetime) -> Decimal:
    values = sorted(r.value for r in used)
    rank = Fraction(meter["percentile"]) * len(values) / 100
    return values[-(-rank.numerator // rank.denominator) - 1]


def _unique(meter: Mapping[str, Any], used: Sequence[Reading], start: datetime) -> Decimal:
    left = {r.item: r.value for r in used}
    return sum(left.values(), Decimal(0))


def _mark(meter: Mapping[str, Any], used: Sequence[Reading], start: datetime) -> Decimal:
    level = sum((r.value for r in used if r.time < start), Decimal(0))
    mark = max(level, Decimal(0))
    for r in used:
        if r.time >= start:
            level += r.value
            mark = max(mark, level)
    return mark


_WHOLE: Mapping[str, Callable[[Mapping[str, Any], Sequence[Reading], datetime], Decimal | Fraction]] = {
    "sum": lambda meter, used, start: sum((r.value for r in used), Decimal(0)),
    "min": _extreme,
    "max": _extreme,
    "average": lambda meter, used, start: sum((Fraction(r.value) for r in used), Fraction(0)) / len(used),
    "latest": lambda meter, used, start: used[-1].value,
    "percentile": _percentile,
    "unique_count": _unique,
    "high_water_mark": _mark,
}


def converted(meter: Mapping[str, Any], number: Fraction, period: tuple[datetime, datetime]) -> Decimal:
    number = number * Fraction(meter.get("factor", 1)) / Fraction(meter.get("divide_by", 1))
    if meter["aggregation"] in TIMED:
        unit = meter.get("time_unit", "period" if meter["aggregation"] == "weighted_sum" else "hour")
        length = period[1].timestamp() - period[0].timestamp()
        number /= 10**6 * (SECONDS[unit] if unit != "period" else int(length))
    rounding = meter.get("rounding", {"mode": "half_even", "decimals": 9})
    return _rounded(number, rounding["mode"], rounding.get("decimals", 0))


def _rounded(number: Fraction, mode: str, decimals: int) -> Decimal:
    return (
        _long(number * Fraction(10) ** decimals)
        .to_integral_value(rounding=MODES[mode])
        .scaleb(-decimals, context=Context(prec=100))
    )


def _long(steps: Fraction) -> Decimal:
    """The quotient cut at 40 decimals, with a digit behind them that says whether something was cut off."""
    whole, rest = divmod(abs(steps.numerator) * 10**40, steps.denominator)
    cut = Decimal(whole * 10 + (1 if rest else 0)).scaleb(-41, context=Context(prec=200))
    return -cut if steps < 0 else cut
