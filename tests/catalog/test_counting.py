"""Settings of tiers and included units: what they mean together, how they are spelled, and what they compile to."""

import json
from typing import Any

import pytest

from rating.catalog import Catalog, CatalogInvalid, compile_catalog, parse_catalog

TIERS: dict[str, Any] = {"tiers": [{"up_to": 100, "unit_amount": "1"}, {"unit_amount": "0.5"}]}
DAY = {"included": 5, "unit_amount": "1", "every": "day"}
YEAR = {"interval": "year"}


def parsed(price: dict[str, Any], **allowance: Any) -> Catalog:
    meters = {
        "sum": {"event_type": "e", "aggregation": "sum", "property": "n", "group_by": ["d"]},
        "peak": {"event_type": "e", "aggregation": "max", "property": "n"},
    }
    used = {"allowances": {"a": {"units": 10, "prices": ["p"], **allowance}}} if allowance else {}
    document = {
        "tallystick": 1,
        "currencies": ["USD"],
        "meters": meters,
        "prices": {"p": {"meter": "sum", "currency": "USD", "model": "graduated", "versions": [TIERS], **price}},
        "plans": {"plan": {"currency": "USD", "prices": ["p"], **used}},
    }
    return parse_catalog(json.dumps(document), format="json")


def problems(price: dict[str, Any], **allowance: Any) -> list[str]:
    with pytest.raises(CatalogInvalid) as refused:
        parsed(price, **allowance)
    return [problem.path for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("price", "place"),
    [
        ({"window": YEAR, "prorate_tiers": "days"}, "window"),
        ({"on_change": "continue", "prorate_tiers": "days"}, "on_change"),
        ({"window": YEAR, "rate_each": "day"}, "window"),
        ({"on_change": "continue", "rate_each": "day"}, "on_change"),
        ({"window": YEAR, "model": "allowance", "versions": [DAY]}, "window"),
        ({"prorate": "days", "model": "allowance", "versions": [DAY]}, "prorate"),
        ({"window": YEAR, "model": "allowance", "prorate": "days", "versions": [{**DAY, "every": "period"}]}, "window"),
        ({"window": YEAR, "versions": [{**TIERS, "flat_when_unused": True}]}, "versions[0].flat_when_unused"),
        ({"window": YEAR, "meter": "peak"}, "window"),
        ({"window": {"interval": "fortnight"}}, "window.interval"),
        ({"window": {"interval": "year", "intervals": 0}}, "window.intervals"),
        ({"prorate_tiers": "hours"}, "prorate_tiers"),
        ({"model": "per_unit", "versions": [{"unit_amount": "1"}], "window": YEAR}, "window"),
        (
            {"on_change": "continue", "versions": [TIERS, {**TIERS, "free_units": 5, "effective_from": "2026-10-15"}]},
            "on_change",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused(price: dict[str, Any], place: str) -> None:
    assert problems(price) == [f"prices.p.{place}"]


def test_rows_that_are_included_by_their_number_cannot_go_on() -> None:
    step = {"operator": "allow", "count": 2}
    version = {"before": [step], "chain_tiers": [{"unit_amount": "1"}]}
    assert problems({"model": "chain", "on_change": "continue", "versions": [version]}) == [
        "prices.p.versions[0].before[0].count"
    ]


@pytest.mark.parametrize(
    ("allowance", "place"),
    [
        ({"window": YEAR, "prorate": "days"}, "window"),
        ({"window": YEAR, "rollover_maximum": 5}, "rollover_maximum"),
    ],
)
def test_what_an_allowance_of_a_plan_cannot_be_is_refused(allowance: dict[str, Any], place: str) -> None:
    assert problems({}, **allowance) == [f"plans.plan.allowances.a.{place}"]


def test_a_price_with_a_window_is_in_no_allowance_that_rolls_over() -> None:
    assert problems({"window": YEAR}, rollover_maximum=5) == ["plans.plan.allowances.a.prices[0]"]
    assert parsed({"window": YEAR}, window=YEAR).plans["plan"].allowances["a"].rollover_maximum == 0
    assert parsed({"on_change": "continue"}, rollover_maximum=5).prices["p"].goes_on  # within a period alone


def test_only_a_plan_adjusts_all_items() -> None:
    least = {"kind": "minimum", "amount": "5", "items": "all"}
    assert problems({"versions": [{**TIERS, "adjust": [least]}]}) == ["prices.p.versions[0].adjust[0].items"]


def test_versions_with_the_same_steps_may_go_on() -> None:
    later = {**TIERS, "free_units": 5, "effective_from": "2026-10-15"}
    assert parsed({"on_change": "continue", "versions": [{**TIERS, "free_units": "0"}, later]}).prices["p"].goes_on


def test_one_meaning_has_one_version() -> None:
    quarter = parsed({"window": {"interval": "quarter"}})
    assert quarter.version == parsed({"window": {"interval": "month", "intervals": 3}}).version
    assert quarter.version == parsed({"window": {"interval": "quarter"}, "on_change": "continue"}).version
    assert quarter.version != parsed({"window": YEAR}).version
    assert parsed({}).version == parsed({"on_change": "restart"}).version != parsed({"on_change": "continue"}).version
    assert parsed({}, window=YEAR).version == parsed({}, window={"interval": "year", "intervals": 1}).version
    again = parse_catalog(quarter.canonical_json().decode(), format="json")
    assert again.version == quarter.version


def test_a_price_that_says_nothing_has_a_chain_that_does_not_look_back() -> None:
    book = compile_catalog(parsed({}, rollover_maximum=5))
    assert not any(chain.goes_on or chain.prorates_tiers for chain in book.chains)
    assert book.rates.select("tiers_by", "window_interval", "window_intervals").row(0) == (None, None, None)
    assert book.plan_allowances.select("by", "window_interval", "window_intervals").row(0) == (None, None, None)


def test_settings_are_compiled_into_the_rates() -> None:
    rates = compile_catalog(parsed({"window": {"interval": "quarter", "intervals": 2}})).rates
    assert rates.select("window_interval", "window_intervals").row(0) == ("month", 6)
    rates = compile_catalog(parsed({"on_change": "continue"})).rates
    assert rates.select("window_interval", "window_intervals").row(0) == ("period", 1)
    book = compile_catalog(parsed({"prorate_tiers": "days", "versions": [{**TIERS, "free_units": 5}]}))
    assert (book.rates["tiers_by"].to_list(), book.allowances["prorate"].to_list()) == (["days"], ["days"])
