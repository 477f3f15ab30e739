"""The price models: what each refuses, and that each has one spelling."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.catalog import CatalogInvalid, load_catalog, parse_catalog
from rating.catalog.explaining import PRICE_CLASSES
from rating.catalog.problems import Problem
from tests.conformance.rated import VALUE, Document, catalog_of
from tests.strategies import NUMBERS

PRICING = (Path(__file__).resolve().parents[2] / "docs/pricing.md").read_text()
METER = {**VALUE, "group_by": ["region"]}


def document(model: str, version: Document, **price: Any) -> Document:
    metered = {} if model in ("flat", "one_time") else {"meter": "m"}
    return catalog_of({"m": METER}, {"p": {**metered, "model": model, "versions": [version], **price}})


def problems(model: str, version: Document, **price: Any) -> list[Problem]:
    with pytest.raises(CatalogInvalid) as raised:
        load_catalog(document(model, version, **price))
    return list(raised.value.problems)


@pytest.mark.parametrize(
    ("model", "version", "path", "says"),
    [
        ("dynamic", {}, "amount_property", "in no property"),
        ("dynamic", {"amount_property": "a", "unit_amount_property": "b"}, "amount_property", "in two properties"),
        ("dynamic", {"amount_property": "a", "multiplier": "-1"}, "multiplier", "must not be negative"),
        (
            "percentage",
            {"percent": "1", "minimum_per_event": "2", "maximum_per_event": "1"},
            "minimum_per_event",
            "more than the most",
        ),
        ("percentage", {"basis_points": "1"}, "percent", "`percent` is missing"),
        ("basis_points", {"percent": "1"}, "basis_points", "`basis_points` is missing"),
        ("stairstep", {"tiers": [{"up_to": 1, "unit_amount": "1"}, {"amount": "2"}]}, "tiers[0].amount", "is missing"),
        ("stairstep", {"tiers": [{"up_to": 1, "amount": "1"}]}, "tiers[0].up_to", "The last tier must be open"),
        ("graduated_percentage", {"tiers": [{"flat_amount": "1"}]}, "tiers[0].percent", "is missing"),
        ("package", {"package_size": 0, "amount": "1"}, "package_size", "more than zero"),
        ("per_unit", {"unit_amount": "1", "convert": {"divide_by": 0}}, "convert.divide_by", "more than zero"),
    ],
)
def test_numbers_that_make_no_price_are_refused(model: str, version: Document, path: str, says: str) -> None:
    found = {problem.path: problem.message for problem in problems(model, version)}
    assert says in found[f"prices.p.versions[0].{path}"]


def test_a_price_by_groups_has_no_flat_amount_without_usage() -> None:
    version = {"tiers": [{"amount": "1"}], "flat_when_unused": True}
    [problem] = problems("stairstep", version, group_by=["region"])
    assert problem.path == "prices.p.versions[0].flat_when_unused"


@pytest.mark.parametrize("model", sorted(NUMBERS))
@settings(max_examples=15)
@given(data=st.data())
def test_a_version_says_the_same_in_its_canonical_spelling(model: str, data: st.DataObject) -> None:
    size = {"per_request": {"size": "value"}}.get(model, {})
    catalog = load_catalog(document(model, {**data.draw(NUMBERS[model]), **size}))
    again = parse_catalog(catalog.canonical_json())
    assert again.version == catalog.version
    assert [v.charge() for v in again.prices["p"].versions] == [v.charge() for v in catalog.prices["p"].versions]


def test_numbers_may_be_written_in_any_way() -> None:
    written = document("basis_points", {"basis_points": "2.50", "free_while": "both"})
    plain = document("basis_points", {"basis_points": "2.5"})
    assert load_catalog(written).version == load_catalog(json.loads(json.dumps(plain))).version


@pytest.mark.parametrize("model", sorted(PRICE_CLASSES))
def test_every_model_is_in_the_guide(model: str) -> None:
    assert f"`{model}`" in PRICING or f"    {model}: " in PRICING
