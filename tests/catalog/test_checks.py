"""What is wrong between the parts of a catalog: each check with its place, message and cure."""

from typing import Any

import pytest

from rating.catalog import load_catalog
from tests.catalog.documents import REMOVED, SOUND, changed, problems_in

TIERS = "prices/tiered/versions/0/tiers"
TIERS_PATH = "prices.tiered.versions[0].tiers"
WINDOWS = "prices/unit/versions/0/time_of_day"
WINDOWS_PATH = "prices.unit.versions[0].time_of_day"
VERSIONS = "prices/unit/versions"
ONE = {"unit_amount": "1"}


def window(begin: str, end: str, **more: Any) -> dict[str, Any]:
    return {"from": begin, "to": end, "unit_amount": "1", **more}


def price(**more: Any) -> dict[str, Any]:
    return {"model": "per_unit", "meter": "tokens", "currency": "USD", "versions": [ONE], **more}


WRONG: list[tuple[str, Any, str, str, str]] = [
    # what is put where; the path of the problem; part of its message; part of its cure
    ("features/tokens/meter", "token", "features.tokens.meter", "no meter `token`", "Did you mean `tokens`"),
    ("features/tokens/meter", "zzzzzzzz", "features.tokens.meter", "no meter `zzzzzzzz`", "Define the meter"),
    ("meters/calls/property", "n", "meters.calls", "counts events sums no property", "`property`"),
    ("meters/calls/subtract", ["n"], "meters.calls", "counts events sums no property", "`subtract`"),
    ("meters/tokens/property", REMOVED, "meters.tokens.property", "needs a property", "aggregation: count"),
    ("meters/tokens/subtract", ["n"], "meters.tokens", "`n` is used more than once", "once"),
    ("meters/tokens/filters", [{"property": "a"}], "meters.tokens.filters[0]", "exactly one of", "Keep one"),
    (
        "meters/tokens/filters",
        [{"property": "a", "in": ["1"], "equals": "1"}],
        "meters.tokens.filters[0]",
        "exactly one of",
        "Keep one",
    ),
    ("meters/calls/group_by", ["model", "n"], "meters.calls", "`n` is a number in meters.tokens", "two properties"),
    ("meters/tokens/add", ["N"], "meters.tokens", "`N` and `n` differ only by case", "alike"),
    ("prices/unit/meter", "token", "prices.unit.meter", "no meter `token`", "Did you mean `tokens`"),
    ("prices/unit/meter", REMOVED, "prices.unit.meter", "has no meter", "Add `meter:`"),
    ("prices/unit/meters", ["calls"], "prices.unit.meter", "both `meter` and `meters`", "one of the two"),
    ("prices/unit/match", {"modle": "x"}, "prices.unit.match.modle", "does not group by `modle`", "groups by `model`"),
    ("prices/sized/match", {"region": "eu"}, "prices.sized.match.region", "`calls` does not group by", "Add it"),
    ("prices/unit/group_by", ["tier"], "prices.unit.group_by", "does not group by `tier`", "remove it here"),
    ("prices/unit/group_by", ["model"], "prices.unit.group_by", "matched to one value and grouped by", "`group_by`"),
    ("currencies", ["USD"], "prices.packs.currency", "does not declare", "Add EUR"),
    (VERSIONS, [ONE, ONE], "prices.unit.versions[1].effective_from", "first version", "effective_from:"),
    (
        VERSIONS,
        [ONE, {"effective_from": "2026-01-01", **ONE}, {"effective_from": "2026-01-01T01:00:00+01:00", **ONE}],
        "prices.unit.versions[2].effective_from",
        "same as an earlier one's, 2026-01-01T00:00:00Z",
        "order of time",
    ),
    (
        VERSIONS,
        [{"effective_from": "2026-01-02", **ONE}, {"effective_from": "2026-01-01", **ONE}],
        "prices.unit.versions[1].effective_from",
        "before an earlier one's",
        "order of time",
    ),
    (f"{TIERS}/1/up_to", 20, f"{TIERS_PATH}[1].up_to", "last tier must be open", "up_to: null"),
    (f"{TIERS}/0/up_to", None, f"{TIERS_PATH}[0].up_to", "Only the last tier", "`up_to:`"),
    (f"{TIERS}/0/up_to", 0, f"{TIERS_PATH}[0].up_to", "ends at or before its beginning, 0", "rise"),
    (f"{TIERS}/1/from", 11, f"{TIERS_PATH}[1].from", "a gap between this tier and the tier before", 'from: "10"'),
    (f"{TIERS}/1/from", "9.5", f"{TIERS_PATH}[1].from", "an overlap", 'from: "10"'),
    (f"{TIERS}/0/from", 1, f"{TIERS_PATH}[0].from", "a gap between this tier and zero", "leave `from` out"),
    (f"{TIERS}/0/unit_amount", REMOVED, f"{TIERS_PATH}[0]", "has no amount", 'unit_amount: "0"'),
    (
        TIERS,
        [{"up_to": 10, **ONE}, {"up_to": 10, **ONE}, ONE],
        f"{TIERS_PATH}[1].up_to",
        "ends at or before its beginning, 10",
        "rise",
    ),
    (
        "prices/tiered/versions/0/time_of_day",
        [{"from": "10:00", "to": "12:00", "tiers": [{"up_to": 1, **ONE}]}],
        "prices.tiered.versions[0].time_of_day[0].tiers[0].up_to",
        "last tier must be open",
        "up_to: null",
    ),
    (WINDOWS, [window("10:00", "10:00")], f"{WINDOWS_PATH}[0]", "begins and ends", "length"),
    (
        WINDOWS,
        [window("10:00", "12:00"), window("11:59", "13:00")],
        f"{WINDOWS_PATH}[1]",
        "overlaps time_of_day[0]: both hold at 11:59",
        "one rate",
    ),
    (WINDOWS, [window("22:00", "06:00"), window("05:00", "07:00")], f"{WINDOWS_PATH}[1]", "both hold at 05:00", "one"),
    (WINDOWS, [window("00:00", "01:00"), window("23:00", "00:30")], f"{WINDOWS_PATH}[1]", "both hold at 00:00", "one"),
    (
        WINDOWS,
        [window("10:00", "12:00"), window("13:00", "14:00", time_zone="Europe/Madrid")],
        f"{WINDOWS_PATH}[1].time_zone",
        "different time zones; the first has UTC",
        "Use one",
    ),
    ("plans/pro/prices", ["fee", "unti"], "plans.pro.prices[1]", "no price `unti`", "Did you mean `unit`"),
    ("plans/pro/prices", ["fee", "x*"], "plans.pro.prices[1]", "No key of a price begins", "prefix"),
    ("plans/pro/prices", ["fee", "packs"], "plans.pro.prices[1]", "in USD, but `packs` is in EUR", "currency"),
    ("plans/pro/prices", ["fee", "fee"], "plans.pro.prices", "listed twice", "once"),
    ("plans/pro/currency", "JPY", "plans.pro.currency", "does not declare", "Add JPY"),
    ("plans/pro/entitlements", {"token": {"limit": 1}}, "plans.pro.entitlements.token", "no feature", "`tokens`"),
]


