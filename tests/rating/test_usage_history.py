"""Usage beside its own history: the rule done again by hand, and months that are not over."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.core.book import Meter
from rating.core.periods import Month
from rating.core.schema import SUBJECT
from rating.core.subjects import interned
from rating.core.usage_history import MONTHLY, HistoryRule, compared, first_month, monthly
from tests.frames import usage_frame

OCTOBER = Month(2026, 10)
RULE = HistoryRule()


def usage(now: int | None, before: Sequence[int | None]) -> pl.DataFrame:
    """MONTHLY of one customer; `before` begins with last month. None is a month without a row."""
    rows = [("acme", "tokens", ago, q, 1) for ago, q in enumerate([now, *before]) if q is not None]
    return pl.DataFrame(rows, schema=MONTHLY, orient="row")


def kind_of(now: int | None, before: Sequence[int | None], rule: HistoryRule = RULE) -> str | None:
    (kind,) = compared(usage(now, before), rule)["kind"]
    assert kind is None or isinstance(kind, str)
    return kind


@pytest.mark.parametrize(
    ("now", "before", "kind"),
    [
        pytest.param(100, [100, 100, 100], None, id="as ever"),
        pytest.param(49, [100, 100, 100], "drop", id="less than half of the median 100"),
        pytest.param(50, [100, 100, 100], None, id="half of it is no drop"),
        pytest.param(None, [100, 100, 100], "drop", id="nothing at all"),
        pytest.param(201, [100, 100, 100], "spike", id="more than twice the median"),
        pytest.param(200, [100, 100, 100], None, id="twice is no spike"),
        pytest.param(300, [100, 400, 100], None, id="no more than it was once"),
        pytest.param(40, [100, 30, 100], None, id="no less than it was once"),
        pytest.param(250, [50, 100, 200, 60, 150], None, id="150 from the median 100: 3 x the median distance 50"),
        pytest.param(251, [50, 100, 200, 60, 150], "spike", id="151 from the median 100: more than 3 x 50"),
        pytest.param(100, [100, 100], "too_little_history", id="two months are no history"),
        pytest.param(9, [None, None, 100], None, id="months without usage are zero: 9 is between 0 and 100"),
    ],
)
def test_the_rule_by_hand(now: int | None, before: list[int | None], kind: str | None) -> None:
    assert kind_of(now, before) == kind


def test_months_before_the_first_usage_are_not_history() -> None:
    (row,) = compared(usage(5, [100, 100]), RULE).iter_rows(named=True)
    assert (row["kind"], row["months"], row["expected"]) == ("too_little_history", 2, None)


@given(st.lists(st.none() | st.integers(0, 50), min_size=1, max_size=8), st.none() | st.integers(0, 200))
def test_the_rule_against_a_plain_loop(before: list[int | None], now: int | None) -> None:
    while before and before[-1] is None:
        before = before[:-1]
    if not before and now is None:
        return
    history = [q or 0 for q in before]
    expected = "too_little_history"
    if len(history) >= RULE.months_min:
        middle = sorted(history)[(len(history) - 1) // 2]
        distance = sorted(abs(q - middle) for q in history)[(len(history) - 1) // 2]
        q = now or 0
        is_far = abs(q - middle) > distance * 3
        is_drop = q < min(history) and 2 * q < middle and is_far
        expected = "drop" if is_drop else "spike" if q > max(history) and q > 2 * middle and is_far else ""
    assert (kind_of(now, before) or "") == expected


def event(day: datetime, tokens: int, subject: str = "acme") -> dict[str, object]:
    return {"type": "llm", "subject": subject, "time": day, "data": {"tokens": str(tokens)}}


TOKENS = Meter("tokens", "llm", "sum", add=("tokens",))
PEAK = Meter("peak", "llm", "max", add=("tokens",))


def measured(until: datetime) -> dict[tuple[str, int], Decimal]:
    events = [
        event(datetime(2026, 10, 1, tzinfo=UTC), 1),
        event(datetime(2026, 10, 9, tzinfo=UTC), 2),
        event(datetime(2026, 9, 9, 23, 59, tzinfo=UTC), 10),
        event(datetime(2026, 9, 10, tzinfo=UTC), 20),
        event(datetime(2026, 8, 31, tzinfo=UTC), 100),
        event(datetime(2026, 8, 1, tzinfo=UTC), 200, "second"),
    ]
    frame = interned(usage_frame(events, {"tokens": "number"}))  # type: ignore[arg-type]
    subjects = pl.DataFrame([("acme", "acme"), ("second", "acme")], schema=SUBJECT, orient="row")
    found = monthly(frame, subjects, [TOKENS, PEAK], OCTOBER, until)
    return {(meter, ago): q for _, meter, ago, q, _ in found.iter_rows()}


def test_a_month_that_is_not_over_is_compared_with_as_much_of_the_months_before() -> None:
    """Nine days of October are over: of September the usage until its tenth day, of August that of its first days."""
    nine_days = measured(datetime(2026, 10, 10, tzinfo=UTC))
    assert nine_days == {
        ("tokens", 0): 3, ("tokens", 1): 10, ("tokens", 2): 200, ("peak", 0): 2, ("peak", 1): 10, ("peak", 2): 200
    }  # fmt: skip
    whole = measured(datetime(2026, 11, 1, tzinfo=UTC))
    assert whole == {
        ("tokens", 0): 3, ("tokens", 1): 30, ("tokens", 2): 300, ("peak", 0): 2, ("peak", 1): 20, ("peak", 2): 200
    }  # fmt: skip


def test_the_first_month_of_history() -> None:
    assert str(first_month(Month(2026, 3), 6)) == "2025-09"
