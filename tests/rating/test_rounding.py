"""Where amounts are rounded: by event, line, price or subscription; shown parts sum to what is shown as their sum."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import iso4217
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.catalog import CatalogInvalid, compile_catalog, parse_catalog
from rating.catalog.literals import currency_digits
from rating.core.explain import explain
from rating.core.money import AmountOverflow
from rating.core.periods import parse_month
from rating.core.rating import Rated, rate
from rating.core.rounding import largest_remainder
from rating.core.schema import AMOUNT
from rating.core.subjects import interned
from tests import oracle
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame

FIRST = datetime(2026, 10, 1, tzinfo=UTC)
MODES = ["half_away_from_zero", "half_even", "up", "down"]


SUM = {"event_type": "e", "aggregation": "sum", "property": "n", "group_by": ["d"]}


def run(
    price: dict[str, Any],
    values: list[str],
    currency: str = "EUR",
    meter: dict[str, Any] = SUM,
    events_max: int | None = None,
) -> Rated:
    document = {
        "tallystick": 1,
        "currencies": [currency],
        "meters": {"m": meter},
        "prices": {"p": {"meter": "m", "currency": currency, **price}},
        "plans": {"plan": {"currency": currency, "prices": ["p"]}},
    }
    catalog = parse_catalog(json.dumps(document), format="json")
    events = [
        {"type": "e", "subject": "s", "time": FIRST + timedelta(hours=i), "data": {"n": Decimal(v), "d": f"g{i}"}}
        for i, v in enumerate(values)
    ]
    subs = [oracle.Subscription("s", "acme", ("s",), "plan", "UTC", SINCE)]
    usage = replace(interned(usage_frame(events, catalog.declared_properties())), events_max=events_max)
    terms = subject_frame(subs), subscription_frame(subs), compile_catalog(catalog), parse_month("2026-10")
    return rate(usage, *terms)


def shown(rated: Rated) -> list[str]:
    return sorted(str(amount) for amount in rated.lines["rounded_amount"])


def unit_price(**more: Any) -> dict[str, Any]:
    return {"model": "per_unit", "versions": [{"unit_amount": "0.005"}], **more}


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        pytest.param("line", ["0.0100", "0.0100", "0.0100"], id="each 0.005 is 0.01: 0.03 in all"),
        pytest.param("price", ["0.0000", "0.0100", "0.0100"], id="0.015 is 0.02, shared"),
        pytest.param("subscription", ["0.0000", "0.0100", "0.0100"], id="0.015 is 0.02, shared"),
    ],
)
def test_lines_share_what_is_rounded_together(place: str, expected: list[str]) -> None:
    rated = run(unit_price(group_by=["d"], rounding_place=place), ["1", "1", "1"])
    assert shown(rated) == expected
    assert rated.totals["drift"].to_list() == [sum(map(Decimal, expected)) - Decimal("0.02")]
    for line in rated.lines.iter_rows(named=True):
        assert Decimal(explain(line)[-1].result.split()[0]) == line["rounded_amount"]
        rounds = [step["level"] for step in line["operations"] if step["operator"] == "round"]
        assert rounds == ([] if place == "line" else [place]), "once, and by its own place"


def test_events_are_rounded_and_then_summed() -> None:
    rated = run(unit_price(rounding_place="event"), ["1", "1", "1"])
    assert shown(rated) == ["0.0300"], "three times 0.005, each rounded to 0.01"
    tiers = [{"up_to": 2, "unit_amount": "0.004"}, {"up_to": None, "unit_amount": "0.006"}]
    graduated = {"model": "graduated", "versions": [{"tiers": tiers}], "rounding_place": "event"}
    assert shown(run(graduated, ["1", "2"])) == ["0.0100"], "0.004 is 0.00; 0.004 + 0.006 is 0.01"


def test_packages_of_a_line_cannot_be_rounded_by_event() -> None:
    package = {"model": "package", "versions": [{"package_size": "10", "amount": "1"}], "rounding_place": "event"}
    with pytest.raises(CatalogInvalid, match="rounding_place"):
        run(package, ["1"])


@pytest.mark.parametrize("model", ["volume", "graduated"])
def test_a_flat_amount_without_usage_belongs_to_no_event(model: str) -> None:
    """Each event would pay it: 3 x 1 and not 1."""
    version = {"tiers": [{"unit_amount": "0.004", "flat_amount": "1"}], "flat_when_unused": True}
    with pytest.raises(CatalogInvalid, match="rounding_place"):
        run({"model": model, "versions": [version], "rounding_place": "event"}, ["1", "2", "3"])


def test_a_price_may_show_other_digits_than_its_currency() -> None:
    assert shown(run(unit_price(rounding_digits=4), ["0.33"])) == ["0.0017"]  # 0.00165
    assert shown(run(unit_price(rounding_digits=0, rounding="up"), ["1"])) == ["1.0000"]
    with pytest.raises(CatalogInvalid, match="from 0 to 4"):
        run(unit_price(rounding_digits=5), ["1"])


@pytest.mark.parametrize(
    ("currency", "expected"),
    [("JPY", "1.0000"), ("USD", "1.2300"), ("KWD", "1.2350"), ("CLF", "1.2345"), ("UYW", "1.2345")],
)
def test_the_minor_unit_of_the_currency_is_the_place(currency: str, expected: str) -> None:
    assert shown(run({"model": "per_unit", "versions": [{"unit_amount": "1.2345"}]}, ["1"], currency)) == [expected]


def test_every_currency_with_a_minor_unit_has_its_digits() -> None:
    for currency in iso4217.Currency:
        assert currency_digits(currency.code) == currency.exponent
        assert currency.exponent in (None, 0, 2, 3, 4)


PARTS = st.lists(
    st.tuples(st.sampled_from("ab"), st.decimals(-100, 100, places=21, allow_nan=False)), min_size=1, max_size=12
)


@given(parts=PARTS, digits=st.integers(0, 4), mode=st.sampled_from(MODES))
def test_parts_sum_to_the_rounded_sum_and_none_is_off_by_a_unit(
    parts: list[tuple[str, Decimal]], digits: int, mode: str
) -> None:
    schema = pl.Schema({"sum": pl.String(), "key": pl.Int64(), "amount": AMOUNT})
    rows = [(group, number, amount) for number, (group, amount) in enumerate(parts)]
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        rounding_digits=pl.lit(digits, dtype=pl.Int32), rounding=pl.lit(mode)
    )
    rounded = largest_remainder(frame, ["sum"], ["key"])
    assert rounded.height == len(parts)
    for group in {group for group, _ in parts}:
        own = rounded.filter(pl.col("sum") == group)
        whole = sum((Fraction(amount) for amount in own["amount"]), Fraction(0))
        assert sum(map(Fraction, own["rounded"])) == _rounded(whole, digits, mode)
        for amount, part in zip(own["amount"], own["rounded"], strict=True):
            assert abs(Fraction(amount) - Fraction(part)) <= Fraction(1, 10**digits)


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        pytest.param(["0.333"] * 3, ["0.34", "0.33", "0.33"], id="0.999 is 1.00: among equals the first key gains"),
        pytest.param(["0.331", "0.339", "0.330"], ["0.33", "0.34", "0.33"], id="who lost most gains"),
        pytest.param(["0.001", "5.009", "9.001"], ["0.00", "5.01", "9.00"], id="and not who is largest"),
        pytest.param(["9.006", "0.007", "0.008"], ["9.00", "0.01", "0.01"], id="9.021 is 9.02: two of them gain"),
        pytest.param(["1.25", "2.50"], ["1.25", "2.50"], id="nothing is lost"),
        pytest.param(["-0.331", "0.001"], ["-0.33", "0.00"], id="-0.330: -0.34 lost 0.009, which is most"),
    ],
)
def test_who_lost_most_gains(amounts: list[str], expected: list[str]) -> None:
    rounded = largest_remainder(_parts([("a", 2, amount) for amount in amounts]), ["sum"], ["key"])
    assert rounded.sort("key")["rounded"].to_list() == [Decimal(amount) for amount in expected]


def test_sums_of_other_digits_are_rounded_beside_each_other() -> None:
    rows = [("a", 0, "0.5"), ("a", 0, "0.6"), ("b", 2, "1.255"), ("b", 2, "0.004"), ("c", 4, "0.00005")]
    rounded = largest_remainder(_parts(rows), ["sum"], ["key"]).sort("key")["rounded"].to_list()
    assert rounded == [Decimal(amount) for amount in ("0", "1", "1.26", "0", "0.0001")]


def _parts(rows: list[tuple[str, int, str]]) -> pl.DataFrame:
    schema = pl.Schema({"sum": pl.String(), "rounding_digits": pl.Int32(), "key": pl.Int64(), "amount": AMOUNT})
    made = [(group, digits, key, Decimal(amount)) for key, (group, digits, amount) in enumerate(rows)]
    return pl.DataFrame(made, schema=schema, orient="row").with_columns(rounding=pl.lit("half_away_from_zero"))


def _rounded(value: Fraction, digits: int, mode: str) -> Fraction:
    scaled = abs(value) * 10**digits
    whole = scaled.numerator // scaled.denominator
    rest = scaled - whole
    half = Fraction(1, 2)
    goes_up = {
        "half_away_from_zero": rest >= half,
        "half_even": rest > half or (rest == half and whole % 2 == 1),
        "up": rest > 0,
        "down": False,
    }[mode]
    return Fraction(whole + goes_up, 10**digits) * (1 if value >= 0 else -1)


@pytest.mark.parametrize(
    ("quantity", "unit_amount", "expected"),
    [
        ("1000000000000000.000000001", "0.000000000001", "1000.000000000000000000001"),
        ("999999999999999.999999999", "0.999999999999", "999999999998999.999999999000000000001"),
        ("0.000000001", "999999999999.999999999999", "999.999999999999999999999"),
    ],
)
def test_the_largest_quantities_and_prices_are_exact(quantity: str, unit_amount: str, expected: str) -> None:
    rated = run({"model": "per_unit", "versions": [{"unit_amount": unit_amount}]}, [quantity])
    assert rated.lines["amount"].to_list() == [Decimal(expected)]


IN_MEMORY = pytest.mark.parametrize("events_max", [None, 9], ids=["streaming", "few events in memory"])


@IN_MEMORY
@pytest.mark.parametrize(
    ("values", "unit_amount"),
    [
        pytest.param(["1000000000000000"], "100", id="10^15 x 100 is 10^17"),
        pytest.param(["1000000000000000"] * 2, "50", id="5 x 10^16, twice"),
        pytest.param(["1000000000000000"], "999999999999.999999999999", id="far beyond"),
    ],
)
def test_what_does_not_fit_is_an_error_and_never_a_number(
    values: list[str], unit_amount: str, events_max: int | None
) -> None:
    with pytest.raises(AmountOverflow):
        run({"model": "per_unit", "versions": [{"unit_amount": unit_amount}]}, values, events_max=events_max)


@IN_MEMORY
def test_a_sum_of_what_expressions_make_of_events_does_not_wrap(events_max: int | None) -> None:
    """Four times 2^126 units of the last decimal, about, are 2^128: what is left of that in 128 bits would fit."""
    expression = {"expression": "n * 1000000000000000", "properties": {"n": "number"}}
    meter = {"event_type": "e", "aggregation": "sum", **expression}
    price = {"model": "per_unit", "versions": [{"unit_amount": "0.000001"}]}
    with pytest.raises(AmountOverflow):
        run(price, ["85070591730234.615865844"] * 4, meter=meter, events_max=events_max)


@pytest.mark.parametrize("digits", [{}, {"rounding_digits": 4}])
def test_an_amount_near_the_limit_is_rounded_by_event(digits: dict[str, int]) -> None:
    """10^16 has more than 10^17 minor units: only the amount must fit, not how many of them it is."""
    price = {"model": "per_unit", "versions": [{"unit_amount": "10"}], "rounding_place": "event", **digits}
    assert shown(run(price, ["999999999999999.999900000"])) == [
        "9999999999999999.9990" if digits else "10000000000000000.0000"
    ]


@pytest.mark.parametrize("lines", [1, 2])
def test_a_line_whose_tiers_do_not_fit_together_is_an_error(lines: int) -> None:
    """Each of the two tiers is 6 x 10^16."""
    tiers = [{"up_to": 500_000_000_000_000, "unit_amount": "120"}, {"up_to": None, "unit_amount": "120"}]
    with pytest.raises(AmountOverflow):
        run({"model": "graduated", "versions": [{"tiers": tiers}]}, ["1000000000000000"] * lines)


def test_lines_whose_sum_does_not_fit_are_an_error() -> None:
    """Each of the eleven lines is below 10^17, and their total is not."""
    price = {"model": "per_unit", "versions": [{"unit_amount": "10"}], "group_by": ["d"]}
    with pytest.raises(AmountOverflow):
        run(price, ["999999999999999"] * 11)
