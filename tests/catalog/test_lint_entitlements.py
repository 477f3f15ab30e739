"""The linter of entitlements: levels that nothing reaches, ties, and windows that do not go together."""

from typing import Any

import pytest

from rating.catalog import load_catalog
from rating.catalog.linting import lint


def found(*plans: dict[str, Any], **more: Any) -> list[tuple[str, str]]:
    """Codes and paths of what is found in plans `p0`, `p1` ... that give `tokens` so."""
    document = {
        "tallystick": 1,
        "currencies": ["USD"],
        "meters": {"tokens": {"event_type": "e", "aggregation": "sum", "property": "n"}},
        "features": {"tokens": {"meter": "tokens"}},
        "plans": {
            f"p{place}": {"currency": "USD", "entitlements": {"tokens": given}, **more}
            for place, given in enumerate(plans)
        },
    }
    findings = [finding for finding in lint(load_catalog(document)) if finding.code != "plan_without_prices"]
    assert all(finding.severity == "warning" and finding.problem.cure for finding in findings)
    return [(finding.code, finding.problem.path) for finding in findings]


ABOVE = [("threshold_above_limit", "plans.p0.entitlements.tokens.thresholds[0]")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"thresholds": ["80%", "100"]}, [], id="at the limit"),
        pytest.param({"thresholds": ["101"]}, ABOVE, id="an amount above it"),
        pytest.param({"thresholds": ["101%"]}, ABOVE, id="a percentage above it"),
        pytest.param({"thresholds": ["110%"], "enforcement": {"grace": "10"}}, [], id="all of the grace"),
        pytest.param({"thresholds": ["111"], "enforcement": {"grace": "10"}}, ABOVE, id="above the grace"),
        pytest.param({"thresholds": ["500%"], "enforcement": "soft"}, [], id="a soft limit"),
        pytest.param({"thresholds": ["150%"], "grants": {"g": {"amount": "50"}}}, [], id="grants raise the limit"),
        pytest.param({"limit": None, "thresholds": ["500"]}, [], id="no limit"),
    ],
)
def test_thresholds_that_nothing_reaches(given: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert found({"limit": "100", **given}) == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param({"do": {"allow_overage": "20"}}, [], id="of the feature"),
        pytest.param({"do": {"allow_overage": "20"}, "features": "all"}, [], id="of all"),
        pytest.param({"do": {"allow_overage": "19"}}, ABOVE, id="too little"),
        pytest.param({"do": "suspend"}, ABOVE, id="another action"),
    ],
)
def test_what_a_policy_allows_may_be_used(policy: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    policies = [{"on": "exhausted", "feature": "tokens", **policy}]
    assert found({"limit": "100", "thresholds": ["120%"]}, policies=policies) == expected


@pytest.mark.parametrize(
    ("other", "ties"),
    [
        pytest.param({}, False, id="the same twice: the order changes nothing"),
        pytest.param({"recurs": "1mo"}, True, id="one recurs"),
        pytest.param({"rollover": {"maximum": "5"}}, True, id="one rolls over"),
        pytest.param({"recurs": "1mo", "priority": 50}, False, id="priorities decide"),
        pytest.param({"recurs": "1mo", "lasts": "1mo"}, False, id="ends decide"),
    ],
)
def test_grants_whose_keys_decide_which_is_burnt_first(other: dict[str, Any], ties: bool) -> None:
    grants = {"a": {"amount": "10"}, "b": {"amount": "10", **other}}
    expected = [("priority_tie", "plans.p0.entitlements.tokens.grants.b.priority")] if ties else []
    assert found({"limit": "100", "grants": grants}) == expected


@pytest.mark.parametrize(
    ("other", "differ"),
    [
        pytest.param({"limit": "5"}, False, id="the same window"),
        pytest.param({"limit": "5", "window": {"calendar": "month"}}, False, id="the same, written otherwise"),
        pytest.param({"limit": "5", "window": "day"}, True, id="days and months"),
        pytest.param({"limit": "5", "window": {"calendar": "month", "time_zone": "Asia/Tokyo"}}, True, id="zones"),
    ],
)
def test_windows_of_plans_that_may_be_added_up(other: dict[str, Any], differ: bool) -> None:
    assert found({"limit": "100"}, other) == ([("windows_differ", "features.tokens")] if differ else [])
