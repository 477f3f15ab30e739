"""Usage queries of meters that do more than sum: what is shown is what would be billed."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from api.usage import UsageQuery, usage_of
from rating.catalog import compile_catalog, load_catalog
from rating.core.schema import SUBJECT
from rating.core.subjects import interned
from store.errors import Refused
from tests.frames import usage_frame

EVENTS = [("web", 1, 3), ("web", 2, 9), ("app", 2, 4), ("app", 2, 5), ("stranger", 3, 1)]


def asked(meter: dict[str, Any], **query: Any) -> list[tuple[Any, ...]]:
    document = {"tallystick": 1, "currencies": ["EUR"], "meters": {"m": {"event_type": "e", **meter}}}
    catalog = load_catalog(document)
    rows = [
        {
            "type": "e",
            "subject": s,
            "time": datetime(2026, 10, day, tzinfo=UTC),
            "data": {"n": Decimal(n), "u": f"u{n}"},
        }
        for s, day, n in EVENTS
    ]
    usage = interned(usage_frame(rows, catalog.declared_properties()))
    subjects = pl.DataFrame([("web", "acme"), ("app", "acme")], schema=SUBJECT, orient="row")
    [compiled] = compile_catalog(catalog).meters
    return usage_of(UsageQuery("m", **query), compiled, usage, subjects).rows()


@pytest.mark.parametrize(
    ("meter", "expected"),
    [
        pytest.param({"aggregation": "max", "property": "n"}, [(None, 1, 1), ("acme", 9, 4)], id="one of all subjects"),
        pytest.param({"aggregation": "latest", "property": "n"}, [(None, 1, 1), ("acme", 5, 4)], id="latest"),
        pytest.param({"aggregation": "unique_count", "property": "u"}, [(None, 1, 1), ("acme", 4, 4)], id="unique"),
        pytest.param(
            {"aggregation": "sum", "property": "n", "divide_by": 10, "rounding": {"mode": "up"}},
            [(None, 1, 1), ("acme", 3, 4)],
            id="3 + 9 + 4 + 5 = 21: 3 tens are started, rounded after the subjects are summed",
        ),
    ],
)
def test_a_customers_usage_is_metered_over_its_subjects(meter: dict[str, Any], expected: list[Any]) -> None:
    assert asked(meter, group_by=("customer",)) == expected


def test_each_window_is_metered_by_itself() -> None:
    found = asked({"aggregation": "average", "property": "n"}, window="day")
    assert [(str(quantity), events) for _, quantity, events in found] == [
        ("3.000000000", 1),
        ("6.000000000", 3),
        ("1.000000000", 1),
    ]


def test_what_lies_between_events_is_not_asked_for() -> None:
    with pytest.raises(Refused, match="charge lines"):
        asked({"aggregation": "time_weighted", "property": "n"})
