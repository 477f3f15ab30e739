"""What is wrong with a meter, with what prices it and with what limits it: place, message and cure."""

from copy import deepcopy
from typing import Any

import pytest

from rating.catalog import load_catalog
from tests.catalog.documents import SOUND, problems_in


def meter(aggregation: str = "max", **more: Any) -> dict[str, Any]:
    return {"event_type": "e", "aggregation": aggregation, "property": "v", **more}


def with_meter(**more: Any) -> dict[str, Any]:
    document = deepcopy(SOUND)
    document["meters"]["m"] = meter(**more)
    return document


WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    ({"property": None}, "meters.m.property", "needs a property", "Add `property:`"),
    ({"aggregation": "unique_count", "add": ["w"]}, "meters.m.property", "needs one property", "text"),
    ({"aggregation": "percentile"}, "meters.m.percentile", "missing", 'percentile: "95"'),
    ({"aggregation": "percentile", "percentile": "101"}, "meters.m.percentile", "100 percent", "100 or less"),
    ({"percentile": "95"}, "meters.m.percentile", "does nothing for the aggregation `max`", "`percentile`"),
    ({"time_unit": "hour"}, "meters.m.time_unit", "does nothing", "`time_weighted` or `weighted_sum`"),
    ({"series_by": ["subject"]}, "meters.m.series_by", "does nothing", "`rate_of_change`"),
    ({"aggregation": "average", "carried": True}, "meters.m.carried", "does nothing", "`latest`"),
    ({"removed_when": {"property": "op", "equals": "x"}}, "meters.m.removed_when", "does nothing", "`unique_count`"),
    ({"properties": {"w": "number"}}, "meters.m.properties", "Only an `expression`", "Remove"),
    ({"expression": "w", "properties": {"w": "number"}}, "meters.m.expression", "so is `property`", "Keep one"),
    (
        {"property": None, "expression": "w / 2", "properties": {"w": "number"}},
        "meters.m.expression",
        "not exact",
        "one expression over `properties`",
    ),
    ({"filters": [{"property": "f"}]}, "meters.m.filters[0]", "exactly one of", "Keep one"),
    ({"filters": [{"property": "f", "prefix": "a", "exists": True}]}, "meters.m.filters[0]", "exactly one", "Keep"),
    ({"exclude": [[{"property": "f"}]]}, "meters.m.exclude[0][0]", "exactly one of", "Keep one"),
    (
        {"filters": [{"property": "w", "at_least": 1, "more_than": 1}]},
        "meters.m.filters[0]",
        "A range has one of",
        "Keep one",
    ),
    (
        {"filters": [{"property": "w", "at_least": 5, "less_than": 5}]},
        "meters.m.filters[0]",
        "No number is in this range",
        "below",
    ),
]


@pytest.mark.parametrize(("more", "path", "message", "cure"), WRONG, ids=[f"{w[1]}: {w[2]}" for w in WRONG])
def test_what_is_wrong_with_a_meter_is_found(more: dict[str, Any], path: str, message: str, cure: str) -> None:
    problems = [problem for problem in problems_in(with_meter(**more)) if problem.path == path]
    assert len(problems) == 1
    assert message in problems[0].message
    assert cure in problems[0].cure


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"aggregation": "max"}, "has the aggregation `max`"),
        ({"aggregation": "sum", "carried": True}, "carries usage over"),
        ({"aggregation": "sum", "divide_by": 1000}, "converts or rounds the whole"),
        ({"aggregation": "sum", "rounding": {"mode": "up"}}, "converts or rounds the whole"),
    ],
)
def test_a_limit_and_a_price_of_each_event_need_a_plain_sum(more: dict[str, Any], why: str) -> None:
    limited = with_meter(**more)
    limited["features"]["tokens"] = {"meter": "m"}
    [problem] = problems_in(limited)
    assert problem.path == "plans.pro.entitlements.tokens"
    assert f"A limit counts event by event, and the meter `m` {why}." == problem.message
    priced = with_meter(**more)
    priced["prices"]["sized"]["meter"] = "m"
    [problem] = problems_in(priced)
    assert (problem.path, problem.message) == (
        "prices.sized.meter",
        f"The price looks at each event, and the meter `m` {why}.",
    )


@pytest.mark.parametrize("more", [{"carried": True}, {"aggregation": "high_water_mark"}])
def test_one_quantity_that_goes_on_has_no_time_of_the_day(more: dict[str, Any]) -> None:
    document = with_meter(**more, group_by=["model"])
    window = {"from": "10:00", "to": "12:00", "unit_amount": "1"}
    document["prices"]["unit"] |= {"meter": "m", "versions": [{"unit_amount": "1", "time_of_day": [window]}]}
    [problem] = problems_in(document)
    assert problem.path == "prices.unit.meter"
    assert "without times of the day" in problem.cure


def test_a_time_weighted_meter_has_times_of_the_day() -> None:
    document = with_meter(aggregation="time_weighted", group_by=["model"])
    window = {"from": "10:00", "to": "12:00", "unit_amount": "1"}
    document["prices"]["unit"] |= {"meter": "m", "versions": [{"unit_amount": "1", "time_of_day": [window]}]}
    load_catalog(document)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"aggregation": "time_weighted"}, {"aggregation": "time_weighted", "carried": True, "time_unit": "hour"}),
        ({"aggregation": "weighted_sum"}, {"aggregation": "weighted_sum", "carried": False, "time_unit": "period"}),
        ({"factor": "1.0"}, {"divide_by": 1}),
        (
            {"filters": [{"property": "f", "equals": "a"}], "exclude": [[{"property": "f", "in": ["b", "a"]}]]},
            {"filters": [{"property": "f", "in": ["a"]}], "exclude": [[{"property": "f", "in": ["a", "b"]}]]},
        ),
    ],
)
def test_what_means_the_same_has_the_same_version(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert load_catalog(with_meter(**one)).version == load_catalog(with_meter(**other)).version


def test_a_property_that_is_only_looked_for_is_text_unless_it_is_a_number_elsewhere() -> None:
    there = {"filters": [{"property": "x", "exists": True}]}
    assert load_catalog(with_meter(**there)).declared_properties()["x"] == "string"
    assert load_catalog(with_meter(**there, add=["x"])).declared_properties()["x"] == "number"
