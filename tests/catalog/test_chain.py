"""The model `chain`: what it refuses, and that every other model can be written out as one."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from rating.catalog import CatalogInvalid, load_catalog
from rating.catalog.parts import MeteredPrice
from rating.catalog.rates import rates_of
from tests.catalog.written_out import explicit

CASES = [
    pytest.param(case["catalog"], id=f"{path.stem}: {case['name']}")
    for path in sorted((Path(__file__).parents[1] / "cases").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
    if "catalog" in case
]


def chain_document(version: dict[str, Any], **price: Any) -> dict[str, Any]:
    return {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {"m": {"event_type": "e", "aggregation": "sum", "property": "n", "group_by": ["d"]}},
        "prices": {"p": {"meter": "m", "currency": "EUR", "model": "chain", "versions": [version], **price}},
        "plans": {"plan": {"currency": "EUR", "prices": ["p"]}},
    }


@pytest.mark.parametrize("catalog", CASES)
def test_every_charge_written_out_compiles_to_itself(catalog: dict[str, Any]) -> None:
    for price in load_catalog(catalog).prices.values():
        if not isinstance(price, MeteredPrice):
            continue
        for version in price.versions:
            for rate in (version, *map(version.within, version.windows)):
                for cell in price.cells():
                    charge = price.shaped(rate.charge_of(cell))
                    assert_written_out(charge)


def assert_written_out(charge: Any) -> None:
    settings: dict[str, Any] = {} if charge.tiers_by is None else {"prorate_tiers": charge.tiers_by}
    if charge.window is not None:
        interval, intervals = charge.window
        window = {"window": {"interval": interval, "intervals": intervals}}
        settings |= {"on_change": "continue"} if interval == "period" else window
    written = load_catalog(chain_document(explicit(charge), **settings)).prices["p"]
    again = written.shaped(written.versions[0].charge())
    assert (again.tiers_by, again.window) == (charge.tiers_by, charge.window)
    assert again.chain() == charge.chain()
    assert list(again.tiers) == list(charge.tiers)
    assert [dict(step.numbers) for step in (*again.before, *again.after)] == [
        dict(step.numbers) for step in (*charge.before, *charge.after)
    ]
    assert (again.tier_mode, again.per, again.size, again.flat_when_unused) == (
        charge.tier_mode,
        charge.per,
        charge.size,
        charge.flat_when_unused,
    )


OPEN = {"chain_tiers": [{"unit_amount": "1"}]}


@pytest.mark.parametrize(
    ("version", "path"),
    [
        pytest.param(
            {**OPEN, "before": [{"operator": "allow", "units": 1}, {"operator": "weight", "level": "event"}]},
            "prices.p.versions[0].before[1].level",
            id="a finer step behind a coarser one",
        ),
        pytest.param(
            {**OPEN, "after": [{"operator": "clamp", "level": "event", "minimum": "1"}]},
            "prices.p.versions[0].after[0].level",
            id="an amount of events when the tiers are of the line",
        ),
        pytest.param(
            {"chain_tiers": [{"up_to": 5, "unit_amount": "1"}]},
            "prices.p.versions[0].chain_tiers[0].up_to",
            id="no open tier",
        ),
        pytest.param(
            {"chain_tiers": [{"up_to": 5}, {"up_to": 5}, {}]},
            "prices.p.versions[0].chain_tiers[1].up_to",
            id="bounds that do not rise",
        ),
        pytest.param({**OPEN, "tier_mode": "cliff"}, "prices.p.versions[0].size", id="a cliff without a size"),
        pytest.param(
            {**OPEN, "before": [{"operator": "weight", "property": "factor"}]},
            "prices.p.versions[0].before[0].level",
            id="a number of an event, of a line",
        ),
        pytest.param(
            {**OPEN, "flat_when_unused": True, "tier_together": "price"},
            "prices.p.versions[0].flat_when_unused",
            id="a flat amount without usage of rows that fill tiers together",
        ),
        pytest.param(
            {**OPEN, "time_of_day": [{"from": "08:00", "to": "10:00", "chain_tiers": [{"up_to": 1}]}]},
            "prices.p.versions[0].time_of_day[0].chain_tiers[0].up_to",
            id="a window's chain is checked as well",
        ),
    ],
)
def test_what_a_chain_refuses(version: dict[str, Any], path: str) -> None:
    with pytest.raises(CatalogInvalid) as refused:
        load_catalog(chain_document(version))
    assert path in [problem.path for problem in refused.value.problems]


def price_document(price: dict[str, Any], plan: dict[str, Any] | None = None) -> dict[str, Any]:
    document = chain_document(OPEN)
    document["prices"]["p"] = {"meter": "m", "currency": "EUR", **price}
    document["plans"]["plan"] |= plan or {}
    return document


@pytest.mark.parametrize(
    ("price", "path"),
    [
        pytest.param(
            {"model": "allowance", "versions": [{"included": 1}]},
            "prices.p.versions[0]",
            id="an allowance without a rate",
        ),
        pytest.param(
            {"model": "blocks", "versions": [{"block_tiers": [{"block_size": 1, "blocks": 2, "amount": "1"}]}]},
            "prices.p.versions[0].block_tiers[0].blocks",
            id="blocks without an open tier",
        ),
        pytest.param(
            {"model": "capacity", "versions": [{"capacity_tiers": [{"up_to": 5, "amount": "2"}, {"amount": "1"}]}]},
            "prices.p.versions[0].capacity_tiers[1].amount",
            id="more capacity for less money",
        ),
        pytest.param(
            {
                "model": "capacity",
                "versions": [{"capacity_tiers": [{"up_to": {"x": 5}, "amount": "1"}, {"amount": "1"}]}],
            },
            "prices.p.versions[0].capacity_tiers[0].up_to.x",
            id="capacity of a meter that the price has not",
        ),
        pytest.param(
            {
                "model": "matrix",
                "versions": [
                    {"cells": [{"match": {"d": "a"}, "unit_amount": "1"}]},
                    {
                        "effective_from": datetime(2026, 1, 1, tzinfo=UTC),
                        "cells": [{"match": {"d": "b"}, "unit_amount": "1"}],
                    },
                ],
            },
            "prices.p.versions[1].cells",
            id="a cell that a later version does not price",
        ),
        pytest.param(
            {"model": "matrix", "versions": [{"cells": [{"match": {"d": "a"}, "unit_amount": "1"}] * 2}]},
            "prices.p.versions[0].cells[1].match",
            id="a cell twice",
        ),
        pytest.param(
            {
                "model": "matrix",
                "match": {"d": "a"},
                "versions": [{"cells": [{"match": {"d": "b"}, "unit_amount": "1"}]}],
            },
            "prices.p.versions[0].cells[0].match.d",
            id="a cell of a dimension that the price has matched",
        ),
    ],
)
def test_what_the_other_models_refuse(price: dict[str, Any], path: str) -> None:
    with pytest.raises(CatalogInvalid) as refused:
        load_catalog(price_document(price))
    assert path in [problem.path for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("allowances", "path"),
    [
        pytest.param(
            {"a": {"units": 1, "prices": ["q"]}},
            "plans.plan.allowances.a.prices[0]",
            id="a price that the plan has not",
        ),
        pytest.param(
            {"a": {"units": 1, "prices": ["p"]}, "b": {"units": 1, "prices": ["p"]}},
            "plans.plan.allowances.b.prices[0]",
            id="a price in two allowances",
        ),
    ],
)
def test_what_allowances_refuse(allowances: dict[str, Any], path: str) -> None:
    price = {"model": "per_unit", "versions": [{"unit_amount": "1"}]}
    with pytest.raises(CatalogInvalid) as refused:
        load_catalog(price_document(price, {"allowances": allowances}))
    assert path in [problem.path for problem in refused.value.problems]


def test_a_matrix_of_any_size_is_as_many_rates_and_one_chain() -> None:
    cells = [{"match": {"d": str(number)}, "unit_amount": str(number)} for number in range(500)]
    catalog = load_catalog(price_document({"model": "matrix", "versions": [{"cells": cells}]}))
    rates = rates_of(catalog.prices)
    assert (rates.rates.height, len(rates.chains), rates.rates["pool"].n_unique()) == (500, 1, 1)


@pytest.mark.parametrize(
    ("step", "path", "words"),
    [
        pytest.param({"operator": "weigth"}, "prices.p.versions[0].before[0]", "Did you mean `weight`?", id="misspelt"),
        pytest.param({"units": 1}, "prices.p.versions[0].before[0]", "`operator` is missing", id="no operator"),
        pytest.param(
            {"operator": "allow", "unit": 1}, "prices.p.versions[0].before[0].unit", "mean `units`?", id="a field"
        ),
    ],
)
def test_a_wrong_step_is_explained_at_its_place(step: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(CatalogInvalid) as refused:
        load_catalog(chain_document({**OPEN, "before": [step]}))
    [problem] = refused.value.problems
    assert problem.path == path
    assert words in str(problem)
