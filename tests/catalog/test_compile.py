"""A catalog as the frames that the core reads."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from rating.catalog import compile_catalog, load_catalog
from rating.core import schema
from rating.core.book import Filter, Meter, PriceBook, Step
from tests.catalog.documents import SOUND, changed

EVER, FOR_EVER = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
HOUR = 3_600_000_000


def compiled(document: dict[str, Any]) -> PriceBook:
    return compile_catalog(load_catalog(document))


def rates_of(book: PriceBook, price: str) -> list[dict[str, Any]]:
    return book.rates.filter(pl.col("price") == price).to_dicts()


def tiers_of(book: PriceBook, rate: int) -> list[tuple[Any, ...]]:
    return book.tiers.filter(pl.col("rate") == rate).drop("rate", "flat_per").rows()


def test_every_frame_has_its_schema_also_when_it_is_empty() -> None:
    for book in (compiled(SOUND), compiled({"tallystick": 1, "currencies": ["USD"]})):
        frames = {
            "prices": schema.PRICE,
            "rates": schema.RATE,
            "tiers": schema.TIER,
            "weights": schema.WEIGHT,
            "allowances": schema.ALLOW,
            "clamps": schema.CLAMP,
            "compositions": schema.COMPOSE,
            "fees": schema.PLAN_FEE,
            "features": schema.FEATURE,
            "entitlements": schema.ENTITLEMENT,
            "quota_grants": schema.PLAN_QUOTA_GRANT,
            "policies": schema.POLICY,
        }
        assert {name: getattr(book, name).schema for name in frames} == frames


def test_a_book_is_the_same_for_every_spelling_of_its_catalog() -> None:
    reversed_document = {
        key: dict(reversed(value.items())) if isinstance(value, dict) else value
        for key, value in reversed(SOUND.items())
    }
    one, other = compiled(SOUND), compiled(reversed_document)
    assert (one.version, one.meters) == (other.version, other.meters)
    assert [shape.prices.to_dicts() for shape in one.shapes] == [shape.prices.to_dicts() for shape in other.shapes]
    assert one.rates.equals(other.rates)
    assert one.tiers.equals(other.tiers)


def test_meters_carry_signed_properties_and_filters() -> None:
    document = changed("meters/tokens/subtract", ["cached"])
    document["meters"]["tokens"]["add"] = ["m"]
    document["meters"]["tokens"]["filters"] = [
        {"property": "tier", "equals": "gold"},
        {"property": "kind", "not_in": ["b", "a"]},
    ]
    assert compiled(document).meters == (
        Meter("calls", "llm.request", "count", group_by=("model",)),
        Meter(
            "tokens",
            "llm.request",
            "sum",
            add=("m", "n"),
            subtract=("cached",),
            filters=(Filter("kind", "not_in", ("a", "b")), Filter("tier", "in", ("gold",))),
            group_by=("model", "region"),
        ),
    )


def test_prices_carry_the_minor_unit_of_their_currency() -> None:
    document = changed("currencies", ["USD", "EUR", "JPY", "KWD"])
    document["prices"] = {
        code: {"model": "flat", "currency": code, "rounding": "up", "versions": [{"amount": "1"}]}
        for code in ("JPY", "KWD", "USD")
    }
    document["plans"] = {}
    assert compiled(document).prices.rows() == [
        ("JPY", "JPY", 0, "flat", "up", 0, "line"),
        ("KWD", "KWD", 3, "flat", "up", 3, "line"),
        ("USD", "USD", 2, "flat", "up", 2, "line"),
    ]


def test_versions_follow_each_other_from_ever_to_for_ever() -> None:
    document = changed(
        "prices/unit/versions",
        [
            {"unit_amount": "1"},
            {"unit_amount": "2", "effective_from": "2026-01-01T00:00:00.000001+02:00"},
            {"unit_amount": "3", "effective_from": "2027-01-01"},
        ],
    )
    second, third = datetime(2025, 12, 31, 22, 0, 0, 1, UTC), datetime(2027, 1, 1, tzinfo=UTC)
    rates = rates_of(compiled(document), "unit")
    assert [(rate["version"], rate["effective_from"], rate["effective_to"]) for rate in rates] == [
        (0, EVER, second),
        (1, second, third),
        (2, third, FOR_EVER),
    ]


def test_windows_are_rates_of_their_own_that_inherit_per() -> None:
    windows = [
        {"from": "22:30", "to": "06:00:00.5", "time_zone": "Europe/Madrid", "unit_amount": "1"},
        {"from": "06:30", "to": "24:00", "time_zone": "Europe/Madrid", "unit_amount": "3", "per": 7},
    ]
    windows[1]["to"] = "08:00"
    book = compiled(changed("prices/unit/versions/0/time_of_day", windows))
    own, early, late = rates_of(book, "unit")
    assert [(rate["window"], rate["per"]) for rate in (own, early, late)] == [(None, 1000), (0, 7), (1, 1000)]
    assert book.bands.filter(base=own["rate"]).select("rate", "zone", "from", "to").rows() == [
        (early["rate"], "Europe/Madrid", 6.5 * HOUR, 8 * HOUR),
        (late["rate"], "Europe/Madrid", 22.5 * HOUR, 6 * HOUR + 500_000),
    ]
    assert [tiers_of(book, rate["rate"])[0][3] for rate in (own, early, late)] == [Decimal("2.5"), 3, 1]


@pytest.mark.parametrize(
    ("price", "numbers", "tiers"),
    [
        ("fee", {"per": 1, "tier_mode": "volume", "flat_when_unused": True}, [(0, 0, None, 0, 20, 0)]),
        ("unit", {"per": 1000, "tier_mode": "volume", "flat_when_unused": False}, [(0, 0, None, Decimal("2.5"), 0, 0)]),
        ("packs", {"per": 1, "numbers": ['{"divide_by":"100","rounding":"up"}']}, [(0, 0, None, 1, 0, 0)]),
        ("sized", {"per": 1, "tier_mode": "cliff", "size": "n"}, [(0, 0, None, 1, 0, 0)]),
        ("tiered", {"per": 1, "tier_mode": "graduated"}, [(0, 0, 10, 2, 0, 0), (1, 10, None, 1, 0, 0)]),
    ],
)
def test_each_model_has_its_numbers(price: str, numbers: dict[str, Any], tiers: list[tuple[Any, ...]]) -> None:
    book = compiled(SOUND)
    [rate] = rates_of(book, price)
    assert {field: rate[field] for field in numbers} == numbers
    assert tiers_of(book, rate["rate"]) == tiers


def test_equal_chains_are_one_and_packages_weigh() -> None:
    book = compiled(SOUND)
    [packs], [unit], [tiered] = (rates_of(book, price) for price in ("packs", "unit", "tiered"))
    assert unit["chain"] == tiered["chain"] != packs["chain"]
    assert book.chains[packs["chain"]].before == (Step("weight"),)
    assert book.weights.filter(rate=packs["rate"]).row(0, named=True) | {"factor": 1} == {
        **dict.fromkeys(schema.WEIGHT),
        "rate": packs["rate"],
        "step": 0,
        "factor": 1,
        "divide_by": 100,
        "rounding": "up",
    }


def test_amounts_and_bounds_are_exact() -> None:
    tiers = [
        {"up_to": "0.123456789", "unit_amount": "0." + "123456789" * 2, "flat_amount": "999999999999.99"},
        {"unit_amount": 0},
    ]
    book = compiled(changed("prices/tiered/versions/0/tiers", tiers))
    [rate] = rates_of(book, "tiered")
    first = tiers_of(book, rate["rate"])[0]
    assert first[:5] == (0, 0, Decimal("0.123456789"), Decimal("0.123456789123456789"), Decimal("999999999999.99"))


def test_sized_windows_inherit_the_size() -> None:
    windows = [
        {"from": "01:00", "to": "02:00", "tiers": [{"unit_amount": "9"}]},
        {
            "from": "03:00",
            "to": "04:00",
            "size": "m",
            "tiers": [{"up_to": 5, "unit_amount": "8"}, {"unit_amount": "7"}],
        },
    ]
    book = compiled(changed("prices/sized/versions/0/time_of_day", windows))
    assert [rate["size"] for rate in rates_of(book, "sized")] == ["n", "n", "m"]


def test_plans_expand_prefixes_and_list_each_price_once() -> None:
    document = changed("plans/pro/prices", ["*ee", "fee", "t*", "tiered"][1:])
    document["plans"]["all"] = {"currency": "USD", "prices": ["fee", "unit", "sized", "tier*", "tiere*"]}
    book = compiled(document)
    fees = book.fees.select("plan", "price", "due").rows()
    assert fees == [("all", "fee", "in_advance"), ("pro", "fee", "in_advance")]
    assert {(shape.meter, shape.match): shape.prices.drop("cell").rows() for shape in book.shapes} == {
        ("tokens", ("model",)): [("all", "tiered", "large"), ("pro", "tiered", "large"), ("all", "unit", "small")],
        ("calls", ()): [("all", "sized")],
    }


def test_a_price_of_several_meters_is_in_the_shapes_of_each() -> None:
    document = changed("prices/unit/meters", ["tokens", "calls"])
    del document["prices"]["unit"]["meter"]
    document["plans"]["pro"]["prices"] = ["unit"]
    shapes = compiled(document).shapes
    assert [(shape.meter, shape.match, shape.group_by) for shape in shapes] == [
        ("calls", ("model",), ()),
        ("tokens", ("model",), ()),
    ]


def test_shapes_differ_by_matched_dimensions_and_by_groups() -> None:
    document = changed("prices/unit/group_by", ["region"])
    document["prices"]["eu"] = {**SOUND["prices"]["unit"], "match": {"region": "eu", "model": "large"}}
    document["plans"]["pro"]["prices"] = ["unit", "eu", "tiered"]
    shapes = compiled(document).shapes
    assert {(shape.match, shape.group_by): shape.prices.columns for shape in shapes} == {
        (("model",), ("region",)): ["plan", "price", "cell", "model"],
        (("model", "region"), ()): ["plan", "price", "cell", "model", "region"],
        (("model",), ()): ["plan", "price", "cell", "model"],
    }


def test_entitlements_name_the_meter_of_their_feature() -> None:
    [row] = compiled(SOUND).entitlements.rows(named=True)
    assert {name: value for name, value in row.items() if value is not None} == {
        "plan": "pro", "feature": "tokens", "kind": "metered", "meter": "tokens", "limit": Decimal(1000),
        "window": "month", "enforcement": "hard", "overage": "forget", "priority": 100, "shared": False,
        "thresholds": [],
    }  # fmt: skip
