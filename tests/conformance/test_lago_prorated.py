"""Levels that another engine counts by the day: each case as a level over the time of the period, carried over.

There a level counts from the day of its event on, all of it; here from the instant of its event on. Where events are at
midnight both are the same. What is left out, and why: docs/conformance.md.
"""

import json
from collections.abc import Iterator
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.conformance.test_lago_aggregations import FILE, MODES, assert_equal, meter_of, one, quantities
from tests.conftest import SHARED, shared_path

PRORATED = {"sum_prorated": "sum", "unique_count_prorated": "unique_count"}
SHOWN = {"mode": "ceiling", "decimals": 5}
Case = dict[str, Any]


def why_left_out(case: Case) -> str | None:
    """Whether a case follows another rule: by what it says, never by its name."""
    zone = ZoneInfo(case["period"]["timezone"])
    times = [datetime.fromisoformat(event["timestamp"]).astimezone(zone).time() for event in case["events"]]
    if any(at != time() for at in times):
        return "a level that changes in the midst of a day"
    if "context" in case or "per_event" in case["expected"]:
        return "an event billed alone, in advance"
    return None


def every() -> list[Case]:
    path = SHARED / FILE
    return [it for it in json.loads(path.read_text()) if it["aggregation"] in PRORATED] if path.exists() else []


def cases() -> Iterator[Any]:
    for case in every():
        if why_left_out(case) is None:
            yield pytest.param(case, id=case["id"])


def level_of(case: Case, aggregation: str) -> dict[str, Any]:
    """The meter of a level: what its values add up to, or how many there are, each added once and taken away."""
    plain = meter_of(case, aggregation)
    level = {**plain, "aggregation": "weighted_sum", "carried": True, "rounding": SHOWN}
    if aggregation == "unique_count":
        change = "CASE WHEN operation = 'remove' THEN -1 ELSE 1 END"
        level |= {"expression": change, "properties": {"operation": "string"}, "removed_when": None, "property": None}
    if "rounding" in case:
        level["rounding"] = {"mode": MODES[case["rounding"]["function"]], "decimals": case["rounding"]["precision"]}
    return {name: value for name, value in level.items() if value is not None}


@pytest.mark.parametrize("case", list(cases()))
def test_a_level_counts_for_its_part_of_the_period(case: Case) -> None:
    expected, aggregation = case["expected"], PRORATED[case["aggregation"]]
    found = quantities(case, level_of(case, aggregation), case.get("group_by", []))
    if "value" in expected:
        assert_equal(case, one(found)[0], expected["value"])
    for group in expected.get("groups", []):
        assert_equal(case, found[json.dumps(group["group"], sort_keys=True)][0], group["value"])
    if "full_units" in expected:
        units = quantities(case, {**meter_of(case, aggregation), "carried": True}, [])
        assert_equal(case, one(units)[0], expected["full_units"])


def test_every_case_is_tried_or_left_out_by_its_kind() -> None:
    shared_path(*FILE.split("/"))
    left_out = [case for case in every() if why_left_out(case) is not None]
    assert len(list(cases())) + len(left_out) == len(every())
