"""Every way to misspell a part of the file gets its place, what was found, and a cure."""

from decimal import Decimal
from typing import Any

import pytest

from rating.catalog import Catalog, CatalogInvalid, load_catalog, parse_catalog
from rating.catalog.presets import UnitPrice
from rating.catalog.problems import FloatLiteral
from tests.catalog.documents import REMOVED, SOUND, changed, problems_in


def test_a_sound_document_is_a_catalog() -> None:
    assert isinstance(load_catalog(SOUND), Catalog)


UNIT = "prices/unit/versions/0"
NIGHT = {"from": "22:00", "to": "06:00", "unit_amount": "1"}

BROKEN: list[tuple[str, Any, str, str, str]] = [
    # what is put where; the path of the problem; part of its message; part of its cure
    ("tallystick", 2, "tallystick", "not a format", "tallystick: 1"),
    ("tallystick", True, "tallystick", "not a format", "tallystick: 1"),
    ("tallystick", REMOVED, "tallystick", "missing", "tallystick: 1"),
    ("currencies", [], "currencies", "must not be empty", "currencies: [USD]"),
    ("currencies", "USD", "currencies", "must be a list", "[a, b]"),
    ("currencies", ["USD", "EUR", "usd"], "currencies[2]", "not a currency", "Did you mean `USD`"),
    ("currencies", ["USD", "EUR", "XAU"], "currencies[2]", "minor unit", "ISO 4217"),
    ("currencies", ["USD", "EUR", "USD"], "currencies", "`USD` is listed twice", "once"),
    ("metres", {}, "metres", "no field `metres`", "Did you mean `meters`"),
    ("meters", [], "meters", "must be a mapping", "key: value"),
    ("meters/a b", {"event_type": "x", "aggregation": "count"}, "meters.a b", "key", "letters"),
    ("meters/a*", {"event_type": "x", "aggregation": "count"}, "meters.a*", "`*`", "letters"),
    ("meters/calls/event_type", "", "meters.calls.event_type", "must not be empty", "llm.request"),
    ("meters/calls/event_type", 5, "meters.calls.event_type", "must be text", '"5"'),
    ("meters/calls/aggregation", "summ", "meters.calls.aggregation", "choices", "Did you mean `sum`"),
    ("meters/calls/aggregation", REMOVED, "meters.calls.aggregation", "missing", "aggregation: sum"),
    ("meters/tokens/property", "9n", "meters.tokens.property", "not a name of a property", "not starting with a digit"),
    ("meters/tokens/property", "n" * 64, "meters.tokens.property", "not a name of a property", "63"),
    ("meters/tokens/group_by", ["model", "model"], "meters.tokens.group_by", "listed twice", "once"),
    ("meters/tokens/filters", [{"property": "a", "in": []}], "meters.tokens.filters[0].in", "empty", "entry"),
    ("meters/tokens/filters", [{"property": "a", "equals": 4}], "meters.tokens.filters[0].equals", "text", '"4"'),
    ("meters/tokens/filters", [{"property": "a", "eq": "4"}], "meters.tokens.filters[0].eq", "no field", "`equals`"),
    ("features/tokens", {}, "plans.pro.entitlements.tokens", "has no meter", "Add a `meter`"),
    ("prices/unit/model", REMOVED, "prices.unit", "`model` is missing", "per_unit"),
    ("prices/unit/model", "per-unit", "prices.unit", "no price model `per-unit`", "Did you mean `per_unit`"),
    ("prices/unit/currency", "DOLLAR", "prices.unit.currency", "not a currency", "ISO 4217"),
    ("prices/unit/rounding", "half_up", "prices.unit.rounding", "choices", "half_away_from_zero"),
    ("prices/unit/match/model", 4, "prices.unit.match.model", "must be text", '"4"'),
    ("prices/unit/match/model", FloatLiteral("4.10"), "prices.unit.match.model", "must be text", '"4.10"'),
    ("prices/unit/versions", [], "prices.unit.versions", "must not be empty", "one version"),
    ("prices/unit/versions", {}, "prices.unit.versions", "must be a list", "-"),
    (f"{UNIT}/unit_amount", FloatLiteral("2.50"), "prices.unit.versions[0].unit_amount", "floating-point", '"2.50"'),
    (f"{UNIT}/unit_amount", 2.5, "prices.unit.versions[0].unit_amount", "floating-point", '"2.5"'),
    (f"{UNIT}/unit_amount", True, "prices.unit.versions[0].unit_amount", "decimal number", "string"),
    (f"{UNIT}/unit_amount", None, "prices.unit.versions[0].unit_amount", "decimal number", "string"),
    (f"{UNIT}/unit_amount", "-1", "prices.unit.versions[0].unit_amount", "negative", "zero or a positive"),
    (f"{UNIT}/unit_amount", -1, "prices.unit.versions[0].unit_amount", "negative", "zero or a positive"),
    (f"{UNIT}/unit_amount", "1e5", "prices.unit.versions[0].unit_amount", "plain decimal", "exponent"),
    (f"{UNIT}/unit_amount", "1,5", "prices.unit.versions[0].unit_amount", "plain decimal", "separator"),
    (f"{UNIT}/unit_amount", "$1", "prices.unit.versions[0].unit_amount", "plain decimal", "currency"),
    (f"{UNIT}/unit_amount", "NaN", "prices.unit.versions[0].unit_amount", "plain decimal", "digits"),
    (f"{UNIT}/unit_amount", "٣", "prices.unit.versions[0].unit_amount", "plain decimal", "digits"),
    (f"{UNIT}/unit_amount", "", "prices.unit.versions[0].unit_amount", "plain decimal", "digits"),
    (f"{UNIT}/unit_amount", "1\n", "prices.unit.versions[0].unit_amount", "plain decimal", "digits"),
    (f"{UNIT}/unit_amount", "0." + "1" * 19, "prices.unit.versions[0].unit_amount", "19 decimals", "`per`"),
    (f"{UNIT}/unit_amount", "1" + "0" * 12, "prices.unit.versions[0].unit_amount", "below 10", "unit"),
    (f"{UNIT}/unit_amount", 10**50, "prices.unit.versions[0].unit_amount", "plain decimal", "digits"),
    (f"{UNIT}/unit_amount", REMOVED, "prices.unit.versions[0].unit_amount", "missing", 'unit_amount: "2.50"'),
    (f"{UNIT}/unit_amonut", "2", "prices.unit.versions[0].unit_amonut", "no field", "Did you mean `unit_amount`"),
    (
        f"{UNIT}/tiers",
        [],
        "prices.unit.versions[0].tiers",
        "per_unit does not use",
        "`graduated`, `volume`, `stairstep`",
    ),
    (
        f"{UNIT}/amount",
        "1",
        "prices.unit.versions[0].amount",
        "per_unit does not use",
        "`flat`, `one_time` or `package`",
    ),
    ("prices/fee/meter", "tokens", "prices.fee.meter", "flat does not use", "per_unit"),
    ("prices/fee/versions/0/time_of_day", [], "prices.fee.versions[0].time_of_day", "flat does not use", "per_unit"),
    ("prices/unit/<<", {"a": 1}, "prices.unit.<<", "merge keys", "alias"),
    (f"{UNIT}/per", "1_000", "prices.unit.versions[0].per", "whole number", "1000"),
    (f"{UNIT}/per", FloatLiteral("1e3"), "prices.unit.versions[0].per", "whole number", "digits"),
    (f"{UNIT}/per", 0, "prices.unit.versions[0].per", "from 1 to", "how many"),
    (f"{UNIT}/per", 10**15 + 1, "prices.unit.versions[0].per", "from 1 to", "how many"),
    (f"{UNIT}/per", True, "prices.unit.versions[0].per", "whole number", "digits"),
    (f"{UNIT}/effective_from", "2026-01-01T00:00:00", "prices.unit.versions[0].effective_from", "no zone", "+02:00"),
    (f"{UNIT}/effective_from", "2026-02-30", "prices.unit.versions[0].effective_from", "not an instant", "2026-01-01"),
    (f"{UNIT}/effective_from", 20260101, "prices.unit.versions[0].effective_from", "not an instant", "2026-01-01"),
    (f"{UNIT}/effective_from", "9999-01-01", "prices.unit.versions[0].effective_from", "too late", "9998"),
    (f"{UNIT}/effective_from", "0001-01-01T00:00:00+05:00", "prices.unit.versions[0].effective_from", "not an", "Z"),
    (f"{UNIT}/time_of_day", [NIGHT | {"from": "25:00"}], "prices.unit.versions[0].time_of_day[0].from", "no", "24:00"),
    (f"{UNIT}/time_of_day", [NIGHT | {"to": 990}], "prices.unit.versions[0].time_of_day[0].to", "time of", '"16:30"'),
    (f"{UNIT}/time_of_day", [NIGHT | {"to": "6:00"}], "prices.unit.versions[0].time_of_day[0].to", "time of", "16:30"),
    (
        f"{UNIT}/time_of_day",
        [NIGHT | {"time_zone": "Europe/Madird"}],
        "prices.unit.versions[0].time_of_day[0].time_zone",
        "unknown",
        "Did you mean `Europe/Madrid`",
    ),
    ("prices/packs/versions/0/package_size", 0, "prices.packs.versions[0].package_size", "more than zero", "positive"),
    ("prices/packs/versions/0/package_size", REMOVED, "prices.packs.versions[0].package_size", "missing", "1000"),
    ("prices/sized/versions/0/size", REMOVED, "prices.sized.versions[0].size", "missing", "input_tokens"),
    ("prices/tiered/versions/0/tiers", [], "prices.tiered.versions[0].tiers", "must not be empty", "`up_to`"),
    (
        "prices/tiered/versions/0/tiers/0/up_to",
        FloatLiteral("0.5"),
        "prices.tiered.versions[0].tiers[0].up_to",
        "floating-point",
        '"0.5"',
    ),
    (
        "prices/tiered/versions/0/tiers/0/up_to",
        "0.0000000001",
        "prices.tiered.versions[0].tiers[0].up_to",
        "10 decimals",
        "Round it to 9",
    ),
    ("plans/pro/entitlements/tokens/limit", "-1", "plans.pro.entitlements.tokens.limit", "negative", "zero or"),
    ("plans/pro/entitlements/tokens/limit", 10**18, "plans.pro.entitlements.tokens.limit", "below", "unit"),
    ("plans/pro/entitlements/tokens/window", "decade", "plans.pro.entitlements.tokens.window", "choices", "`month`"),
]


