"""What is far above a subject's own: the frames beside a plain loop, to the last digit."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from statistics import median
from typing import Any, Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.core.quota.anomalies import USED, WINDOWS_MIN, AnomalyRule, bounds_of, far_above, used_of
from rating.core.schema import INSTANT

START = datetime(2026, 10, 15, 12, tzinfo=UTC)
METERED = pl.Schema({"subject": pl.String(), "time": INSTANT, "quantity": USED["quantity"]})
QUANTITIES = st.decimals("-5", "1000000", places=9)


def rule(window: Literal["hour", "day"] = "hour", times: str = "5", least: str = "1", days: int = 14) -> AnomalyRule:
    return AnomalyRule("tokens", window, Decimal(times), days, Decimal(least))


def metered(rows: list[tuple[str, datetime, Decimal]]) -> pl.LazyFrame:
    return pl.DataFrame(rows, schema=METERED, orient="row").lazy()


def found(of: AnomalyRule, history: list[tuple[str, datetime, Decimal]], used: dict[str, Decimal]) -> set[str]:
    current = pl.DataFrame([*used.items()], schema=USED, orient="row")
    bounds = bounds_of(metered(history), of, current["subject"])
    return set(far_above(current, bounds, of)["subject"])


@given(
    window=st.sampled_from(["hour", "day"]),
    times=st.decimals("0.000000001", "20", places=9),
    least=st.decimals("0.000000001", "1000", places=9),
    past=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9), st.integers(0, 3599), QUANTITIES), max_size=40),
    used=st.dictionaries(st.sampled_from("abc"), QUANTITIES, min_size=1),
)
def test_an_anomaly_is_more_than_so_many_times_the_median(
    window: Any, times: Decimal, least: Decimal, past: Any, used: Any
) -> None:
    of = AnomalyRule("tokens", window, times, 14, least)
    length = timedelta(hours=1) if window == "hour" else timedelta(days=1)
    start = of.window_at(START)[0]
    history = [(s, start - n * length + timedelta(seconds=second), q) for s, n, second, q in past]
    expected = set()
    for subject, quantity in used.items():
        sums: dict[int, Fraction] = {}
        for s, n, _, q in past:
            if s == subject:
                sums[n] = sums.get(n, Fraction(0)) + Fraction(q)
        usual = [one for one in sums.values() if one > 0]
        is_much = quantity >= least and len(usual) >= WINDOWS_MIN
        if is_much and Fraction(quantity) > Fraction(times) * median(usual):
            expected.add(subject)
    assert found(of, history, used) == expected


@pytest.mark.parametrize(
    ("used", "is_one"),
    [
        pytest.param("500", False, id="five times the usual 100 is as much as may be"),
        pytest.param("500.000000001", True, id="the smallest quantity more is an anomaly"),
    ],
)
def test_the_bound_belongs_to_what_is_usual(used: str, is_one: bool) -> None:
    history = [("a", START - timedelta(hours=n), Decimal(100)) for n in range(1, 6)]
    assert bool(found(rule(), history, {"a": Decimal(used)})) is is_one


def test_who_has_no_history_and_who_uses_little_is_not_told() -> None:
    short = [("a", START - timedelta(hours=n), Decimal(1)) for n in range(1, WINDOWS_MIN)]
    assert found(rule(), short, {"a": Decimal(10**9), "new": Decimal(10**9)}) == set()
    long = [("a", START - timedelta(hours=n), Decimal(1)) for n in range(1, 30)]
    assert found(rule(least="100"), long, {"a": Decimal("99.999999999")}) == set()
    assert found(rule(least="100"), long, {"a": Decimal(100)}) == {"a"}


def test_nights_without_use_and_an_outlier_say_nothing_of_what_is_usual() -> None:
    days = [("a", START - timedelta(days=n), Decimal(100)) for n in range(1, 8)]
    outlier = [("a", START - timedelta(hours=3), Decimal(10**6))]
    assert found(rule(), days + outlier, {"a": Decimal(501)}) == {"a"}
    assert found(rule(), days + outlier, {"a": Decimal(500)}) == set()


def test_a_window_is_an_hour_or_a_day_of_utc() -> None:
    at = datetime(2026, 10, 15, 12, 34, 56, tzinfo=UTC)
    assert rule("hour").window_at(at) == (START, START + timedelta(hours=1))
    assert rule("day").window_at(at) == (START.replace(hour=0), START.replace(hour=0) + timedelta(days=1))
    inside = [START, START + timedelta(hours=1) - timedelta(microseconds=1)]
    outside = [START - timedelta(microseconds=1), START + timedelta(hours=1)]
    rows = [("a", when, Decimal(1)) for when in (*inside, *outside)]
    assert used_of(metered(rows), *rule().window_at(START)).collect().rows() == [("a", Decimal(2))]
