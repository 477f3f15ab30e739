"""The linter: each code with a catalog that has it, and sound catalogs that have none."""

from pathlib import Path
from typing import Any

import pytest

from rating.cases import read_cases
from rating.catalog import load_catalog
from rating.catalog.genai_prices import import_genai_prices
from rating.catalog.linting import lint

METERS: dict[str, Any] = {
    "calls": {"event_type": "e", "aggregation": "count", "group_by": ["region"]},
    "bytes": {"event_type": "e", "aggregation": "sum", "property": "n", "group_by": ["region"]},
    "eu_us": {
        "event_type": "e",
        "aggregation": "count",
        "group_by": ["region"],
        "filters": [{"property": "region", "in": ["eu", "us"]}],
    },
}


def price(model: str, *versions: dict[str, Any], meter: str = "bytes", **more: Any) -> dict[str, Any]:
    return {"model": model, "meter": meter, "currency": "EUR", "versions": [*versions], **more}


def tiers(*made: tuple[str | None, str, str]) -> dict[str, Any]:
    return {"tiers": [{"up_to": to, "unit_amount": unit, "flat_amount": flat} for to, unit, flat in made]}


def codes(prices: dict[str, Any], plans: dict[str, Any] | None = None, **sections: Any) -> list[tuple[str, str]]:
    used = sorted({key for p in prices.values() for key in p.get("meters", [p.get("meter")]) if key is not None})
    document = {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {key: METERS[key] for key in used},
        "prices": prices,
        "plans": plans if plans is not None else {"plan": {"currency": "EUR", "prices": sorted(prices)}},
        **sections,
    }
    return [(f.code, f.problem.path) for f in lint(load_catalog(document))]


UNIT = {"unit_amount": "0.01"}


@pytest.mark.parametrize(
    "prices",
    [
        pytest.param({"p": price("per_unit", UNIT)}, id="per unit"),
        pytest.param({"p": price("graduated", tiers(("100", "2", "0"), (None, "1", "0")))}, id="a falling rate"),
        pytest.param({"p": price("volume", tiers(("100", "1", "0"), (None, "2", "0")))}, id="volume that rises"),
        pytest.param({"p": price("volume", tiers(("100", "2", "0"), (None, "1", "100")))}, id="a flat amount makes up"),
        pytest.param(
            {"a": price("per_unit", UNIT, match={"region": "eu"}), "b": price("per_unit", UNIT)}, id="a default price"
        ),
        pytest.param(
            {
                "a": price("per_unit", UNIT, meter="eu_us", match={"region": "eu"}),
                "b": price("per_unit", UNIT, meter="eu_us", match={"region": "us"}),
            },
            id="a price for every value that the meter lets through",
        ),
    ],
)
def test_a_sound_catalog_has_no_findings(prices: dict[str, Any]) -> None:
    assert codes(prices) == []


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        pytest.param(
            {"p": price("volume", tiers(("1000", "0.10", "0"), (None, "0.08", "0")))},
            ("volume_cliff", "prices.p.versions[0].tiers[0].up_to"),
            id="1,000 x 0.10 = 100, above it 80",
        ),
        pytest.param(
            {"p": price("volume", tiers(("0.5", "1", "0"), (None, "1", "0")), meter="calls")},
            ("unreachable_tier", "prices.p.versions[0].tiers[0]"),
            id="no whole number is in (0, 0.5]",
        ),
        pytest.param(
            {"p": price("per_unit", {**UNIT, "adjust": [{"kind": "discount", "percent": "101"}]})},
            ("discount_over_all", "prices.p.versions[0].adjust[0].percent"),
            id="101 % off",
        ),
        pytest.param(
            {
                "p": price(
                    "per_unit",
                    {**UNIT, "adjust": [{"kind": "minimum", "amount": "9"}, {"kind": "maximum", "amount": "5"}]},
                )
            },
            ("minimum_above_maximum", "prices.p.versions[0].adjust[0].amount"),
            id="at least 9, at most 5",
        ),
        pytest.param(
            {"p": price("per_unit", {**UNIT, "adjust": [{"kind": "commitment", "amount": "9", "true_up": False}]})},
            ("adjustment_without_effect", "prices.p.versions[0].adjust[0]"),
            id="a commitment that commits to nothing",
        ),
        pytest.param(
            {"p": price("per_unit", {"unit_amount": "0"})}, ("price_charges_nothing", "prices.p"), id="all zero"
        ),
        pytest.param(
            {"p": price("per_unit", UNIT, {"effective_from": "2026-01-01", **UNIT})},
            ("version_without_change", "prices.p.versions[1]"),
            id="the same rate again",
        ),
        pytest.param(
            {"p": price("per_unit", {"effective_from": "2026-01-01", **UNIT})},
            ("no_price_before", "prices.p.versions[0].effective_from"),
            id="nothing before 2026",
        ),
        pytest.param(
            {
                "p": price(
                    "per_unit",
                    {
                        **UNIT,
                        "time_of_day": [
                            {"from": "00:00", "to": "12:00", **UNIT},
                            {"from": "12:00", "to": "24:00", **UNIT},
                        ],
                    },
                )
            },
            ("version_never_applies", "prices.p.versions[0]"),
            id="two halves of the day leave no time",
        ),
        pytest.param(
            {"p": price("per_unit", {**UNIT, "bands": [{"months": [2], "month_days": [30], **UNIT}]})},
            ("band_never_applies", "prices.p.versions[0].bands[0]"),
            id="the 30th of February",
        ),
        pytest.param(
            {
                "p": price(
                    "per_unit",
                    {
                        **UNIT,
                        "bands": [
                            {"from": "09:00", "to": "10:00", **UNIT},
                            {"from": "08:00", "to": "12:00", "weight": 5, **UNIT},
                        ],
                    },
                )
            },
            ("band_never_applies", "prices.p.versions[0].bands[0]"),
            id="a heavier band holds all of its time",
        ),
        pytest.param(
            {"p": price("per_unit", UNIT, match={"region": "eu"})},
            ("usage_without_price", "plans.plan.prices"),
            id="eu alone is priced",
        ),
        pytest.param(
            {
                "p": price("per_unit", UNIT, meter="eu_us", match={"region": "asia"}),
                "q": price("per_unit", UNIT, meter="eu_us"),
            },
            ("never_matches", "prices.p.match"),
            id="the meter does not let asia through",
        ),
        pytest.param(
            {
                "a": price("per_unit", UNIT, meter="eu_us", match={"region": "eu"}),
                "b": price("per_unit", UNIT, meter="eu_us", match={"region": "us"}),
                "c": price("per_unit", UNIT, meter="eu_us"),
            },
            ("shadowed_price", "prices.c"),
            id="eu and us are taken, and there is nothing else",
        ),
    ],
)
def test_it_finds(prices: dict[str, Any], expected: tuple[str, str]) -> None:
    assert codes(prices) == [expected]