@pytest.mark.parametrize(("place", "value", "path", "message", "cure"), BROKEN, ids=[f"{b[0]}={b[1]}" for b in BROKEN])
def test_what_is_wrong_is_found_with_path_and_cure(place: str, value: Any, path: str, message: str, cure: str) -> None:
    problems = problems_in(changed(place, value))
    assert [problem.path for problem in problems] == [path]
    assert message in problems[0].message
    assert cure in problems[0].cure


@pytest.mark.parametrize("value", ["2.50", "0", 0, 3, "0." + "1" * 18, "2.5" + "0" * 30, "999999999999.99"])
def test_amounts_that_are_exact_are_taken_trailing_zeros_being_no_decimals(value: Any) -> None:
    price = load_catalog(changed(f"{UNIT}/unit_amount", value)).prices["unit"]
    assert isinstance(price, UnitPrice)
    assert price.versions[0].unit_amount == Decimal(value)


def test_all_problems_come_at_once_also_between_parts() -> None:
    document = changed("prices/unit/currency", "dollar")
    document["meters"]["tokens"]["aggregation"] = "summ"
    document["plans"]["pro"]["prices"] = ["fee", "unit", "sized", "nothing"]
    document["features"]["calls"] = {"meter": "cals"}
    assert {problem.path for problem in problems_in(document)} == {
        "meters.tokens.aggregation",
        "prices.unit.currency",
        "features.calls.meter",
        "plans.pro.prices[3]",
    }


