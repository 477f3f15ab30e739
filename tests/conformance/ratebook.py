"""Residential electricity tariffs of ratebook as catalogs of ours, for one month.

A tariff says by month, kind of day and hour which period holds: a period is a band, with its tiers. Its rates are a
kilowatt-hour, of 60,000 watt-minutes. What is said by the day, fixed charges and the edges of some tiers, is taken for
the days of the month.
"""

from calendar import monthrange
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rating.core.money import plain

Bag = Mapping[str, Any]
WATT_MINUTES = 60_000
KINDS = {"weekday": ["mon", "tue", "wed", "thu", "fri"], "weekend": ["sat", "sun"]}


def catalog_of(tariffs: Sequence[Bag], month: str) -> dict[str, Any]:
    """A plan for each tariff, by its slug, and the meter of watt-minutes."""
    days = monthrange(*map(int, month.split("-")))[1]
    prices: dict[str, Any] = {}
    plans: dict[str, Any] = {}
    for entry in tariffs:
        own = {f"{entry['slug']}:{key}": price for key, price in _prices(entry["tariff"], days).items()}
        minimum = _by_month(entry["tariff"].get("min_charge"), days)
        adjust = {"adjust": [{"kind": "minimum", "amount": plain(minimum)}]} if minimum else {}
        prices |= own
        plans[entry["slug"]] = {"currency": "USD", "prices": sorted(own), **adjust}
    meter = {"event_type": "reading", "aggregation": "sum", "property": "watt_minutes"}
    return {"tallystick": 1, "currencies": ["USD"], "meters": {"energy": meter}, "prices": prices, "plans": plans}


def _prices(tariff: Bag, days: int) -> dict[str, Any]:
    version = version_of(tariff, days)
    energy = {"meter": "energy", "currency": "USD", "model": "graduated", "versions": [version]}
    fixed = sum((_by_month(charge, days) for charge in tariff["fixed_charges"]), Decimal(0))
    return {"energy": energy, "fixed": {"currency": "USD", "model": "flat", "versions": [{"amount": plain(fixed)}]}}


def _by_month(charge: Bag | None, days: int) -> Decimal:
    if charge is None:
        return Decimal(0)
    return Decimal(charge["amount"]) * {"$/month": 1, "$/day": days}[charge["unit"]]


def version_of(tariff: Bag, days: int) -> dict[str, Any]:
    """The period that holds most of the time is the version's own, each other one a band."""
    periods, own = tariff["energy"]["periods"], own_period(tariff["schedule"])
    found = {number: when for number, when in _times(tariff["schedule"]).items() if number != own}
    bands = [{"when": when, "tiers": _tiers(periods[number], days)} for number, when in sorted(found.items())]
    return {"per": WATT_MINUTES, "tiers": _tiers(periods[own], days), **({"bands": bands} if bands else {})}


def own_period(schedule: Bag) -> int:
    """The period of most hours of the year."""
    hours = Counter(period for kind in KINDS for month in schedule[kind] for period in month)
    return int(hours.most_common(1)[0][0])


def period_of(schedule: Bag, window: int | None) -> int:
    """The period of a charge line."""
    others = sorted({period for kind in KINDS for month in schedule[kind] for period in month} - {own_period(schedule)})
    return own_period(schedule) if window is None else others[window]


def _times(schedule: Bag) -> dict[int, list[dict[str, Any]]]:
    """When each period holds; months with the same hours are one season."""
    found: dict[int, list[dict[str, Any]]] = {}
    for kind, weekdays in KINDS.items():
        seasons: dict[tuple[int, ...], list[int]] = {}
        for number, hours in enumerate(schedule[kind], start=1):
            seasons.setdefault(tuple(hours), []).append(number)
        for hours, months in seasons.items():
            for period, first, last in _runs(hours):
                span = {"from": f"{first:02}:00", "to": f"{last:02}:00"} if (first, last) != (0, 24) else {}
                found.setdefault(period, []).append({"months": months, "weekdays": weekdays, **span})
    return found


def _runs(hours: Sequence[int]) -> list[tuple[int, int, int]]:
    """The periods of a day with the hour that each begins at and the one it ends at."""
    starts = [hour for hour in range(24) if hour == 0 or hours[hour] != hours[hour - 1]]
    return [(hours[start], start, end) for start, end in zip(starts, [*starts[1:], 24], strict=True)]


def _tiers(period: Bag, days: int) -> list[dict[str, Any]]:
    made = []
    for tier in period["tiers"]:
        edge = None if tier["max"] is None else Decimal(tier["max"]) * WATT_MINUTES * _days(tier["max_unit"], days)
        amount = Decimal(tier["rate"]) + Decimal(tier.get("adj") or 0)
        made.append({"up_to": None if edge is None else plain(edge), "unit_amount": plain(amount)})
    return made


def _days(unit: str, days: int) -> int:
    return {"kWh": 1, "kWh daily": days}[unit]
