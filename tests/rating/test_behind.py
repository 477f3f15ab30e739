"""The events behind a line, and the filter that finds them."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from rating.catalog import compile_catalog, parse_catalog
from rating.core.behind import events_behind, usage_filter
from rating.core.periods import parse_month
from rating.core.rating import rate
from rating.core.subjects import interned
from tests import oracle
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame

FIRST = datetime(2026, 10, 1, tzinfo=UTC)
MONTH = parse_month("2026-10")
NEXT = datetime(2026, 10, 15, tzinfo=UTC)
DOCUMENT: dict[str, Any] = {
    "tallystick": 1,
    "currencies": ["EUR"],
    "meters": {"m": {"event_type": "e", "aggregation": "sum", "property": "n", "group_by": ["d"]}},
    "prices": {
        "p": {
            "meter": "m",
            "currency": "EUR",
            "model": "per_unit",
            "group_by": ["d"],
            "versions": [{"unit_amount": "1"}, {"unit_amount": "2", "effective_from": NEXT.isoformat()}],
        },
        "fee": {"currency": "EUR", "model": "flat", "versions": [{"amount": "5"}]},
    },
    "plans": {"plan": {"currency": "EUR", "prices": ["p", "fee"]}},
}


def test_count_first_last_and_filter() -> None:
    catalog = parse_catalog(json.dumps(DOCUMENT), format="json")
    events: list[dict[str, Any]] = [
        {
            "type": "e",
            "subject": f"s{n % 2}",
            "time": FIRST + timedelta(days=n),
            "data": {"n": Decimal(1), "d": "ab"[n // 20]},
        }
        for n in range(30)
    ]
    subs = [oracle.Subscription("sub", "acme", ("s0", "s1"), "plan", "UTC", SINCE)]
    usage, owners, terms = (
        interned(usage_frame(events, catalog.declared_properties())),
        subject_frame(subs),
        subscription_frame(subs),
    )
    book = compile_catalog(catalog)
    lines = rate(usage, owners, terms, book, MONTH).lines
    behind = {row["line"]: row for row in events_behind(usage, owners, terms, book, MONTH, lines).rows(named=True)}
    wanted = {
        (0, '{"d":"a"}'): (14, FIRST, FIRST + timedelta(days=13)),
        (1, '{"d":"a"}'): (6, NEXT, FIRST + timedelta(days=19)),
        (1, '{"d":"b"}'): (10, FIRST + timedelta(days=20), FIRST + timedelta(days=29)),
    }
    used = lines.filter(pl.col("kind") == "usage").rows(named=True)
    got = {(it["price_version"], it["group"]): tuple(behind[it["line"]].values())[1:] for it in used}
    assert got == wanted
    for line in used:
        found = usage_filter(line, book, owners, terms, MONTH)
        assert found is not None
        passed = [e for e in events if found.begins <= e["time"] < found.ends and e["data"]["d"] == found.values["d"]]
        assert (len(passed), found.subjects) == (line["events"], ("s0", "s1"))
    (fee,) = lines.filter(pl.col("kind") == "fee").rows(named=True)
    assert usage_filter(fee, book, owners, terms, MONTH) is None
