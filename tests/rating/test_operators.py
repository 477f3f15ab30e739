"""Each operator by itself, on rows by hand: its rule, its edges, and that it leaves the other columns as they are."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from rating.core.operators.allow import allow
from rating.core.operators.clamp import clamp
from rating.core.operators.compose import compose
from rating.core.operators.credit import credit
from rating.core.operators.partition import largest
from rating.core.operators.price import price, with_amount_of_one
from rating.core.operators.prorate import prorate
from rating.core.operators.tier import tier
from rating.core.operators.weight import BEGINS, weight
from rating.core.proration import PART
from rating.core.schema import ALLOW, AMOUNT, CLAMP, COMPOSE, TIER, WEIGHT

FIRST = datetime(2026, 10, 1, tzinfo=UTC)


def rows(column: str, values: Sequence[Any], **more: Sequence[Any]) -> pl.LazyFrame:
    """Rows of rate 0 with these amounts or quantities."""
    own = pl.Series(column, [None if v is None else Decimal(v) for v in values], dtype=AMOUNT)
    return pl.LazyFrame({column: own, **more}).with_columns(rate=pl.lit(0, dtype=pl.Int32))


def numbers(schema: pl.Schema, **given: Any) -> pl.DataFrame:
    """The one row of parameters of rate 0."""
    absent = {"rate": 0, "step": 0, **dict.fromkeys(n for n in schema if n not in ("rate", "step"))}
    read = {name: _number(value) for name, value in given.items()}
    return pl.DataFrame([{**absent, **read}], schema=schema).drop("step")


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(one) for one in value]
    return Decimal(value) if isinstance(value, str) and value[-1].isdigit() else value


def texts(frame: pl.LazyFrame, column: str) -> list[str]:
    return [format(value.normalize(), "f") for value in frame.collect()[column]]


@pytest.mark.parametrize(
    ("given", "values", "left"),
    [
        pytest.param({"units": "100"}, ["99", "100", "101"], ["0", "0", "1"], id="each row has its own 100"),
        pytest.param({"units": "0"}, ["5"], ["5"], id="nothing is included"),
        pytest.param({"units": "10"}, ["-5", "0"], ["-5", "0"], id="what is taken back stays as it is"),
        pytest.param({"count": 0}, ["5"], ["5"], id="no row is included"),
        pytest.param({"count": 1}, ["5", "-5"], ["0", "-5"], id="a row of its own is the first of its own"),
        pytest.param({}, ["5"], ["5"], id="no limit is no allowance"),
        pytest.param({"units": "3", "count": 1}, ["5"], ["2"], id="within both"),
        pytest.param({"units": "3", "count": 0}, ["5"], ["5"], id="within both, and the count is used up"),
        pytest.param({"units": "3", "count": 1, "either": False}, ["5"], ["2"], id="within both, said"),
        pytest.param({"units": "3", "count": 1, "either": True}, ["5"], ["0"], id="within one of them"),
        pytest.param({"units": "3", "count": 0, "either": True}, ["5"], ["2"], id="within one: the units"),
    ],
)
def test_allow_takes_off_what_is_included(given: Mapping[str, Any], values: list[str], left: list[str]) -> None:
    assert texts(allow(rows("quantity", values), numbers(ALLOW, **given).lazy()), "quantity") == left


@pytest.mark.parametrize(
    ("given", "left"),
    [
        pytest.param(
            {"units": "1000"}, ["200", "0", "30"], id="b has 1,000, and a comes first: 700 of 1,000, 300 of 500"
        ),
        pytest.param({"count": 1}, ["500", "0", "30"], id="the first row in order"),
        pytest.param({"count": 2}, ["0", "0", "30"], id="of them that are above zero"),
        pytest.param({"units": "1220"}, ["0", "0", "10"], id="20 are left for the third"),
    ],
)
def test_rows_use_an_allowance_in_their_order(given: Mapping[str, Any], left: list[str]) -> None:
    used = rows("quantity", ["500", "700", "30", "-9"], order=[2, 0, 3, 1], k=[1, 1, 1, 1])
    found = allow(used, numbers(ALLOW, **given).lazy(), ["k"], ["order"]).collect()
    assert texts(found.lazy(), "quantity") == [*left, "-9"]
    assert found.columns == ["quantity", "order", "k", "rate"]


@pytest.mark.parametrize(("count", "left"), [(1, ["0", "0", "-0.5", "0.5", "3"]), (2, ["0", "0", "-0.5", "0", "3"])])
def test_only_rows_above_zero_are_counted(count: int, left: list[str]) -> None:
    used = rows("quantity", ["0.5", "0", "-0.5", "0.5", "3"], order=range(5), k=[1] * 5)
    assert texts(allow(used, numbers(ALLOW, count=count).lazy(), ["k"], ["order"]), "quantity") == left


def test_others_have_an_allowance_of_their_own() -> None:
    used = rows("quantity", ["5", "5"], order=[0, 1], k=[1, 2])
    assert texts(allow(used, numbers(ALLOW, units="6").lazy(), ["k"], ["order"]), "quantity") == ["0", "0"]


@pytest.mark.parametrize(
    ("given", "amount", "expected"),
    [
        ({"minimum": "0.50"}, "0.30", "0.5"),
        ({"minimum": "0.50"}, "0.70", "0.7"),
        ({"maximum": "3"}, "4", "3"),
        ({"maximum": "3"}, "2", "2"),
        ({"minimum": "5", "maximum": "3"}, "4", "3"),
        ({}, "1.23", "1.23"),
        ({"multiple": "0.0001", "rounding": "up"}, "0.641666", "0.6417"),
        ({"multiple": "0.05", "rounding": "half_even"}, "0.125", "0.1"),
        ({"maximum": "0.641666", "multiple": "0.01", "rounding": "down"}, "9", "0.64"),
    ],
)
def test_clamp(given: Mapping[str, Any], amount: str, expected: str) -> None:
    made = clamp(rows("amount", [amount], k=[1]), numbers(CLAMP, **given).lazy())
    assert texts(made, "amount") == [expected]
    assert made.collect_schema().names() == ["amount", "k", "rate"]


@pytest.mark.parametrize(
    ("given", "amount", "expected"),
    [
        ({"percent": "-25", "fixed": "-10"}, "80", "50"),
        ({"percent": "25", "above": "60"}, "80", "85"),
        ({"percent": "25", "above": "60"}, "60", "60"),
        ({"percent": "25", "above": "60"}, "40", "40"),
        ({"fixed": "-10"}, "4", "0"),
        ({"percent": "-120"}, "4", "0"),
        ({"fixed": "-10"}, "-4", "-4"),
        ({"fixed": "10"}, "-4", "6"),
        ({"percent": "10"}, "-4", "-4"),
        ({}, "7", "7"),
    ],
)
def test_compose(given: Mapping[str, Any], amount: str, expected: str) -> None:
    made = compose(rows("amount", [amount], percent=[Decimal(1)]), numbers(COMPOSE, **given).lazy())
    assert texts(made, "amount") == [expected]
    assert made.collect_schema().names() == ["amount", "percent", "rate"]


def test_credit_takes_off_what_was_paid() -> None:
    paid = pl.Series([Decimal(20), None], dtype=AMOUNT)
    assert texts(credit(rows("quantity", ["30", "7"], credited=paid)), "quantity") == ["10", "7"]


def test_the_largest_is_left_and_the_first_among_equals() -> None:
    given = rows("quantity", ["40", "70", "70", "-1"], order=[1, 3, 2, 0], k=[1, 1, 1, 2])
    assert texts(largest(given, ["k"], ["order"]), "quantity") == ["0", "0", "70", "-1"]
    assert texts(largest(given.rename({"quantity": "amount"}), ["k"], ["order"], "amount"), "amount")[2] == "70"


def test_the_earliest_of_three_equals_is_the_largest() -> None:
    given = rows("quantity", ["5", "5", "5"], order=[2, 0, 1], k=[1, 1, 1])
    assert texts(largest(given, ["k"], ["order"]), "quantity") == ["0", "5", "0"]


@pytest.mark.parametrize(
    ("served", "whole", "expected"),
    [(10, 31, "9.677419354838709677419"), (31, 31, "30"), (0, 31, "0")],
)
def test_prorate(served: int, whole: int, expected: str) -> None:
    given = rows("amount", ["30"], payer=[0], rate=[0])
    parameters = pl.LazyFrame({"rate": [0], "by": ["days"]})
    parts = pl.LazyFrame([(0, "days", served, whole)], schema=PART, orient="row").with_columns(payer=pl.lit(0))
    made = prorate(given, parameters, parts)
    assert texts(made, "amount") == [expected]
    assert made.collect()["prorated"].to_list() == [f'{{"by":"days","served":"{served}","whole":"{whole}"}}']


@pytest.mark.parametrize(
    ("quantity", "unit", "per", "flat", "count", "percent", "expected"),
    [
        ("2500", "2.50", 1_000_000, "0", 0, "0", "0.00625"),
        ("40", "0", 1, "0.30", 1, "2.9", "1.46"),
        ("40", "0", 1, "0.30", 3, "0", "0.9"),
        ("7200", "0.36", 3600, "0", 0, "0", "0.72"),  # 0.0001 a second
        ("10", "1", 3, "0", 0, "0", "3.333333333333333333333"),  # 10 x 1 / 3, and not 10 x 0.333
        ("3", "1", 3, "0", 0, "0", "1"),
        ("3000000", "2", 3, "0", 0, "0", "2000000"),  # and not by 0.666666666666666666667
        ("1000000000000000", "900", 1_000_000, "0", 0, "0", "900000000000"),  # 10^15 x 900 would not fit
    ],
)
def test_price(quantity: str, unit: str, per: int, flat: str, count: int, percent: str, expected: str) -> None:
    tiers = rows("unit_amount", [unit], per=[per], flat_amount=[Decimal(flat)], percent=[Decimal(percent)])
    priced = with_amount_of_one(tiers).with_columns(
        quantity=pl.lit(Decimal(quantity), dtype=AMOUNT), flat_count=pl.lit(Decimal(count), dtype=AMOUNT)
    )
    assert texts(price(priced), "amount") == [expected]
    assert "amount_of_one" not in price(priced).collect_schema()


TIERS = pl.DataFrame(
    [
        (0, 0, Decimal(0), Decimal(100), Decimal(3), Decimal(7), Decimal(0), None),
        (0, 1, Decimal(100), Decimal(1000), Decimal(2), Decimal(0), Decimal(0), None),
        (0, 2, Decimal(1000), None, Decimal(1), Decimal(5), Decimal(0), None),
    ],
    schema=TIER,
    orient="row",
)


def split(mode: str, quantity: Any, *, unused: bool = False, tiers: pl.DataFrame = TIERS, **more: Any) -> list[Any]:
    """(tier, quantity, how often its flat amount) of each tier, and the events behind them."""
    given = {"filled": "0", "basis": quantity, "size_from": None, "events": 2, **more}
    columns = {name: _amount(given[name]) for name in ("filled", "basis", "size_from")}
    one = rows("quantity", [quantity], events=[given["events"]]).with_columns(
        **{name: pl.lit(value, dtype=AMOUNT) for name, value in columns.items()}
    )
    filled = {"tier_mode": mode, "flat_when_unused": unused, "tiers_by": None}
    moded = tiers.lazy().with_columns(**{name: pl.lit(value) for name, value in filled.items()})
    made = tier(one, moded, ["events"]).sort("tier").collect()
    assert set(made.columns) == {*TIER.names(), "quantity", "flat_count", "size_from", "events"}
    return [
        (t, str(q.normalize()), int(f), e)
        for t, q, f, e in made.select("tier", "quantity", "flat_count", "events").rows()
    ]


def _amount(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)


@pytest.mark.parametrize(
    ("quantity", "more", "parts"),
    [
        pytest.param("0", {}, [(0, "0", 0, 2)], id="nothing is in the first tier"),
        pytest.param("100", {}, [(0, "1E+2", 1, 2)], id="the last unit of a tier is in it"),
        pytest.param("100.5", {}, [(0, "1E+2", 1, 2), (1, "0.5", 1, 0)], id="half a unit above"),
        pytest.param("2500", {}, [(0, "1E+2", 1, 2), (1, "9E+2", 1, 0), (2, "1.5E+3", 1, 0)], id="100 + 900 + 1,500"),
        pytest.param("700", {"filled": "600"}, [(1, "4E+2", 0, 2), (2, "3E+2", 1, 0)], id="700 behind 600"),
        pytest.param("50", {"filled": "100"}, [(1, "5E+1", 1, 2)], id="behind a full tier: it enters the next"),
        pytest.param("50", {"filled": "20"}, [(0, "5E+1", 0, 2)], id="behind others: they paid the flat amount"),
        pytest.param("0", {"filled": "100"}, [(1, "0", 0, 2)], id="nothing behind a full tier would begin in the next"),
        pytest.param("-30", {}, [(0, "-3E+1", 0, 2)], id="below zero is the first tier's"),
        pytest.param(
            "-30", {"filled": "120"}, [(0, "-1E+1", 0, 2), (1, "-2E+1", -1, 0)], id="taken back from 120 to 90"
        ),
        pytest.param("-30", {"filled": "20"}, [(0, "-3E+1", -1, 2)], id="taken back through zero"),
        pytest.param("0.5", {}, [(0, "0.5", 1, 2)], id="half a unit"),
        pytest.param("-0.5", {"filled": "0.25"}, [(0, "-0.5", -1, 2)], id="half a unit taken back"),
    ],
)
def test_graduated_tiers(quantity: str, more: dict[str, Any], parts: list[Any]) -> None:
    assert split("graduated", quantity, **more) == parts


def test_graduated_tiers_without_usage_may_pay_the_first_flat_amount() -> None:
    assert split("graduated", "0", unused=True) == [(0, "0", 1, 2)]
    assert split("graduated", "-5", unused=True) == [(0, "-5", 1, 2)]
    assert split("graduated", "5", unused=True) == [(0, "5", 1, 2)]
    assert split("graduated", "0", unused=True, filled="5") == [(0, "0", 0, 2)]
    assert split("graduated", "200", unused=True) == [(0, "1E+2", 1, 2), (1, "1E+2", 1, 0)]


@pytest.mark.parametrize(
    ("quantity", "more", "parts"),
    [
        pytest.param("0", {}, [(0, "0", 0, 2)], id="nothing"),
        pytest.param("100", {}, [(0, "1E+2", 1, 2)], id="the last unit of a tier is in it"),
        pytest.param("100.5", {}, [(1, "100.5", 1, 2)], id="all of it in the second"),
        pytest.param("1000", {}, [(1, "1E+3", 1, 2)], id="the last unit of the second"),
        pytest.param("2500", {}, [(2, "2.5E+3", 1, 2)], id="all of it in the third"),
        pytest.param("-5", {}, [(0, "-5", 0, 2)], id="below zero, without the flat amount"),
        pytest.param("0.5", {}, [(0, "0.5", 1, 2)], id="half a unit"),
        pytest.param("50", {"basis": "1100"}, [(2, "5E+1", 1, 2)], id="chosen together with others, the first of them"),
        pytest.param("50", {"basis": "1100", "filled": "7"}, [(2, "5E+1", 0, 2)], id="the flat amount is paid already"),
    ],
)
def test_volume_tiers(quantity: str, more: dict[str, Any], parts: list[Any]) -> None:
    assert split("volume", quantity, **more) == parts


def test_a_volume_without_usage_may_pay_its_flat_amount() -> None:
    assert split("volume", "0", unused=True) == [(0, "0", 1, 2)]
    assert split("volume", "-5", unused=True) == [(0, "-5", 1, 2)]


@pytest.mark.parametrize(("size_from", "place"), [("0", 0), ("50", 0), ("100", 1), ("1000", 2)])
def test_a_cliff_goes_by_the_size_of_the_event(size_from: str, place: int) -> None:
    assert split("cliff", "5", size_from=size_from, events=3) == [(place, "5", 3, 3)]


@pytest.mark.parametrize(
    ("mode", "quantity", "parts"),
    [
        ("graduated", "100", [(0, "1E+2", 10, 2)]),
        ("graduated", "101", [(0, "1E+2", 10, 2), (1, "1", 1, 0)]),
        ("graduated", "91", [(0, "91", 10, 2)]),
        ("volume", "101", [(1, "101", 11, 2)]),
        ("volume", "-1", [(0, "-1", 0, 2)]),
    ],
)
def test_a_flat_amount_for_each_started_block(mode: str, quantity: str, parts: list[Any]) -> None:
    blocks = TIERS.with_columns(flat_per=pl.lit(Decimal(10), dtype=AMOUNT))
    assert split(mode, quantity, tiers=blocks) == parts


@pytest.mark.parametrize(
    ("given", "quantity", "expected"),
    [
        pytest.param({}, "1.5", "1.5", id="nothing said"),
        pytest.param({"factor": "3"}, "1.5", "4.5", id="a factor"),
        pytest.param({"divide_by": "4"}, "1", "0.25", id="a divisor"),
        pytest.param({"factor": "6", "divide_by": "4"}, "1", "1.5", id="both"),
        pytest.param({"divide_by": "4", "rounding": "up"}, "5", "2", id="started packages"),
        pytest.param({"divide_by": "4", "rounding": "up"}, "8", "2", id="full packages"),
        pytest.param({"divide_by": "4", "rounding": "down"}, "7", "1", id="whole packages"),
        pytest.param({"rounding": "up"}, "-7.5", "0", id="none below zero"),
        pytest.param({"first": "60", "increment": "60"}, "75", "120", id="60/60"),
        pytest.param({"first": "30", "increment": "6"}, "75", "78", id="30/6"),
        pytest.param({"first": "30", "increment": "6"}, "30", "30", id="the first is used up"),
        pytest.param({"first": "30", "increment": "6"}, "0.1", "30", id="the first is begun"),
        pytest.param({"first": "30", "increment": "6"}, "0", "0", id="nothing is begun"),
        pytest.param({"first": "30", "increment": "6"}, "-4", "0", id="nothing below zero"),
        pytest.param({"first": "30"}, "75", "75", id="a first one alone"),
        pytest.param({"first": "30"}, "7", "30", id="a first one alone, begun"),
        pytest.param({"increment": "6"}, "7", "12", id="increments alone"),
        pytest.param({"increments_from": ["0", "30"], "increments": ["30", "6"]}, "75", "78", id="increments by range"),
        pytest.param({"increments_from": ["0", "30"], "increments": ["30", "6"]}, "30", "30", id="up to the range"),
        pytest.param({"increments_from": ["0", "30"], "increments": ["30", "6"]}, "30.1", "36", id="just above it"),
        pytest.param({"increments_from": ["0", "30"], "increments": ["30", None]}, "30.1", "30.1", id="then exact"),
        pytest.param(
            {"increments_from": ["0"], "increments": ["7"]}, "-3", "-3", id="by range: what is taken back stays"
        ),
        pytest.param(
            {"increments_from": ["0", "45"], "increments": ["30", "6"]}, "45", "60", id="up to the range, begun"
        ),
        pytest.param({"minimum": "10"}, "3", "10", id="the least"),
        pytest.param({"minimum": "10"}, "0.5", "10", id="the least of half a unit"),
        pytest.param({"minimum": "10"}, "0", "0", id="of what is used"),
        pytest.param({"minimum": "10"}, "-3", "-3", id="and not of what is taken back"),
        pytest.param({"maximum": "10"}, "30", "10", id="the most"),
        pytest.param({"minimum": "20", "maximum": "10"}, "3", "10", id="the most goes before the least"),
    ],
)
def test_weight(given: dict[str, Any], quantity: str, expected: str) -> None:
    made = weight(rows("quantity", [quantity], k=[1]), numbers(WEIGHT, **given))
    assert texts(made, "quantity") == [expected]
    assert made.collect_schema().names() == ["quantity", "k", "rate"]


@pytest.mark.parametrize(("instead", "expected"), [(False, ["6", "0"]), (True, ["3", "0"])])
def test_a_number_of_the_event_is_a_factor_or_stands_for_the_quantity(instead: bool, expected: list[str]) -> None:
    brought = pl.Series([Decimal(3), None], dtype=AMOUNT)
    used = rows("quantity", ["2", "9"], brought=brought)
    assert texts(weight(used, numbers(WEIGHT), "brought", instead), "quantity") == expected


@pytest.mark.parametrize(
    ("quantities", "begins", "left"),
    [
        pytest.param(["30", "60"], [None, "30"], ["60", "60"], id="a cut after 30, the end after 90: 60 each"),
        pytest.param(["30", "20"], [None, "30"], ["60", "0"], id="the second part is in the first one's increment"),
        pytest.param(["60", "60"], [None, "60"], ["60", "60"], id="a cut at an increment"),
        pytest.param(
            ["10", "-4"], ["65", "75"], ["0", "-4"], id="it goes on behind 65 seconds; what is taken back stays"
        ),
        pytest.param(["70"], ["65"], ["60"], id="from 120, where 65 got to, up to 180"),
        pytest.param(["10", "60", "40"], [None, "10", "70"], ["60", "60", "0"], id="three parts"),
        pytest.param(["60", "0.5"], [None, "60"], ["60", "60"], id="half a second begins an increment"),
        pytest.param(["60", "-0.5"], [None, "60"], ["60", "-0.5"], id="half a second is taken back"),
    ],
)
def test_increments_go_on_from_part_to_part(quantities: list[str], begins: list[Any], left: list[str]) -> None:
    given = numbers(WEIGHT, increments_from=["0"], increments=["60"])
    before = pl.Series([_amount(value) for value in begins], dtype=AMOUNT)
    times = [FIRST + timedelta(minutes=place) for place in range(len(quantities))]
    parts = rows("quantity", quantities, event=[1] * len(quantities), time=times, **{BEGINS: before})
    made = weight(parts.reverse(), given, part_of=["event"]).sort("time")
    assert texts(made, "quantity") == left


def test_events_by_themselves_count_increments_from_their_beginning() -> None:
    """Also where others have parts: nothing says that these rows are parts of one event."""
    given = numbers(WEIGHT, increments_from=["0"], increments=["60"])
    apart = rows("quantity", ["30", "60"], **{BEGINS: pl.Series([None, Decimal(30)], dtype=AMOUNT)})
    assert texts(weight(apart, given), "quantity") == ["60", "60"]


def test_a_number_of_the_event_is_a_factor_unless_said_otherwise() -> None:
    used = rows("quantity", ["2"], brought=pl.Series([Decimal(3)], dtype=AMOUNT))
    assert texts(weight(used, numbers(WEIGHT), "brought"), "quantity") == ["6"]


def test_rates_have_as_many_increments_as_they_like() -> None:
    one, two = (
        numbers(WEIGHT, increments_from=f, increments=i) for f, i in ((["0"], ["60"]), (["0", "30"], ["30", "6"]))
    )
    both = pl.concat([one, two.with_columns(rate=pl.lit(1, dtype=pl.Int32))])
    used = rows("quantity", ["75", "75"]).with_columns(rate=pl.int_range(2, dtype=pl.Int32)).sort("rate")
    assert texts(weight(used, both).sort("rate"), "quantity") == ["120", "78"]