BEFORE_TIERS = {
    "before": [{"operator": "weight", "maximum": "100"}],
    "chain_tiers": [{"up_to": 100, "unit_amount": "1"}, {"unit_amount": "2"}],
    "tier_mode": "graduated",
}
"""At most 100 of each row reach tiers of which the first ends at 100."""


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        pytest.param({}, [("unreachable_tier", "prices.p.versions[0].chain_tiers[1]")], id="of a line"),
        pytest.param(
            {"rate_each": "day"}, [("unreachable_tier", "prices.p.versions[0].chain_tiers[1]")], id="of each day"
        ),
        pytest.param({"group_by": ["region"], "groups": "together"}, [], id="groups fill the tiers together"),
    ],
)
def test_a_tier_is_unreachable_for_the_rows_that_fill_it(more: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert codes({"p": price("chain", BEFORE_TIERS, **more)}) == expected


def test_whole_quantities_are_compared_with_the_next_whole_one() -> None:
    """10 x 1 = 10 and 11 x 0.95 = 10.45: no cliff for calls, which are counted; 10.000000001 bytes cost 9.50."""
    edge = {"p": price("volume", tiers(("10", "1", "0"), (None, "0.95", "0")))}
    assert codes(edge) == [("volume_cliff", "prices.p.versions[0].tiers[0].up_to")]
    assert codes({"p": {**edge["p"], "meter": "calls"}}) == []
    steep = {"p": price("volume", tiers(("10", "1", "0"), (None, "0.5", "0")), meter="calls")}
    assert codes(steep) == [("volume_cliff", "prices.p.versions[0].tiers[0].up_to")]


def test_a_larger_event_that_costs_less_is_a_cliff() -> None:
    """100 x 2 = 200, and 101 x 1 = 101; where another property chooses the tier nothing is known of the total."""
    version = tiers(("100", "2", "0"), (None, "1", "0"))
    assert codes({"p": price("per_request", {**version, "size": "n"})}) == [
        ("volume_cliff", "prices.p.versions[0].tiers[0].up_to")
    ]
    assert codes({"p": price("per_request", {**version, "size": "context"})}) == []


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        pytest.param(
            [{"weekdays": ["mon", "tue", "wed", "thu", "fri"]}, {"weekdays": ["sat", "sun"]}],
            ("version_never_applies", "prices.p.versions[0]"),
            id="working days and the weekend are all days",
        ),
        pytest.param(
            [{"weekdays": ["mon"]}, {"weekdays": ["mon", "tue"], "weight": 1}],
            ("band_never_applies", "prices.p.versions[0].bands[0]"),
            id="a heavier band has the same day",
        ),
        pytest.param(
            [{"weekdays": ["tue"], "to": "06:00"}, {"weekdays": ["mon"], "from": "22:00", "to": "06:00", "weight": 1}],
            ("band_never_applies", "prices.p.versions[0].bands[0]"),
            id="the night of Monday lasts until Tuesday 06:00",
        ),
        pytest.param(
            [{"years": [2020]}], ("band_never_applies", "prices.p.versions[0].bands[0]"), id="a year before the version"
        ),
        pytest.param(
            [{"holidays": ["2026-10-12"], "weekdays": ["tue"]}],
            ("band_never_applies", "prices.p.versions[0].bands[0]"),
            id="the holiday is a Monday",
        ),
        pytest.param(
            [{"when": [{"weekdays": ["mon"]}, {"months": [2], "month_days": [30]}]}], None, id="one of two parts holds"
        ),
    ],
)
def test_bands_are_looked_at_on_a_week(bands: list[dict[str, Any]], expected: tuple[str, str] | None) -> None:
    version = {"effective_from": "2025-01-01", **UNIT, "bands": [{**band, **UNIT} for band in bands]}
    since = ("no_price_before", "prices.p.versions[0].effective_from")
    assert [it for it in codes({"p": price("per_unit", version)}) if it != since] == ([expected] if expected else [])


