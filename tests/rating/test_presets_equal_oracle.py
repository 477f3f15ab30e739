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
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame
from tests.strategies import NAMES, ZONES, events, money

OCTOBER = "2026-10"
some = st.sampled_from(["0.5", "1", "2", "10", "50"])
PER = st.sampled_from([1, 7])


def tiers(name: str = "up_to", **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Tiers whose bounds rise; the last one is open."""
    bounds = st.lists(some, max_size=3, unique=True).map(lambda found: [*sorted(found, key=Decimal), None])
    return bounds.flatmap(
        lambda found: st.tuples(*(st.fixed_dictionaries({**fields, name: st.just(bound)}) for bound in found)).map(list)
    )


TIERS = tiers(unit_amount=money, flat_amount=st.sampled_from(["0", "0.333"]))
MODE = st.sampled_from(["graduated", "volume"])
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
TOGETHER = st.sampled_from(["row", "line", "meter", "price"])
WEIGH = st.fixed_dictionaries(
    {"operator": st.just("weight")},
    optional={"factor": some, "divide_by": some, "rounding": st.sampled_from(["up", "down"]), "first": some,
              "increment": some, "minimum": some, "maximum": st.just("60")},
)  # fmt: skip
ALLOW = st.fixed_dictionaries(
    {"operator": st.just("allow"), "together": TOGETHER},
    optional={"units": some, "count": st.integers(0, 3), "either": st.booleans()},
)
LARGEST = st.just({"operator": "partition", "together": "meter"})
CLAMP = st.fixed_dictionaries({"operator": st.just("clamp")}, optional={"minimum": some, "maximum": st.just("60")})
COMPOSE = st.fixed_dictionaries(
    {"operator": st.just("compose")},
    optional={
        "percent": st.sampled_from(["-10", "33.3", "-120"]),
        "above": some,
        "fixed": st.sampled_from(["-3", "1"]),
    },
)
LEVELS = ["event", "day", "line"]


@st.composite
def chains(draw: st.DrawFn) -> dict[str, Any]:
    """A chain whose levels become coarser from step to step."""
    before = draw(st.lists(st.one_of(WEIGH, ALLOW, LARGEST), max_size=3))
    after = draw(st.lists(st.one_of(CLAMP, COMPOSE), max_size=2))
    levels = sorted(draw(st.lists(st.sampled_from(LEVELS), min_size=6, max_size=6)), key=LEVELS.index)
    return {
        "before": [{**step, "level": level} for step, level in zip(before, levels, strict=False)],
        "tier_mode": draw(MODE),
        "chain_tiers": draw(tiers(unit_amount=money, flat_amount=some, percent=some)),
        "tier_level": levels[3],
        "tier_together": draw(TOGETHER),
        "per": draw(PER),
        "after": [{**step, "level": level} for step, level in zip(after, levels[4:], strict=False)],
    }


METERS = {
    "sum": {"event_type": "e", "aggregation": "sum", "property": "n", "group_by": ["d", "f"]},
    "count": {"event_type": "e", "aggregation": "count", "group_by": ["d", "f"]},
    "peak": {"event_type": "e", "aggregation": "max", "property": "m", "group_by": ["d", "f"]},
}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    model = draw(st.sampled_from([*sorted(NUMBERS), "chain"]))
    price: dict[str, Any] = {"currency": "EUR", "model": model, "meters": ["sum"]}
    numbers = draw(chains() if model == "chain" else NUMBERS[model])
    if model not in ("matrix", "weighted_matrix"):
        price["group_by"] = draw(st.sampled_from([[], ["d"], ["d", "f"]]))
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


def test_the_generated_values_are_those_that_the_cells_name() -> None:
    assert {value for match in MATCHES for value in match.values()} <= set(NAMES)
