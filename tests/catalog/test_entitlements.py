"""Entitlements in a catalog: three kinds, each with what it needs; short and long spellings mean the same."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from rating.catalog import load_catalog
from rating.catalog.compiling import compile_catalog
from rating.catalog.problems import FloatLiteral
from tests.catalog.documents import changed, problems_in

PATH = "plans.pro.entitlements.tokens"


def entitled(given: Any, **features: Any) -> dict[str, Any]:
    document = changed("plans/pro/entitlements/tokens", given)
    document["features"] |= features
    return document


def row(given: Any, **features: Any) -> dict[str, Any]:
    [found] = compile_catalog(load_catalog(entitled(given, **features))).entitlements.rows(named=True)
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize(("given", "expected"), [
    (True, {"kind": "boolean", "value": "true"}),
    (False, {"kind": "boolean", "value": "false"}),
    ({"included": True}, {"kind": "boolean", "value": "true"}),
    ({"value": ["eu", "us"]}, {"kind": "static", "value": '["eu", "us"]'}),
    ({"value": {"b": 1, "a": None}}, {"kind": "static", "value": '{"a": null, "b": 1}'}),
    ({"limit": "10"}, {"kind": "metered", "meter": "tokens", "limit": Decimal(10), "window": "month"}),
    ({"limit": None}, {"kind": "metered", "meter": "tokens", "window": "month"}),
    ({"limit": 1, "window": "billing"}, {"window": "billing"}),
    ({"limit": 1, "window": {"rolling": "1h", "step": "1m"}}, {"window": "rolling", "every": "1h", "rolls_by": "1m"}),
    ({"limit": 1, "window": {"every": "2w", "anchor": "2026-01-05", "time_zone": "Europe/Madrid"}},
     {"window": "every", "every": "2w", "anchor": datetime(2026, 1, 5, tzinfo=UTC), "time_zone": "Europe/Madrid"}),
    ({"limit": 1, "enforcement": "soft"}, {"enforcement": "soft"}),
    ({"limit": 1, "enforcement": {"grace": "5"}}, {"enforcement": "grace", "grace": Decimal(5)}),
    ({"limit": 1, "rollover": {"maximum": "7"}}, {"rollover_minimum": Decimal(0), "rollover_maximum": Decimal(7)}),
    ({"limit": 1, "overage": "carry", "priority": 7, "shared": True, "thresholds": ["80%", 500]},
     {"overage": "carry", "priority": 7, "shared": True, "thresholds": ["80%", "500"]}),
], ids=str)  # fmt: skip
def test_what_a_plan_gives(given: Any, expected: dict[str, Any]) -> None:
    assert expected.items() <= row(given).items()


def test_what_a_plan_grants_beside_the_limit() -> None:
    grants = {
        "welcome": {"amount": "1000", "lasts": "3mo", "priority": 10},
        "monthly": {"amount": "500", "recurs": "1mo", "lasts": "2mo", "rollover": {"maximum": "500"}},
    }
    book = compile_catalog(load_catalog(entitled({"limit": "10", "grants": grants})))
    assert book.quota_grants.rows() == [
        ("pro", "tokens", "monthly", Decimal(500), "1mo", "2mo", 100, Decimal(0), Decimal(500)),
        ("pro", "tokens", "welcome", Decimal(1000), None, "3mo", 10, None, None),
    ]


def test_a_feature_without_a_meter_is_there_or_not() -> None:
    document = changed("plans/pro/entitlements/sso", True)
    document["features"]["sso"] = {"name": "Single sign-on"}
    assert load_catalog(document).features["sso"].meter is None


@pytest.mark.parametrize(("one", "other"), [
    (True, {"included": True}),
    ({"limit": 1}, {"limit": "1", "window": "month", "enforcement": "hard", "overage": "forget", "thresholds": []}),
    ({"limit": 1, "window": "day"}, {"limit": 1, "window": {"calendar": "day"}}),
    ({"limit": 1, "enforcement": "soft"}, {"limit": 1, "enforcement": {"is": "soft"}}),
    ({"limit": 1, "thresholds": ["80%", 50]}, {"limit": 1, "thresholds": ["50.0", "80%"]}),
], ids=str)  # fmt: skip
def test_spellings_of_one_meaning_are_one_version(one: Any, other: Any) -> None:
    first, second = load_catalog(entitled(one)), load_catalog(entitled(other))
    assert first.version == second.version
    assert load_catalog(first.document()).version == first.version


def test_no_limit_is_not_the_same_as_a_limit() -> None:
    unlimited = load_catalog(entitled({"limit": None}))
    assert unlimited.document()["plans"]["pro"]["entitlements"]["tokens"] == {"limit": None}
    assert load_catalog(unlimited.document()).version == unlimited.version


@pytest.mark.parametrize(("given", "path", "message", "cure"), [
    ({}, ".limit", "`limit` is missing", "1000000"),
    ({"window": "month"}, ".limit", "`limit` is missing", "null"),
    ({"limit": 1, "value": 2}, "", "one of `value` and `limit`", "Keep one"),
    ({"value": None}, ".value", "has a value", "not null"),
    ({"value": {"a": [FloatLiteral("0.5")]}}, ".value", "no floating-point", "strings"),
    ({"value": "x" * 5000}, ".value", "4096 bytes", "shorter"),
    ({"included": True, "window": "day"}, ".window", "Only an entitlement with a limit", "Remove"),
    ({"limit": 1, "window": {"every": "1d", "rolling": "1h"}}, ".window", "one of `calendar`", "exactly one"),
    ({"limit": 1, "window": {"every": "fortnight"}}, ".window.every", "not an interval", "3mo"),
    ({"limit": 1, "window": {"rolling": "1h"}}, ".window.step", "moves in steps", "1m"),
    ({"limit": 1, "window": {"rolling": "1h", "step": "7m"}}, ".window.step", "do not fill", "1 to 366"),
    ({"limit": 1, "window": {"every": "1d", "step": "1h"}}, ".window.step", "Only a rolling", "Remove"),
    ({"limit": 1, "window": {"calendar": "day", "anchor": "2026-01-01"}}, ".window.anchor", "calendar says", "every"),
    ({"limit": 1, "window": {"calendar": "billing", "time_zone": "UTC"}}, ".window.time_zone", "customer", "Remove"),
    ({"limit": 1, "enforcement": "lax"}, ".enforcement", "choices", "soft"),
    ({"limit": 1, "enforcement": {"grace": 0}}, ".enforcement.grace", "more than zero", "positive"),
    ({"limit": 1, "enforcement": {"is": "soft", "grace": 1}}, ".enforcement", "Above a soft limit", "Keep one"),
    ({"limit": None, "shared": True}, ".shared", "Without a limit", "write a `limit`"),
    ({"limit": None, "thresholds": ["80%"]}, ".thresholds[0]", "no limit", "amount"),
    ({"limit": 1, "thresholds": ["0%"]}, ".thresholds[0]", "not a percentage", "80%"),
    ({"limit": 1, "thresholds": [0]}, ".thresholds[0]", "above zero", "80%"),
    ({"limit": 1, "window": "lifetime", "overage": "carry"}, ".overage", "never ends", "another window"),
    ({"limit": 1, "window": "hour", "overage": "carry"}, ".overage", "shorter than a day", "count days"),
    ({"limit": 1, "window": "hour", "grants": {"a": {"amount": 1}}}, ".grants", "shorter than", "days"),
    ({"limit": 1, "rollover": {"minimum": 2, "maximum": 1}}, ".rollover.minimum", "above `maximum`", "Correct"),
    ({"limit": 1, "rollover": {}}, ".rollover.maximum", "missing", "maximum"),
    ({"limit": 1, "grants": {"a": {"amount": 0}}}, ".grants.a.amount", "more than zero", "positive"),
    ({"limit": 1, "grants": {"a": {"amount": 1, "recurs": "often"}}}, ".grants.a.recurs", "not an interval", "3mo"),
    ({"limit": 1, "limits": 2}, ".limits", "no field", "`limit`"),
], ids=str)  # fmt: skip
def test_what_is_wrong_says_what_to_do(given: Any, path: str, message: str, cure: str) -> None:
    [problem] = problems_in(entitled(given))
    assert problem.path == f"{PATH}{path}"
    assert message in problem.message
    assert cure in problem.cure


def test_a_limit_needs_a_meter_and_so_do_credits() -> None:
    document = entitled({"limit": 1}, sso={"name": "Single sign-on"})
    document["plans"]["pro"]["entitlements"]["sso"] = {"limit": 1}
    document["plans"]["pro"]["credits"] = {"gift": {"units": 5, "features": ["sso"]}}
    assert [problem.path for problem in problems_in(document)] == [
        "plans.pro.credits.gift.features",
        "plans.pro.entitlements.sso",
    ]


def with_policy(**policy: Any) -> dict[str, Any]:
    limited = {"limit": "100", "thresholds": ["80%", "120%"]}
    document = entitled(limited, other={})
    document["plans"]["free"] = {"currency": "USD", "entitlements": {"tokens": {"limit": "1"}}}
    document["plans"]["pro"]["policies"] = [{"on": "exhausted", "feature": "tokens", "do": "suspend", **policy}]
    return document


@pytest.mark.parametrize(("policy", "expected"), [
    ({}, ("tokens", "100%", "suspended", None, None, ["tokens"], "reset")),
    ({"do": {"suspend": True}, "features": "all"}, ("tokens", "100%", "suspended", None, None, [], "reset")),
    ({"on": "threshold", "at": "120%", "until": "manual", "features": ["tokens", "other"]},
     ("tokens", "120%", "suspended", None, None, ["other", "tokens"], "manual")),
    ({"do": {"allow_overage": "50"}}, ("tokens", "100%", "overage", Decimal(50), None, ["tokens"], "reset")),
    ({"do": {"restrict": "free"}}, ("tokens", "100%", "restricted", None, "free", ["tokens"], "reset")),
], ids=str)  # fmt: skip
def test_what_a_plan_does_at_a_level(policy: dict[str, Any], expected: Any) -> None:
    catalog = load_catalog(with_policy(**policy))
    assert compile_catalog(catalog).policies.rows() == [("pro", 0, *expected)]
    assert load_catalog(catalog.document()).version == catalog.version


@pytest.mark.parametrize(("policy", "path", "message", "cure"), [
    ({"do": "stop"}, ".do", "choices", "suspend"),
    ({"do": {}}, ".do", "one of `suspend`", "exactly one"),
    ({"do": {"restrict": "fre"}}, ".do.restrict", "no plan", "`free`"),
    ({"feature": "other"}, ".feature", "no limit", "has a limit"),
    ({"on": "threshold"}, ".at", "missing", "`80%`"),
    ({"on": "threshold", "at": "90%"}, ".at", "no such threshold", "thresholds"),
    ({"at": "80%"}, ".at", "100%", "threshold"),
    ({"features": ["nothing"]}, ".features", "no feature", ""),
], ids=str)  # fmt: skip
def test_a_policy_that_would_do_nothing_is_refused(policy: dict[str, Any], path: str, message: str, cure: str) -> None:
    [problem] = problems_in(with_policy(**policy))
    assert problem.path == f"plans.pro.policies[0]{path}"
    assert message in problem.message
    assert cure in problem.cure