def findings(meter: dict[str, Any], match: dict[str, str], **sections: Any) -> list[tuple[str, str]]:
    sum_of_n = {"event_type": "e", "aggregation": "sum", "property": "n", "group_by": ["region"], **meter}
    prices = {"p": price("per_unit", UNIT, meter="m", match=match), "rest": price("per_unit", UNIT, meter="m")}
    document = {"tallystick": 1, "currencies": ["EUR"], "meters": {"m": sum_of_n}, "prices": prices, **sections}
    document["plans"] = {"plan": {"currency": "EUR", "prices": ["p", "rest"]}}
    return [(f.code, f.problem.path) for f in lint(load_catalog(document))]


def test_a_price_of_what_its_meter_leaves_out_never_applies() -> None:
    eu = {"property": "region", "in": ["eu"]}
    assert findings({"exclude": [[eu]]}, {"region": "eu"}) == [("never_matches", "prices.p.match")]
    both = [eu, {"property": "size", "in": ["big"]}]
    assert findings({"exclude": [both]}, {"region": "eu"}) == []
    zones = {"region": {"property": "number", "labels": {"germany": ["49"]}}}
    assert findings({}, {"region": "mars"}, prefixes=zones) == [("never_matches", "prices.p.match.region")]
    assert findings({}, {"region": "germany"}, prefixes=zones) == []


@pytest.mark.parametrize(
    ("filters", "reads_nothing"),
    [
        pytest.param([{"in": ["eu"]}, {"not_in": ["eu"]}], True, id="in and not in"),
        pytest.param([{"in": ["eu"]}, {"in": ["us"]}], True, id="one of each of two lists"),
        pytest.param([{"in": ["eu", "us"]}, {"not_in": ["eu"]}], False, id="one is left"),
        pytest.param([{"exists": True}, {"exists": False}], True, id="there and not there"),
        pytest.param([{"prefix": "e"}, {"in": ["us"]}], True, id="no value of the list begins so"),
    ],
)
def test_filters_that_contradict_each_other_read_nothing(filters: list[dict[str, Any]], reads_nothing: bool) -> None:
    rules = [{"property": "tier", **rule} for rule in filters]
    assert findings({"filters": rules}, {"region": "eu"}) == ([("reads_nothing", "meters.m.filters")] * reads_nothing)


def test_a_cliff_says_the_quantity_and_both_amounts() -> None:
    document = {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {"bytes": METERS["bytes"]},
        "prices": {"p": price("volume", tiers(("1000", "0.10", "0"), (None, "0.08", "5")))},
        "plans": {"plan": {"currency": "EUR", "prices": ["p"]}},
    }
    (finding,) = lint(load_catalog(document))
    assert finding.problem.message == (
        "Buying more costs less: 1000 units cost 100 EUR, anything above them 85 EUR, and as much again from 1187.5 on."
    )


def test_it_finds_what_nothing_uses() -> None:
    meters, one = {"calls": METERS["calls"], "bytes": METERS["bytes"]}, {"p": price("per_unit", UNIT)}
    assert codes(one, meters=meters) == [("unpriced_meter", "meters.calls")]
    assert codes(one, currencies=["EUR", "USD"]) == [("unused_currency", "currencies[1]")]
    assert codes(one, features={"f": {"meter": "bytes"}}) == [("unused_feature", "features.f")]
    empty = {"plan": {"currency": "EUR", "prices": ["p"]}, "free": {"currency": "EUR"}}
    assert codes(one, empty) == [("plan_without_prices", "plans.free.prices")]
    assert codes(one, {}) == [("price_without_plan", "prices.p")]


def test_published_model_prices_have_no_errors() -> None:
    document, _ = import_genai_prices()
    assert [f for f in lint(load_catalog(document)) if f.severity == "error"] == []


def test_no_catalog_of_a_worked_bill_has_an_error() -> None:
    for path in sorted((Path(__file__).parents[1] / "cases").glob("*.yaml")):
        for case in read_cases(path.read_text()):
            found = lint(load_catalog(case["catalog"]))
            assert [str(finding) for finding in found if finding.severity == "error"] == [], case["name"]
