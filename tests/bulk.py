"""Thousands of lines of one price model in one run: prices of random numbers, each with customers who used random
quantities of it, from a billionth to 10^11, below zero, and right beside the edges of tiers; the first customer of each
price nearly 10^15 (RELIABILITY T10). Where usage is priced in several parts, a price has 6 decimals, so that none of
them is rounded at the 21st.

Every line is an example of its own: which price, which events. So one run of the engine, which costs a tenth of a
second however many lines it has, is compared with as many oracles.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.oracle import Subscription

FIRST = datetime(2026, 10, 1, tzinfo=UTC)
LAST_DIGIT = Decimal("1e-9")
CURRENCIES = ("EUR", "JPY", "KWD", "CLF")
MODES = ("half_away_from_zero", "half_even", "up", "down")
EDGES = ("0.5", "1", "2.5", "10", "99.999999999", "1000", "123456789")
Draw = random.Random
Numbers = dict[str, Any]


@dataclass(frozen=True)
class Bulk:
    """A catalog with a plan for each price, subscriptions, and events."""

    document: dict[str, Any]
    subscriptions: list[Subscription]
    events: list[dict[str, Any]]


def money(draw: Draw, digits_max: int = 12) -> str:
    """Up to 1 or 10, with up to 12 decimals."""
    digits = min(draw.choice([0, 2, 6, 12]), digits_max)
    return format(Decimal(draw.randint(0, 10 ** (digits + draw.randint(0, 1)))).scaleb(-digits), "f")


def tiers(draw: Draw, amount: str = "unit_amount", digits_max: int = 12) -> list[Numbers]:
    edges = sorted(draw.sample(EDGES, draw.randint(0, 4)), key=Decimal)
    flat = {} if amount == "amount" else {"flat_amount": money(draw)}
    return [
        {"up_to": edge, amount: money(draw, digits_max), **(flat if draw.random() < 0.5 else {})}
        for edge in [*edges, None]
    ]


def _maybe(draw: Draw, **fields: Callable[[], Any]) -> Numbers:
    return {name: field() for name, field in fields.items() if draw.random() < 0.3}


def _free(draw: Draw) -> Numbers:
    return _maybe(draw, free_units=lambda: draw.choice(["0", "0.5", "100", "1000000"]))


def _limits(draw: Draw) -> Numbers:
    return _maybe(
        draw,
        minimum_per_event=lambda: draw.choice(["0", "0.25", "3"]),
        maximum_per_event=lambda: draw.choice(["3", "12.5"]),
    )


def _share(draw: Draw) -> Numbers:
    own = _maybe(
        draw,
        fixed_amount=lambda: money(draw),
        free_events=lambda: draw.randint(0, 3),
        free_while=lambda: draw.choice(["both", "either"]),
    )
    return {**own, **_free(draw), **_limits(draw)}


def _mode(draw: Draw) -> str:
    return draw.choice(["graduated", "volume"])


def _per(draw: Draw) -> int:
    return draw.choice([1, 1000, 1_000_000])


def _package(draw: Draw) -> Numbers:
    return {
        "package_size": draw.choice(["1", "2.5", "10", "3", "1000"]),
        "rounding": draw.choice(["up", "down"]),
        **_free(draw),
    }


def _tiered(draw: Draw) -> Numbers:
    unused = _maybe(draw, flat_when_unused=lambda: True)
    return {"tiers": tiers(draw), "per": _per(draw), **_free(draw), **unused}


def _blocks(draw: Draw) -> Numbers:
    made = [
        {"block_size": draw.choice(["0.5", "10", "7"]), "blocks": draw.randint(1, 5), "amount": money(draw)}
        for _ in range(draw.randint(1, 3))
    ]
    del made[-1]["blocks"]
    return {"mode": _mode(draw), "block_tiers": made}


def _allowance(draw: Draw) -> Numbers:
    above = {"unit_amount": money(draw), "per": _per(draw)}
    if draw.random() < 0.5:
        above = {"tiers": tiers(draw), "mode": _mode(draw)}
    return {"included": draw.choice(["0", "1", "99.999999999", "1000000"]), **above}


def _call(draw: Draw) -> Numbers:
    rate = {"unit_amount": money(draw)} | _maybe(
        draw,
        first_increment=lambda: draw.choice(["30", "60"]),
        increment=lambda: draw.choice(["1", "6", "60", "0.5"]),
    )
    if draw.random() < 0.4:
        ends = draw.choice([[None], ["45", None], ["45", "600", None]])
        steps = [draw.choice(["1", "6", "60", None]) for _ in ends]
        rate = {
            "tiers": [
                {"up_to": e, "unit_amount": money(draw), "increment": s} for e, s in zip(ends, steps, strict=True)
            ]
        }
    return {**rate, "per": draw.choice([1, 10]), **_maybe(draw, connect_fee=lambda: money(draw)), **_limits(draw)}


NUMBERS: Mapping[str, Callable[[Draw], Numbers]] = {
    "per_unit": lambda draw: {"unit_amount": money(draw), "per": _per(draw), **_free(draw), **_limits(draw)},
    "graduated": _tiered,
    "volume": _tiered,
    "stairstep": lambda draw: {"tiers": tiers(draw, "amount"), **_free(draw)},
    "graduated_percentage": lambda draw: {"tiers": tiers(draw, "percent"), **_free(draw)},
    "volume_percentage": lambda draw: {"tiers": tiers(draw, "percent"), **_free(draw)},
    "package": lambda draw: {**_package(draw), "amount": money(draw)},
    "tiered_package": lambda draw: {**_package(draw), "tiers": tiers(draw), "mode": _mode(draw)},
    "per_request": lambda draw: {"tiers": tiers(draw, digits_max=6), "per": _per(draw), "size": "k"},
    "percentage": lambda draw: {"percent": money(draw), **_share(draw)},
    "basis_points": lambda draw: {"basis_points": money(draw)[:8], **_share(draw)},
    "dynamic": lambda draw: {
        "amount_property": "k",
        "multiplier": draw.choice(["1", "1.25", "0"]),
        "per": draw.choice([1, 100]),
        **_limits(draw),
    },
    "matrix": lambda draw: {
        "cells": [{"match": {"d": "a"}, "unit_amount": money(draw)}],
        "unit_amount": money(draw),
        "per": _per(draw),
    },
    "weighted_matrix": lambda draw: {
        "cells": [{"match": {"d": "a"}, "factor": draw.choice(["0.5", "2", "1"])}],
        "factor": "1.5",
        "tiers": tiers(draw, digits_max=6),
        "mode": _mode(draw),
        "per": draw.choice([1, 1000]),
    },
    "allowance": _allowance,
    "blocks": _blocks,
    "capacity": lambda draw: {
        "capacity_tiers": [
            {"up_to": tier["up_to"], "amount": amount}
            for made in [tiers(draw, "amount")]
            for tier, amount in zip(made, sorted((t["amount"] for t in made), key=Decimal), strict=True)
        ]
    },
    "call": _call,
}
"""What a version of a price says, by its model."""

BY_EVENT = {"per_unit", "graduated", "volume", "percentage", "basis_points", "graduated_percentage"}


def bulk(model: str, seed: int, *, prices: int, customers: int) -> Bulk:
    """So many prices of the model, so many customers each."""
    draw = random.Random(f"{model} {seed}")
    meter = {"event_type": "e", "aggregation": "max" if model == "capacity" else "sum", "property": "n"}
    made = {f"p{number}": _price(draw, model) for number in range(prices)}
    document = {
        "tallystick": 1,
        "currencies": list(CURRENCIES),
        "meters": {"m": {**meter, "group_by": ["d"]}},
        "prices": made,
        "plans": {key: {"currency": price["currency"], "prices": [key]} for key, price in made.items()},
    }
    bought = [(key, f"{key}-{number}") for key in made for number in range(customers)]
    subscriptions = [Subscription(s, s, (s,), key, "UTC", datetime(2020, 1, 1, tzinfo=UTC)) for key, s in bought]
    events = [event for key, s in bought for event in _events(draw, s, made[key])]
    events += [_event(draw, f"{key}-0", Decimal(draw.randint(10**14, 10**15)) - LAST_DIGIT) for key in made]
    return Bulk(document, subscriptions, events)


def _price(draw: Draw, model: str) -> dict[str, Any]:
    numbers = NUMBERS[model](draw)
    places = ["line", "price"] + (["event"] if model in BY_EVENT and "flat_when_unused" not in numbers else [])
    grouped = model not in ("matrix", "weighted_matrix") and "flat_when_unused" not in numbers
    return {
        "meter": "m",
        "currency": draw.choice(CURRENCIES),
        "model": model,
        "group_by": draw.choice([[], ["d"]]) if grouped else [],
        "rounding": draw.choice(MODES),
        "rounding_place": draw.choice(places),
        "versions": [numbers],
    }


def _events(draw: Draw, subject: str, price: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Up to four events; often they sum to the edge of a tier, or to the last digit above or below it."""
    edges = [tier["up_to"] for tier in price["versions"][0].get("tiers", []) if tier["up_to"] is not None]
    made = [_quantity(draw) for _ in range(draw.randint(1, 4))]
    if draw.random() < 0.4:
        edge = Decimal(draw.choice([*edges, "0", "1", "10"]))
        made.append(edge + draw.choice([-1, 0, 1]) * LAST_DIGIT - sum(made, Decimal(0)))
    return [_event(draw, subject, quantity) for quantity in made]


def _event(draw: Draw, subject: str, quantity: Decimal) -> dict[str, Any]:
    at = FIRST + timedelta(seconds=draw.randrange(31 * 86_400))
    brought = abs(_quantity(draw)) // LAST_DIGIT * LAST_DIGIT
    return {"type": "e", "subject": subject, "time": at, "data": {"n": quantity, "k": brought, "d": draw.choice("ab")}}


def _quantity(draw: Draw) -> Decimal:
    """From a billionth to 10^11, each magnitude as often as any other; one in five below zero."""
    magnitude = draw.randint(-9, 11)
    digits = min(draw.choice([1, 3, 9, 15]), magnitude + 9) if magnitude > -9 else 0
    exact = Decimal(draw.randint(1, 10 ** max(digits, 1) - 1)).scaleb(magnitude - max(digits, 1))
    quantity = max(exact // LAST_DIGIT * LAST_DIGIT, LAST_DIGIT)
    return -quantity if draw.random() < 0.2 else quantity
