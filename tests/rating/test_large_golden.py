"""Ten million generated events, and the amounts that they have always come to (RELIABILITY T12).

`large_golden.json` holds the SHA-256 of quantity and amounts of every line, for a hundred thousand events and for ten
million. They change only with a line in CHANGELOG.md; `python -m tests.rating.test_large_golden` writes them anew.
"""

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rating.catalog import compile_catalog, load_catalog
from rating.core.periods import parse_month
from rating.core.rating import rate
from rating.core.schema import SUBJECT, usage_event_schema
from rating.core.subjects import interned
from rating.core.subscriptions import plain_subscriptions
from tests.frames import SINCE

GOLDEN = Path(__file__).parent / "large_golden.json"
FIRST = datetime(2026, 10, 1, tzinfo=UTC)
SUBJECTS = 1_000
ZONES = ["UTC", "Europe/Madrid", "Asia/Kathmandu", "America/Lima"]
TIERS = [{"up_to": 5_000, "unit_amount": "0.0125"}, {"unit_amount": "0.007", "flat_amount": "3"}]
VERSIONS: dict[str, dict[str, Any]] = {
    "per_unit": {"unit_amount": "0.000123456789", "per": 1000},
    "graduated": {"tiers": TIERS, "per": 7},
    "volume": {"tiers": TIERS},
    "package": {"package_size": "1000", "amount": "0.4"},
    "percentage": {"percent": "2.9", "fixed_amount": "0.30", "maximum_per_event": "4"},
    "allowance": {"included": 2_000, "unit_amount": "0.03"},
}
"""The price of each meter, by its model."""


def document() -> dict[str, Any]:
    meters = {
        model: {"event_type": model, "aggregation": "sum", "property": "n", "group_by": ["d"]} for model in VERSIONS
    }
    prices = {
        model: {"meter": model, "currency": "EUR", "model": model, "group_by": ["d"], "versions": [version]}
        for model, version in VERSIONS.items()
    }
    plans = {"plan": {"currency": "EUR", "prices": sorted(prices), "adjust": [{"kind": "minimum", "amount": "50"}]}}
    return {"tallystick": 1, "currencies": ["EUR"], "meters": meters, "prices": prices, "plans": plans}


def usage(count: int, properties: Any) -> pl.LazyFrame:
    """The n-th event is made of n by remainders alone, and of no random numbers, which another version may change."""
    n = pl.int_range(count, dtype=pl.Int64, eager=True).alias("n")
    mixed = n * 2_654_435_761 % 4_294_967_291  # a prime below 2^32: every n has a number of its own
    columns = {
        "source": pl.lit("golden"),
        "id": n.cast(pl.String),
        "type": pl.Series(list(VERSIONS)).gather(mixed % len(VERSIONS)),
        "subject": "s" + (mixed // 7 % SUBJECTS).cast(pl.String),
        "time": pl.lit(FIRST) + pl.duration(microseconds=mixed * 600),
        "data": pl.lit(None),
        "received_at": pl.lit(FIRST),
        "sequence": n + 1,
        "data_n": (mixed // 11 % 100_003 - 1_000).cast(pl.Decimal(38, 3)) * pl.lit(Decimal("0.001")),
        "data_d": pl.Series(["a", "b", "c"]).gather(mixed // 13 % 3),
    }
    frame = pl.select(**columns)
    return frame.select(pl.col(name).cast(dtype) for name, dtype in usage_event_schema(properties).items()).lazy()


def sums(count: int) -> str:
    """SHA-256 of the lines of so many events as text: what tells each from the others, quantity and amounts."""
    catalog = load_catalog(document())
    subjects = [f"s{number}" for number in range(SUBJECTS)]
    terms = [(s, s, "plan", ZONES[number % len(ZONES)], SINCE, None) for number, s in enumerate(subjects)]
    lines = rate(
        interned(usage(count, catalog.declared_properties())),
        pl.DataFrame([(s, s) for s in subjects], schema=SUBJECT, orient="row"),
        plain_subscriptions(terms),
        compile_catalog(catalog),
        parse_month("2026-10"),
    ).lines
    keys = ["subscription", "price", "group", "adjustment"]
    shown = lines.select(*keys, "quantity", "events", "amount", "rounded_amount").sort(keys)
    return hashlib.sha256(shown.write_csv().encode()).hexdigest()


@pytest.mark.parametrize("count", [100_000, pytest.param(10_000_000, marks=pytest.mark.long)])
def test_the_amounts_are_those_of_the_last_release(count: int) -> None:
    assert sums(count) == json.loads(GOLDEN.read_text())[str(count)]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({str(count): sums(count) for count in (100_000, 10_000_000)}, indent=1) + "\n")