@pytest.mark.parametrize(("place", "value", "path", "message", "cure"), WRONG, ids=[f"{w[0]}={w[1]}" for w in WRONG])
def test_what_is_wrong_between_parts_is_found(place: str, value: Any, path: str, message: str, cure: str) -> None:
    problems = [problem for problem in problems_in(changed(place, value)) if problem.path == path]
    assert len(problems) == 1
    assert message in problems[0].message
    assert cure in problems[0].cure


SOUND_TOO: list[tuple[str, Any]] = [
    (WINDOWS, [window("22:00", "06:00"), window("06:00", "22:00")]),
    (WINDOWS, [window("00:00", "12:00"), window("12:00", "24:00")]),
    (WINDOWS, [window("23:00", "00:00"), window("00:00", "00:00:00.000001")]),
    (f"{TIERS}/1/from", "10.0"),
    (f"{TIERS}/1/up_to", None),
    ("prices/unit/group_by", ["region"]),
    ("plans/pro/prices", []),
    ("plans/pro/prices", ["unit", "u*", "un*"]),
    ("currencies", ["JPY", "EUR", "USD"]),
]


@pytest.mark.parametrize(("place", "value"), SOUND_TOO, ids=[f"{s[0]}={s[1]}" for s in SOUND_TOO])
def test_what_looks_odd_and_is_sound_is_taken(place: str, value: Any) -> None:
    load_catalog(changed(place, value))


