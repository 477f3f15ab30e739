"""Matrices, groups, allowances, blocks, capacity and chains against plain loops, on generated prices and events."""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rating.catalog import compile_catalog, load_catalog
from rating.core.periods import parse_month
from rating.core.rating import rate
from rating.core.subjects import interned
from tests import oracle
from tests.chain_strategies import MODE, PER, chains, cliffs, some, tiers
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame
from tests.strategies import MID_MONTH, NAMES, ZONES, events, money

OCTOBER = "2026-10"
TIERS = tiers(unit_amount=money, flat_amount=st.sampled_from(["0", "0.333"]))
MATCHES = [{"d": "a"}, {"d": "b"}, {"d": "a", "f": "ü"}, {"f": "a", "d": "ü"}]
CELLS = st.lists(st.sampled_from(MATCHES), min_size=1, unique_by=str)


def cells(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return CELLS.flatmap(
        lambda found: st.tuples(*(st.fixed_dictionaries({"match": st.just(match), **fields}) for match in found)).map(
            list
        )
    )


GROUPS = st.sampled_from([{}, {"groups": "together"}, {"groups": "largest"}, {"rate_each": "day"}])
NUMBERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "matrix": st.fixed_dictionaries({"cells": cells(unit_amount=money), "per": PER}, optional={"unit_amount": money}),
    "weighted_matrix": st.fixed_dictionaries(
        {"cells": cells(factor=some), "tiers": TIERS, "mode": MODE, "per": PER}, optional={"factor": some}
    ),
    "allowance": st.one_of(
        st.fixed_dictionaries({"included": some, "unit_amount": money, "per": PER}),
        st.fixed_dictionaries({"included": some, "tiers": TIERS, "mode": MODE}),
    ).flatmap(lambda made: st.sampled_from([made, {**made, "shared": True}, {**made, "every": "day", "shared": True}])),
    "graduated": st.fixed_dictionaries({"tiers": TIERS, "per": PER}),
    "volume": st.fixed_dictionaries({"tiers": TIERS, "per": PER}),
    "blocks": st.fixed_dictionaries(
        {
            "mode": MODE,
            "block_tiers": st.lists(
                st.fixed_dictionaries({"block_size": some, "blocks": st.integers(1, 3), "amount": money}),
                min_size=1,
                max_size=3,
            ).map(lambda found: [*found[:-1], {n: v for n, v in found[-1].items() if n != "blocks"}]),
        }
    ),
    "capacity": tiers(amount=money).map(
        lambda found: {
            "capacity_tiers": [
                {**tier, "amount": amount}
                for tier, amount in zip(found, sorted((t["amount"] for t in found), key=Decimal), strict=True)
            ]
        }
    ),
}
METERS = {
    "sum": {"event_type": "e", "aggregation": "sum", "property": "n", "group_by": ["d", "f"]},
    "count": {"event_type": "e", "aggregation": "count", "group_by": ["d", "f"]},
    "peak": {"event_type": "e", "aggregation": "max", "property": "m", "group_by": ["d", "f"]},
}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    model = draw(st.sampled_from([*sorted(NUMBERS), "chain", "chain", "cliff"]))
    price: dict[str, Any] = {"currency": "EUR", "model": model.replace("cliff", "chain"), "meters": ["sum"]}
    numbers = draw({**NUMBERS, "chain": chains(), "cliff": cliffs()}[model])
    if model not in ("matrix", "weighted_matrix"):
        price["group_by"] = draw(st.sampled_from([[], ["d"], ["d", "f"]]))
        numbers = {
            name: value for name, value in numbers.items() if name != "flat_when_unused" or not price["group_by"]
        }
        price["meters"] = draw(st.sampled_from([["sum"], ["sum", "count"]]))
    if model in ("graduated", "volume", "blocks"):
        price |= draw(GROUPS)
        if model == "blocks" and price.get("groups") == "together":
            del price["groups"]
    if model == "capacity":
        price["meters"] = ["peak"]
    return {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": METERS,
        "prices": {"p": {**price, "versions": [numbers]}},
        "plans": {"plan": {"currency": "EUR", "prices": ["p"]}},
    }


@given(document=documents(), given_events=st.lists(events(), max_size=20), zone=st.sampled_from(ZONES))
def test_every_line_equals_the_oracles(document: dict[str, Any], given_events: list[dict[str, Any]], zone: str) -> None:
    assert_equal(document, given_events, zone)


