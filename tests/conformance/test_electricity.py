"""One household under real residential tariffs: tiers, seasons, time of use, fixed and minimum charges.

The rule of rounding: amounts are exact, a bill is the exact sum of its lines rounded once to the cent, half away from
zero; the parts shown beside it (each tier of each period) are each rounded alone.
"""

import json
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

import polars as pl
import pytest

from rating.catalog import compile_catalog, load_catalog
from rating.core.periods import parse_month
from rating.core.rating import rate
from rating.core.schema import INSTANT, QUANTITY, SUBJECT, usage_event_schema
from rating.core.subjects import interned
from rating.core.subscriptions import plain_subscriptions
from tests.conformance.ratebook import catalog_of, period_of
from tests.conftest import SHARED
from tests.frames import SINCE

EXPECTED, READINGS, TARIFFS = (
    SHARED / "data" / part
    for part in (
        "expected/electricity.json",
        "electricity/household_2007_01_02.parquet",
        "electricity/tariffs.json",
    )
)
BILLS: list[dict[str, Any]] = json.loads(EXPECTED.read_text())["bills"] if EXPECTED.exists() else []
TWENTY_PLACES = Decimal("1e-19")
needs_shared = pytest.mark.skipif(not EXPECTED.exists(), reason="needs ../shared: data/electricity is not there")


@cache
def tariffs() -> dict[str, dict[str, Any]]:
    return {entry["slug"]: entry for entry in json.loads(TARIFFS.read_text())["tariffs"]}


@cache
def lines_of(month: str) -> pl.DataFrame:
    """The lines of every tariff: one customer with a subscription to each of them."""
    wanted = sorted({bill["tariff"] for bill in BILLS if bill["month"] == month})
    catalog = load_catalog(catalog_of([tariffs()[slug] for slug in wanted], month))
    at = SINCE.replace(year=2000)
    terms = plain_subscriptions([(slug, "home", slug, "UTC", at, None) for slug in wanted])
    owner = pl.DataFrame([("home", "home")], schema=SUBJECT, orient="row")
    schema = usage_event_schema(catalog.declared_properties())
    usage = readings().select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    return rate(interned(usage), owner, terms, compile_catalog(catalog), parse_month(month)).lines


def readings() -> pl.LazyFrame:
    """The household's readings as events; the clock has no zone and no summer time, and is taken as it stands."""
    minutes = pl.scan_parquet(READINGS).with_row_index("sequence")
    time = pl.col("minute").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(INSTANT)
    return minutes.select(
        source=pl.lit("meter"),
        id=pl.col("sequence").cast(pl.String),
        type=pl.lit("reading"),
        subject=pl.lit("home"),
        time=time,
        data=pl.lit(None, dtype=pl.String),
        received_at=time,
        sequence="sequence",
        data_watt_minutes=pl.col("watt_minutes").cast(QUANTITY),
    )


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


@needs_shared
@pytest.mark.parametrize("bill", [pytest.param(bill, id=f"{bill['tariff']} {bill['month']}") for bill in BILLS])
def test_a_bill_is_right_to_the_cent(bill: dict[str, Any]) -> None:
    lines = lines_of(bill["month"]).filter(subscription=bill["tariff"])
    total = sum(lines["amount"], Decimal(0))
    assert abs(total - Decimal(bill["total"]["value"])) <= TWENTY_PLACES
    assert cents(total) == Decimal(bill["total"]["cents"])
    assert (sum(lines.filter(kind="minimum")["amount"]) > 0) is bill["minimum_applied"]
    for kind, name in (("usage", "energy"), ("fee", "fixed")):
        part = sum(lines.filter(kind=kind)["amount"], Decimal(0))
        assert abs(part - Decimal(bill[name]["value"])) <= TWENTY_PLACES
        assert cents(part) == Decimal(bill[name]["cents"])


@needs_shared
@pytest.mark.parametrize("bill", [pytest.param(bill, id=f"{bill['tariff']} {bill['month']}") for bill in BILLS])
def test_every_tier_of_every_period_is_as_written(bill: dict[str, Any]) -> None:
    lines = lines_of(bill["month"]).filter(subscription=bill["tariff"], kind="usage")
    found: dict[tuple[int, int], Decimal] = defaultdict(Decimal)
    schedule = tariffs()[bill["tariff"]]["tariff"]["schedule"]
    for window, tiers in lines.select("window", "tiers").iter_rows():
        for tier in tiers:
            found[period_of(schedule, window), tier["tier"]] += tier["amount"]
    wanted = {(line["period"], line["tier"]): line["subtotal"] for line in bill["lines"] if line["period"] >= 0}
    assert {key for key, amount in found.items() if amount} == {
        key for key, it in wanted.items() if Decimal(it["value"])
    }
    for key, subtotal in wanted.items():
        assert abs(found[key] - Decimal(subtotal["value"])) <= TWENTY_PLACES
        assert cents(found[key]) == Decimal(subtotal["cents"])


@needs_shared
def test_the_household_used_what_it_used() -> None:
    usage = json.loads(EXPECTED.read_text())["usage"]
    for month, used in usage.items():
        of_one = lines_of(month).filter(kind="usage").group_by("subscription").agg(pl.col("quantity").sum())
        assert of_one["quantity"].unique().to_list() == [Decimal(used["watt_minutes"])]
