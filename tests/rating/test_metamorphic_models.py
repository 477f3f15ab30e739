"""What must not change a bill, and what must change it in a known way, model by model (RELIABILITY T11)."""

from collections.abc import Callable, Iterable
from decimal import Decimal, localcontext
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bulk import LAST_DIGIT, NUMBERS, Bulk, bulk
from tests.rating.test_models_in_bulk import run

MODELS = sorted(NUMBERS)
FEW = settings(max_examples=1 if settings().max_examples < 1_000 else 40)
"""Each example is 200 customers of ten prices: 200 in the normal run, 8,000 in the long one."""
SEEDS = st.integers(0, 2**32)
Event = dict[str, Any]
Amounts = dict[tuple[str, str], Decimal]

BY_QUANTITY = ["graduated", "volume", "stairstep", "graduated_percentage", "volume_percentage", "package",
               "tiered_package", "matrix", "weighted_matrix", "allowance", "blocks"]  # fmt: skip
"""What counts is the quantity of a line, however many events it came in."""
LINEAR = {"per_unit": ["unit_amount"], "matrix": ["cells", "unit_amount"]}
"""The models whose amounts add up, and the numbers of which that holds to the last digit."""
RISING = {
    **{model: ["flat_when_unused"] for model in ("per_unit", "graduated", "package", "call", "matrix")},
    "graduated_percentage": [],
    "percentage": ["free_while", "free_events"],
}
"""The models of which more never costs less, but for the numbers that are left out: each unit has its own amount."""


def drawn(model: str, seed: int, keep: Callable[[str], bool] = lambda name: True) -> Bulk:
    """Ten prices of the model with 20 customers each, rounded by line; their versions with the numbers to `keep`."""
    made = bulk(model, seed, prices=10, customers=20)
    for price in made.document["prices"].values():
        price["rounding_place"] = "line"
        price["versions"] = [{name: value for name, value in v.items() if keep(name)} for v in price["versions"]]
    return made


def with_events(given_bulk: Bulk, events: list[Event]) -> Bulk:
    return Bulk(given_bulk.document, given_bulk.subscriptions, events)


def quantity(event: Event, value: Decimal) -> Event:
    return {**event, "data": {**event["data"], "n": value}}


def exact_sum(numbers: Iterable[Decimal]) -> Decimal:
    """Of more digits than Python keeps unless told."""
    with localcontext(prec=120):
        return sum(numbers, Decimal(0))


def amounts(given_bulk: Bulk) -> Amounts:
    rows = run(given_bulk).lines.select("subscription", "group", "amount").rows()
    return {(subscription, group): amount for subscription, group, amount in rows}


@pytest.mark.parametrize("model", MODELS)
@FEW
@given(seed=SEEDS, pieces=st.integers(2, 9))
def test_order_and_batches_change_no_byte(model: str, seed: int, pieces: int) -> None:
    made = drawn(model, seed)
    assert run(made, seed=seed % 1000, pieces=pieces).digest == run(made).digest


@pytest.mark.parametrize("model", MODELS)
@FEW
@given(seed=SEEDS)
def test_the_bill_of_all_is_the_bills_of_each_half(model: str, seed: int) -> None:
    made = drawn(model, seed)
    halves = [Bulk(made.document, made.subscriptions[start::2], made.events) for start in (0, 1)]
    assert pl.concat([run(half).lines for half in halves]).sort("customer", "line").equals(run(made).lines)


@pytest.mark.parametrize("model", BY_QUANTITY)
@FEW
@given(seed=SEEDS)
def test_a_record_in_two_parts_is_the_record(model: str, seed: int) -> None:
    made = drawn(model, seed)
    parts = [
        quantity(event, part)
        for event in made.events
        for half in [event["data"]["n"] / 3 // LAST_DIGIT * LAST_DIGIT]
        for part in (half, event["data"]["n"] - half)
    ]
    assert amounts(with_events(made, parts)) == amounts(made)


@pytest.mark.parametrize("model", BY_QUANTITY)
@FEW
@given(seed=SEEDS)
def test_what_is_added_and_taken_back_changes_nothing(model: str, seed: int) -> None:
    made = drawn(model, seed)
    more = [quantity(event, sign * Decimal("12345.678901234")) for event in made.events for sign in (1, -1)]
    assert amounts(with_events(made, [*made.events, *more])) == amounts(made)


@pytest.mark.parametrize("model", LINEAR)
@FEW
@given(seed=SEEDS)
def test_linear_prices_add_up(model: str, seed: int) -> None:
    made = drawn(model, seed, lambda name: name in LINEAR[model])
    parts = [amounts(with_events(made, made.events[start::2])) for start in (0, 1)]
    whole = amounts(made)
    sums = {key: exact_sum(part.get(key, Decimal(0)) for part in parts) for key in whole}
    assert sums == whole


@pytest.mark.parametrize("model", RISING)
@FEW
@given(seed=SEEDS)
def test_more_usage_never_costs_less(model: str, seed: int) -> None:
    made = drawn(model, seed, lambda name: name not in RISING[model])
    used = [quantity(event, abs(event["data"]["n"])) for event in made.events]
    less, more = amounts(with_events(made, used[::2])), amounts(with_events(made, used))
    assert less.keys() <= more.keys()
    assert not {key: (amount, more[key]) for key, amount in less.items() if more[key] < amount}


@pytest.mark.parametrize("model", MODELS)
@FEW
@given(seed=SEEDS)
def test_tiers_and_steps_tell_the_whole_amount(model: str, seed: int) -> None:
    """Tier quantities sum to what is left behind the steps in front of them, tier amounts to what is changed behind."""
    for line in run(drawn(model, seed)).lines.iter_rows(named=True):
        steps = line["operations"]
        left = [line["quantity"], *(step["after"] for step in steps if step["on"] == "quantity")][-1]
        changed = [step for step in steps if step["on"] == "amount"]
        assert exact_sum(tier["quantity"] for tier in line["tiers"]) == left, line
        by_tiers = exact_sum(tier["amount"] for tier in line["tiers"])
        assert by_tiers == (changed[0]["before"] if changed else line["amount"]), line
        assert not changed or changed[-1]["after"] == line["amount"], line
