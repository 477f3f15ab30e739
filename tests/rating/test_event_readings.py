"""Rated events of meters that are no sum: the events that decide have the line, the others are there with nothing."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests import oracle
from tests.frames import SINCE
from tests.rating.test_rated_events import FIRST, run

ZERO = ("0", "0")


def priced(meter: dict[str, Any], **version: Any) -> dict[str, Any]:
    return {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {"m": {"event_type": "e", **meter}},
        "prices": {
            "p": {"meter": "m", "currency": "EUR", "model": "per_unit", "versions": [{"unit_amount": "2", **version}]}
        },
        "plans": {"plan": {"currency": "EUR", "prices": ["p"]}},
    }


def shares_of(meter: dict[str, Any], events: list[dict[str, Any]]) -> list[tuple[int | None, str, str]]:
    """The event, its quantity and its amount at 2 a unit, in the order of events."""
    given = [
        {"type": "e", "subject": "acme", "time": FIRST + timedelta(hours=hour), "data": data}
        for hour, data in enumerate(events)
    ]
    rated, shared = run(priced(meter), given, [oracle.Subscription("s", "acme", ("acme",), "plan", "UTC", SINCE)])
    assert shared["quantity"].sum() == rated.lines["quantity"].sum()
    assert shared["amount"].sum() == rated.lines["amount"].sum()
    rows = shared.sort("event").select("event", "quantity", "amount").rows()
    return [(event, _plain(quantity), _plain(amount)) for event, quantity, amount in rows]


def _plain(number: Decimal) -> str:
    return format(number.normalize(), "f") if number else "0"


def numbers(*values: int) -> list[dict[str, Any]]:
    return [{"n": Decimal(value)} for value in values]


@pytest.mark.parametrize(
    ("aggregation", "events", "expected"),
    [
        pytest.param("max", numbers(3, 7, 7), [ZERO, ("7", "14"), ZERO], id="max: the first that is as high"),
        pytest.param("min", numbers(3, 7, 2), [ZERO, ZERO, ("2", "4")], id="min"),
        pytest.param("latest", numbers(9, 4), [ZERO, ("4", "8")], id="latest"),
        pytest.param("average", numbers(1, 5), [("0.5", "1"), ("2.5", "5")], id="average 3: 1 and 5 of 6 parts"),
        pytest.param(
            "high_water_mark", numbers(5, -3, 4, -6), [ZERO, ZERO, ("6", "12"), ZERO], id="5, 2, 6, 0: the third"
        ),
        pytest.param("max", numbers(-3, -1), [ZERO, ("-1", "-2")], id="a maximum below zero"),
    ],
)
def test_the_event_that_decides_has_the_line(
    aggregation: str, events: list[dict[str, Any]], expected: list[tuple[str, str]]
) -> None:
    got = shares_of({"aggregation": aggregation, "property": "n"}, events)
    assert got == [(number, *share) for number, share in enumerate(expected, start=1)]


def test_a_percentile_is_the_event_at_its_rank() -> None:
    """Of 20 values the 95th percentile is number 19."""
    meter = {"aggregation": "percentile", "percentile": "95", "property": "n"}
    got = shares_of(meter, numbers(*range(20, 0, -1)))
    assert [it for it in got if it[1] != "0"] == [(2, "19", "38")]


def test_each_value_is_counted_with_its_first_event() -> None:
    meter = {"aggregation": "unique_count", "property": "user"}
    got = shares_of(meter, [{"user": "ann"}, {"user": "bob"}, {"user": "ann"}])
    assert got == [(1, "1", "2"), (2, "1", "2"), (3, *ZERO)]


def test_a_conversion_is_shared_too() -> None:
    """7 / 2 = 3.5, rounded up to 4."""
    meter = {"aggregation": "max", "property": "n", "divide_by": 2, "rounding": {"mode": "up", "decimals": 0}}
    assert shares_of(meter, numbers(3, 7)) == [(1, *ZERO), (2, "4", "8")]


def test_a_level_over_time_is_a_row_without_an_event() -> None:
    meter = {"aggregation": "time_weighted", "property": "n", "time_unit": "hour"}
    [(event, quantity, _)] = shares_of(meter, numbers(1))
    assert (event, Decimal(quantity) > 0) == (None, True)
