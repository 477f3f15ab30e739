"""Equal meaning, equal version: however the file was written."""

import json
from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rating.catalog import load_catalog, parse_catalog
from tests.catalog.documents import SOUND, changed

UNIT = "prices/unit/versions/0"
WINDOW = {"from": "22:00", "to": "06:00", "unit_amount": "1"}
MORNING = WINDOW | {"from": "07:00", "to": "08:00"}
TIERS = "prices/tiered/versions/0/tiers"
TIER = {"up_to": 10, "unit_amount": "2"}


def version(document: Any) -> str:
    return load_catalog(document).version


def test_a_version_is_a_name_for_the_content() -> None:
    assert version(SOUND) == version(deepcopy(SOUND))
    assert version(SOUND).startswith("cat_")
    assert len(version(SOUND)) == len("cat_") + 16


def test_the_version_of_a_content_stays_what_it_was() -> None:
    """A change of the canonical form would give every stored catalog another version: it needs a migration."""
    assert version(SOUND) == "cat_741ce4538fdb45f1"


SAME: list[tuple[str, Any, Any]] = [
    (f"{UNIT}/unit_amount", "2.50", "2.5"),
    (f"{UNIT}/unit_amount", "2", 2),
    (f"{UNIT}/unit_amount", "0", "0.000"),
    (f"{UNIT}", {"unit_amount": "1"}, {"unit_amount": "1", "per": 1, "time_of_day": []}),
    (f"{UNIT}", {"unit_amount": "1"}, {"unit_amount": "1", "effective_from": None}),
    (f"{UNIT}", {"unit_amount": "1"}, {"unit_amount": "1", "effective_from": "0001-01-01T00:00:00Z"}),
    (f"{UNIT}/effective_from", "2026-01-01", "2026-01-01T00:00:00Z"),
    (f"{UNIT}/effective_from", "2026-01-01T00:00Z", "2026-01-01T01:00:00.000+01:00"),
    (f"{UNIT}/effective_from", "2026-01-01t00:00:00z", "2026-01-01 00:00:00Z"),
    (f"{UNIT}/time_of_day", [WINDOW], [WINDOW | {"time_zone": "UTC", "per": 1000}]),
    (f"{UNIT}/time_of_day", [WINDOW | {"to": "24:00"}], [WINDOW | {"from": "22:00:00", "to": "00:00"}]),
    (f"{UNIT}/time_of_day", [WINDOW, MORNING], [MORNING, WINDOW]),
    (TIERS, [TIER, {"unit_amount": "1"}], [TIER | {"from": 0}, {"from": "10", "unit_amount": "1.0", "up_to": None}]),
    (TIERS, [{"flat_amount": 5}], [{"unit_amount": "0", "flat_amount": "5.00"}]),
    (TIERS, [{"unit_amount": 5}], [{"unit_amount": 5, "flat_amount": 0}]),
    ("currencies", ["USD", "EUR"], ["EUR", "USD"]),
    ("plans/pro/prices", ["fee", "unit"], ["unit", "fee"]),
    ("plans/pro/entitlements/tokens", {"limit": 1000}, {"limit": "1000.0", "window": "month"}),
    ("meters/tokens/group_by", ["model", "region"], ["region", "model"]),
    ("meters/tokens/filters", [{"property": "a", "equals": "x"}], [{"property": "a", "in": ["x"]}]),
    ("meters/tokens/filters", [{"property": "a", "in": ["x", "y"]}], [{"property": "a", "in": ["y", "x"]}]),
    (
        "meters/tokens/filters",
        [{"property": "a", "equals": "x"}, {"property": "b", "not_in": ["x"]}],
        [{"property": "b", "not_in": ["x"]}, {"property": "a", "equals": "x"}],
    ),
]


@pytest.mark.parametrize(("place", "one", "other"), SAME, ids=[f"{s[0]}: {s[1]} = {s[2]}" for s in SAME])
def test_two_spellings_of_one_meaning_have_one_version(place: str, one: Any, other: Any) -> None:
    assert version(changed(place, one)) == version(changed(place, other))


def test_one_meter_may_be_written_as_a_list() -> None:
    listed = changed("prices/unit/meters", ["tokens"])
    del listed["prices"]["unit"]["meter"]
    assert version(listed) == version(SOUND)


DIFFERENT: list[tuple[str, Any]] = [
    (f"{UNIT}/unit_amount", "2.51"),
    (f"{UNIT}/per", 1001),
    (f"{UNIT}/effective_from", "2026-01-01"),
    (f"{UNIT}/time_of_day", [WINDOW]),
    ("prices/unit/rounding", "half_even"),
    ("prices/unit/match/model", "Small"),
    ("plans/pro/name", "Pro"),
    ("plans/pro/prices", ["fee"]),
    ("meters/calls/filters", [{"property": "a", "equals": "x"}]),
]


def test_another_meaning_is_another_version() -> None:
    versions = [version(SOUND), *(version(changed(place, value)) for place, value in DIFFERENT)]
    assert len(set(versions)) == len(versions)


def shuffled(value: Any, random: Any) -> Any:
    """The value with the keys of every mapping in another order."""
    if isinstance(value, dict):
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key], random) for key in keys}
    return [shuffled(entry, random) for entry in value] if isinstance(value, list) else value


@given(st.randoms(use_true_random=False), st.sampled_from([None, 0, 2]), st.booleans(), st.sampled_from([None, True]))
def test_neither_the_order_of_keys_nor_the_format_matters(random: Any, indent: Any, ascii: bool, flow: Any) -> None:
    document = shuffled(SOUND, random)
    as_json = json.dumps(document, indent=indent, ensure_ascii=ascii)
    as_yaml = yaml.safe_dump(document, sort_keys=False, default_flow_style=flow)
    found = {parse_catalog(as_json).version, parse_catalog(as_json.encode()).version}
    assert found | {parse_catalog(as_yaml, format="yaml").version} == {version(SOUND)}


def test_the_canonical_json_is_a_catalog_file_with_the_same_version() -> None:
    for document in [SOUND, *(changed(place, value) for place, value in DIFFERENT)]:
        catalog = load_catalog(document)
        again = parse_catalog(catalog.canonical_json())
        assert again.version == catalog.version
        assert again.canonical_json() == catalog.canonical_json()
