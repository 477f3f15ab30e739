"""CGRateS tariffs as catalogs of ours: profiles and plans to versions, timings to bands, rates to in-call tiers.

Which profile rates a subject, and which it falls back to for a destination that its plan does not have, is the choice
of a plan, made here. Within it a plan's destinations are labels of a table of prefixes, its intervals bands of one
price: a higher weight goes before a lower one, and of equal weights the interval that begins later in the day. An
interval without conditions is the price's own numbers.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from math import lcm
from typing import Any

from rating.core.money import plain

Bag = Mapping[str, Any]
METHODS = {"up": "up", "down": "down", "middle": "half_away_from_zero"}
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
ANY = "*any"
ONE = {"from": "0", "value": "1"}
"""The rate of a case that is about something else."""


def catalog(prices: Mapping[str, Bag], meter: Bag, **sections: Any) -> dict[str, Any]:
    """One plan of all prices, for one meter of the property `usage`."""
    return {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {"usage": {"event_type": "call", "aggregation": "sum", "property": "usage", **meter}},
        "prices": {key: {"meter": "usage", "currency": "EUR", **price} for key, price in prices.items()},
        "plans": {"plan": {"currency": "EUR", "prices": sorted(prices)}},
        **sections,
    }


def meter_of(case: Bag) -> dict[str, Any]:
    """Seconds of a call last as long as they are; other units do not last."""
    lasting = {"duration": "usage"} if case["price"].get("unit_kind", "seconds") == "seconds" else {}
    return {**lasting, "elapsed": "before"}


def tariff_catalog(case: Bag) -> dict[str, Any] | None:
    """The catalog that rates the case's subject and destination; None where no profile does."""
    tariff, usage = case["price"]["tariff"], case["usage"]
    profile = _profile(tariff, usage)
    if profile is None:
        return None
    plans = {entry["plan"]: tariff["plans"][entry["plan"]] for entry in profile}
    zones = _zones(plans, tariff["destinations"])
    alike: dict[str, list[str]] = {}
    for prefix, zone in zones.items():
        alike.setdefault(repr(zone), []).append(prefix)
    labels = {f"zone-{number}": alike[zone] for number, zone in enumerate(sorted(alike))}
    prices = {
        label: {"model": "call", "match": {"zone": label}, "versions": _versions(profile, plans, zones[prefixes[0]])}
        for label, prefixes in labels.items()
    }
    if all(ANY in plan for plan in plans.values()):
        prices["any"] = {"model": "call", "versions": _versions(profile, plans, dict.fromkeys(plans, (ANY,)))}
    tables = {"prefixes": {"zone": {"property": "destination", "labels": labels}}} if labels else {}
    return catalog(prices, {**meter_of(case), "group_by": ["zone"] if labels else []}, **tables)


def _profile(tariff: Bag, usage: Bag) -> list[Bag] | None:
    """The activations of the first profile whose plan at the start of the call has the destination."""
    profiles = tariff["profiles"]
    waiting = [usage["subject"]] if usage["subject"] in profiles else [ANY]
    for subject in waiting:  # grows by what a profile falls back to
        entries = sorted(profiles.get(subject, []), key=lambda entry: str(entry["from"]))
        begun = [entry for entry in entries if entry["from"] <= usage["start"]]
        if begun and _has(tariff["plans"][begun[-1]["plan"]], tariff["destinations"], usage["destination"]):
            return entries
        waiting += [other for entry in begun[-1:] for other in entry.get("fallback", []) if other not in waiting]
    return None


def _has(plan: Bag, destinations: Bag, number: str) -> bool:
    return ANY in plan or any(number.startswith(prefix) for name in plan for prefix in destinations[name])


Zone = dict[str, tuple[str, ...]]  # by plan, the names of its destinations with the longest matching prefix


def _zones(plans: Mapping[str, Bag], destinations: Mapping[str, Sequence[str]]) -> dict[str, Zone]:
    """What each prefix of any of the plans means in all of them."""
    known = {plan: [(p, n) for n in names if n != ANY for p in destinations[n]] for plan, names in plans.items()}
    prefixes = sorted({prefix for entries in known.values() for prefix, _ in entries})
    return {
        prefix: {plan: _longest(prefix, entries, ANY in plans[plan]) for plan, entries in known.items()}
        for prefix in prefixes
    }


