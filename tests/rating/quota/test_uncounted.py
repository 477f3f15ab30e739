"""Events that have no quantity: their subjects are put aside, everybody else is counted."""

from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from rating.catalog import load_catalog
from rating.catalog.compiling import compile_catalog
from rating.uncounted import ASIDE_MAX, FeatureNotCounted, Uncounted
from tests.frames import usage_frame
from tests.rating.quota.accounts import JANUARY

TOO_LARGE = Decimal(10**14)
PRODUCT: dict[str, Any] = {
    "event_type": "use",
    "aggregation": "sum",
    "expression": "a * b",
    "properties": {"a": "number", "b": "number"},
}
CATALOG = load_catalog({"tallystick": 1, "currencies": ["USD"], "meters": {"m": PRODUCT}})
[METER] = compile_catalog(CATALOG).meters


def usage(subjects: int, failing: set[int]) -> pl.DataFrame:
    """Two events of each subject, 2 * 3 each, or of those that are `failing` one that has no quantity."""
    events = [
        {"type": "use", "subject": f"s-{n}", "time": JANUARY, "data": {"a": number, "b": number + 1}}
        for n in range(subjects)
        for number in (TOO_LARGE if n in failing else Decimal(2), Decimal(2))
    ]
    return usage_frame(events, CATALOG.declared_properties()).collect()


def test_others_are_counted_beside_events_that_have_no_quantity() -> None:
    uncounted, events = Uncounted(), usage(40, {3, 17})
    rows, units = uncounted.counted("f", events, METER)
    assert rows is not None
    assert set(events[rows]["subject"]) == {f"s-{n}" for n in range(40)} - {"s-3", "s-17"}
    assert units.tolist() == [6 * 10**9] * 76
    assert set(uncounted.subjects["f"]) == {"s-3", "s-17"}
    rows, _ = uncounted.counted("f", usage(4, set()), METER)  # what they use later is not counted either
    assert rows is not None
    assert len(rows) == 6
    with pytest.raises(FeatureNotCounted, match=r"feature 'f' cannot be counted: .*subject 's-3'"):
        uncounted.refuse("f", lambda subject: subject == "s-3")
    uncounted.refuse("f", lambda subject: subject == "s-4")


def test_a_count_of_the_log_finds_the_same_subjects() -> None:
    uncounted, events = Uncounted(), usage(40, {3, 17})
    found = uncounted.of_log("f", METER, events.lazy(), lambda part: part.select(pl.len()).collect().item())
    assert found == 80  # nothing failed in what was made of it
    total = uncounted.of_log(
        "f", METER, events.lazy(), lambda part: len(uncounted.counted("f", part.collect(), METER)[1])
    )
    assert total == 76
    assert set(uncounted.subjects["f"]) == {"s-3", "s-17"}


def test_with_too_many_of_them_the_feature_is_not_counted() -> None:
    uncounted = Uncounted()
    assert len(uncounted.counted("f", usage(ASIDE_MAX + 2, set(range(ASIDE_MAX + 1))), METER)[1]) == 0
    assert list(uncounted.shown) == ["f"]
    with pytest.raises(FeatureNotCounted):
        uncounted.refuse("f", lambda subject: False)