def with_prices(**prices: dict[str, Any]) -> dict[str, Any]:
    return {**SOUND, "prices": prices, "plans": {"all": {"currency": "USD", "prices": list(prices)}}}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({}, {}, id="no dimension: both price everything"),
        pytest.param({"match": {"model": "a"}}, {"match": {"model": "a"}}, id="the same values"),
        pytest.param({}, {"meter": None, "meters": ["calls", "tokens"]}, id="one of several meters"),
        pytest.param({"group_by": ["region"]}, {}, id="other groups do not matter"),
    ],
)
def test_usage_that_would_be_charged_twice_is_found(first: dict[str, Any], second: dict[str, Any]) -> None:
    [problem] = problems_in(with_prices(one=price(**first), two=price(**second)))
    assert problem.path == "plans.all.prices"
    assert "`one` and `two` price the same usage of the meter `tokens`" in problem.message


def test_prices_that_match_equally_well_by_different_dimensions_are_ambiguous() -> None:
    one, two = price(match={"model": "a"}), price(match={"region": "eu"})
    [problem] = problems_in(with_prices(one=one, two=two))
    assert "`one` and `two` match some usage" in problem.message
    assert "more dimensions" in problem.cure


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"model": "a"}, {"model": "b"}),
        ({"model": "a"}, {}),
        ({"model": "a"}, {"model": "a", "region": "eu"}),
        ({"region": "eu"}, {"model": "a", "region": "us"}),
    ],
)
def test_prices_of_which_one_wins_are_sound(first: dict[str, str], second: dict[str, str]) -> None:
    load_catalog(with_prices(one=price(match=first), two=price(match=second)))


def test_two_plans_may_price_the_same_usage() -> None:
    document = with_prices(one=price(), two=price())
    document["plans"] = {key: {"currency": "USD", "prices": [key]} for key in ("one", "two")}
    load_catalog(document)


def test_three_prices_with_disjoint_values_on_a_shared_dimension_are_not_ambiguous() -> None:
    meters = {"tokens": {**SOUND["meters"]["tokens"], "group_by": ["model", "region", "tier"]}}
    one, two = price(match={"model": "a", "region": "eu"}), price(match={"model": "b", "tier": "gold"})
    document = {**with_prices(one=one, two=two), "meters": meters, "features": {}}
    load_catalog(document)
    document["prices"]["two"]["match"] = {"model": "a", "tier": "gold"}
    assert "equally well" in problems_in(document)[0].message


@pytest.mark.parametrize("dimension", ["plan", "price"])
def test_a_dimension_named_like_a_column_of_the_price_book_cannot_be_matched(dimension: str) -> None:
    meters = {"tokens": {**SOUND["meters"]["tokens"], "group_by": [dimension]}}
    document = {**with_prices(one=price(match={dimension: "a"})), "meters": meters, "features": {}}
    [problem] = problems_in(document)
    assert problem.path == f"prices.one.match.{dimension}"


def test_suggestions_have_a_limit_so_that_a_hostile_file_ends_soon() -> None:
    names = {f"price-{number:05}": price(match={"model": str(number)}) for number in range(500)}
    document = with_prices(**names)
    document["plans"]["all"]["prices"] = [f"price_{number:05}" for number in range(3_000)]
    problems = problems_in(document)
    assert len(problems) == 3_000
    assert sum("Did you mean" in problem.cure for problem in problems) <= 20