def test_a_part_that_is_broken_is_not_reported_as_missing_too() -> None:
    document = changed("meters", [])
    assert [problem.path for problem in problems_in(document)] == ["meters"]
    document = changed("currencies", [])
    assert [problem.path for problem in problems_in(document)] == ["currencies"]


def test_a_prefix_of_prices_that_are_all_broken_is_not_reported_too() -> None:
    document = changed("prices/unit/currency", "dollar")
    document["plans"]["pro"]["prices"] = ["un*", "fee", "tiered", "zz*"]
    assert [problem.path for problem in problems_in(document)] == ["prices.unit.currency", "plans.pro.prices[3]"]


def test_the_error_lists_path_message_value_and_cure() -> None:
    with pytest.raises(CatalogInvalid) as refused:
        load_catalog(changed(f"{UNIT}/unit_amount", FloatLiteral("2.50")))
    assert str(refused.value) == (
        "The catalog has 1 problem:\n"
        "  - prices.unit.versions[0].unit_amount: An amount of money must not be a floating-point number. (found 2.50) "
        'Write it as a string: "2.50".'
    )


def test_a_long_list_of_problems_is_cut_in_print_only() -> None:
    document = changed("features", {f"f{number}": {"meter": "nothing"} for number in range(200)})
    document["plans"] = {}
    with pytest.raises(CatalogInvalid) as refused:
        load_catalog(document)
    assert len(refused.value.problems) == 200
    assert str(refused.value).endswith("and 150 more")


def test_declared_properties_are_typed_by_their_use() -> None:
    document = changed("meters/tokens/filters", [{"property": "tier", "equals": "gold"}])
    document["prices"]["sized"]["versions"][0]["size"] = "length"
    assert load_catalog(document).declared_properties() == {
        "length": "number",
        "model": "string",
        "n": "number",
        "region": "string",
        "tier": "string",
    }


def test_empty_sections_are_empty() -> None:
    catalog = parse_catalog("tallystick: 1\ncurrencies: [USD]\nmeters:\nfeatures:\nprices: {}\nplans: ~\n")
    assert catalog.meters == catalog.plans == {}