@given(
    units=some,
    over=st.sampled_from(["0", "1", "30"]),
    models=st.tuples(*[st.sampled_from(["per_unit", "graduated"])] * 2),
    given_events=st.lists(events(), max_size=20),
    zone=st.sampled_from(ZONES),
)
def test_allowances_of_plans_equal_the_oracles(
    units: str, over: str, models: tuple[str, str], given_events: list[dict[str, Any]], zone: str
) -> None:
    numbers = {
        "per_unit": {"unit_amount": "2"},
        "graduated": {"tiers": [{"up_to": 5, "unit_amount": "1"}, {"up_to": None, "unit_amount": "0.5"}]},
    }
    prices = {
        key: {"currency": "EUR", "model": model, "meter": meter, "group_by": ["d"], "versions": [numbers[model]]}
        for key, model, meter in zip("zb", models, ("sum", "count"), strict=True)
    }
    allowance = {"units": units, "rollover_maximum": over, "prices": ["z", "b"]}
    plan = {"currency": "EUR", "prices": ["b", "z"], "allowances": {"all": allowance}}
    document = {"tallystick": 1, "currencies": ["EUR"], "meters": METERS, "prices": prices, "plans": {"plan": plan}}
    assert_equal(document, given_events, zone)


def assert_equal(document: dict[str, Any], given_events: list[dict[str, Any]], zone: str) -> None:
    catalog = load_catalog(document)
    subscriptions = [oracle.Subscription("s", "c", ("s1", "s2", "s3"), "plan", zone, SINCE)]
    usage = interned(usage_frame(given_events, catalog.declared_properties()))
    frames = subject_frame(subscriptions), subscription_frame(subscriptions)
    lines = rate(usage, *frames, compile_catalog(catalog), parse_month(OCTOBER)).lines
    got = {
        (line["meter"], line["price"], line["group"]): (line["quantity"], line["events"], line["amount"])
        for line in lines.iter_rows(named=True)
    }
    expected = oracle.rate(document, given_events, subscriptions, OCTOBER)
    assert got == {(k[4], k[1], k[5]): (line.quantity, line.events, line.amount) for k, line in expected.items()}


def test_meters_share_an_allowance_in_their_order() -> None:
    """Whatever the order of the rows that are summed before: the line of `count` comes in front of that of `sum`."""
    weight, allow = {"operator": "weight", "level": "event", "factor": "1"}, {"operator": "allow", "together": "price"}
    version = {"before": [weight, {**allow, "units": "10"}], "chain_tiers": [{"unit_amount": "1"}]}
    prices = {"p": {"currency": "EUR", "model": "chain", "meters": ["sum", "count"], "versions": [version]}}
    plans = {"plan": {"currency": "EUR", "prices": ["p"]}}
    catalog = load_catalog({"tallystick": 1, "currencies": ["EUR"], "meters": METERS, "prices": prices, "plans": plans})
    subscriptions = [oracle.Subscription(f"s{n}", f"c{n}", (f"s{n}",), "plan", "UTC", SINCE) for n in range(50)]
    used = [
        {"type": "e", "subject": f"s{n % 50}", "time": MID_MONTH, "data": {"n": Decimal(n % 7 + 1)}} for n in range(400)
    ]
    digests = set()
    for seed in range(5):
        usage = usage_frame(used, catalog.declared_properties()).collect().sample(fraction=1, shuffle=True, seed=seed)
        frames = subject_frame(subscriptions), subscription_frame(subscriptions)
        rated = rate(interned(usage.lazy()), *frames, compile_catalog(catalog), parse_month(OCTOBER))
        digests.add(rated.digest)
        counted = rated.lines.filter(meter="count")
        assert counted.height == 50
        assert set(counted["amount"]) == {Decimal(0)}, "8 events each, all within the first 10 units"
    assert len(digests) == 1


def test_a_day_with_events_of_several_sizes_has_one_minimum() -> None:
    """Four requests for 1 + 1 + 2 + 2; the minimum of 10 is due once, though another price tells all sizes apart."""
    tiers = [{"up_to": 5, "flat_amount": "1"}, {"flat_amount": "2"}]
    clamp = {"operator": "clamp", "level": "day", "minimum": "10"}
    chain = {"tier_mode": "cliff", "size": "m", "tier_level": "day", "chain_tiers": tiers, "after": [clamp]}
    sizes = {"tier_mode": "cliff", "size": "m", "chain_tiers": [{"up_to": 2}, {"up_to": 9}, {}]}
    price = {"currency": "EUR", "model": "chain"}
    document = {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {**METERS, "count": {**METERS["count"]}},
        "prices": {
            "p": {**price, "meter": "count", "versions": [chain]},
            "other": {**price, "meter": "count", "match": {"d": "b"}, "versions": [sizes]},
        },
        "plans": {"plan": {"currency": "EUR", "prices": ["p", "other"]}},
    }
    sent = [{"type": "e", "subject": "s1", "time": MID_MONTH, "data": {"m": Decimal(size)}} for size in (1, 3, 8, 20)]
    assert_equal(document, sent, "UTC")


def test_the_generated_values_are_those_that_the_cells_name() -> None:
    assert {value for match in MATCHES for value in match.values()} <= set(NAMES)