def _longest(number: str, entries: Iterable[tuple[str, str]], has_any: bool) -> tuple[str, ...]:
    matching = [(len(prefix), name) for prefix, name in entries if number.startswith(prefix)]
    longest = max((length for length, _ in matching), default=0)
    return tuple(sorted(name for length, name in matching if length == longest)) or ((ANY,) if has_any else ())


def _versions(profile: Sequence[Bag], plans: Mapping[str, Bag], zone: Zone) -> list[dict[str, Any]]:
    made = []
    for entry in profile:
        intervals = [interval for name in zone[entry["plan"]] for interval in plans[entry["plan"]][name]]
        if intervals:
            made.append({"effective_from": entry["from"], **version_of(intervals)})
    return made


def version_of(intervals: Sequence[Bag]) -> dict[str, Any]:
    """A version of a call price: the interval without conditions, and a band for each that goes before it."""
    ordered = in_order(intervals)
    own = next((place for place in reversed(range(len(ordered))) if not conditions(ordered[place])), None)
    per = lcm(*(rate_per(rate) for interval in ordered for rate in interval.get("rates", [])))
    bands = [
        {**conditions(interval), "weight": place, **numbers_of(interval, per)}
        for place, interval in enumerate(ordered)
        if own is None or place > own
    ]
    base = numbers_of(ordered[own], per) if own is not None else {"unit_amount": "0"}
    return {"per": per, **base, **({"bands": bands} if bands else {})}


def in_order(intervals: Sequence[Bag]) -> list[Bag]:
    """From the one that gives way to all others."""
    return sorted(intervals, key=lambda it: (Decimal(it.get("weight", "0")), _clock(it.get("timing", {}).get("start"))))


def _clock(text: str | None) -> time:
    return time.fromisoformat(text) if text else time(0)


def conditions(interval: Bag) -> dict[str, Any]:
    """When a band holds. The end of a timing is its last instant, that of a band the first one after it."""
    timing = interval.get("timing", {})
    found: dict[str, Any] = {}
    if _clock(timing.get("start")) > time(0):
        found["from"] = timing["start"]
    if timing.get("end"):
        end = datetime.combine(datetime(2000, 1, 1, tzinfo=UTC), _clock(timing["end"])) + timedelta(microseconds=1)
        found["to"] = end.time().isoformat()
    if timing.get("week_days"):
        found["weekdays"] = [WEEKDAYS[day] for day in timing["week_days"]]
    return found | {name: timing[name] for name in ("month_days", "months", "years") if timing.get(name)}


def rate_per(rate: Bag) -> int:
    """How many units the rate is for; its missing unit is one."""
    return int(Decimal(rate.get("per") or 1))


def numbers_of(interval: Bag, per: int) -> dict[str, Any]:
    """Connect fee, in-call tiers, increments, the most that a call costs, and its rounding."""
    rates = sorted(interval.get("rates") or [ONE], key=lambda rate: Decimal(rate["from"]))
    ends = [*(rate["from"] for rate in rates[1:]), None]
    numbers: dict[str, Any] = {"tiers": [_tier(rate, end, per) for rate, end in zip(rates, ends, strict=True)]}
    if Decimal(interval.get("connect_fee", "0")):
        numbers["connect_fee"] = interval["connect_fee"]
    if "rounding_method" in interval:
        rounding = {"mode": METHODS[interval["rounding_method"]], "decimals": interval["rounding_decimals"]}
        numbers["round_each"] = rounding
    if interval.get("max_cost_strategy") == "free":
        numbers["maximum_per_event"] = interval["max_cost"]
    return numbers


def _tier(rate: Bag, end: str | None, per: int) -> dict[str, Any]:
    amount = plain(Decimal(rate["value"]) * per / rate_per(rate))
    return {"up_to": end, "unit_amount": amount, "increment": rate.get("increment") or "1"}
