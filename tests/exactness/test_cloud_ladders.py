"""Published cloud price ladders: every edge, one below and one above, graduated and volume.

Source of what must come out: ../shared/data/README.md (worked costs of the providers' own ladders).
"""

import json
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
import pytest

from rating.core.money import plain
from tests.api.test_server import Server
from tests.conftest import shared_path
from tests.exactness.conftest import post_arrow, rated_lines, sell

MODELS = ("graduated", "volume")


def catalog_of(ladders: list[dict[str, Any]]) -> dict[str, Any]:
    """A plan for each ladder and model, with one price over the same meter."""
    prices = {
        f"{model}/{ladder['id']}": {
            "meter": "units",
            "currency": "USD",
            "model": model,
            "versions": [{"tiers": [{k: t[k] for k in ("up_to", "unit_price")} for t in ladder["tiers"]]}],
        }
        for ladder in ladders
        for model in MODELS
    }
    for price in prices.values():
        for tier in price["versions"][0]["tiers"]:
            tier["unit_amount"] = tier.pop("unit_price")
    return {
        "tallystick": 1,
        "currencies": ["USD"],
        "meters": {"units": {"event_type": "usage", "aggregation": "sum", "property": "units"}},
        "prices": prices,
        "plans": {key: {"currency": "USD", "prices": [key]} for key in prices},
    }


@pytest.fixture(scope="module")
def probes() -> pl.DataFrame:
    """One row is one probe: the customer `model/ladder/quantity` uses that quantity."""
    each = json.loads(shared_path("data", "expected", "cloud.json").read_text())["ladders"]["each"]
    rows = [
        (f"{model}/{ladder['id']}", quantity, exact)
        for ladder in each
        for probe in [*ladder["probes"], {"quantity": ladder["worked"]["quantity"]}]
        for model, quantity, exact in ((m, probe["quantity"], probe.get(m)) for m in MODELS)
    ]
    named = pl.DataFrame(rows, schema=["plan", "quantity", "exact"], orient="row").unique(
        ["plan", "quantity"], maintain_order=True
    )
    return named.with_columns(customer=pl.format("{}/{}", "plan", "quantity"))


@pytest.fixture(scope="module")
def ladders() -> list[dict[str, Any]]:
    return list(json.loads(shared_path("data", "cloud", "price_ladders_dev.json").read_text())["ladders"])


@pytest.fixture(scope="module")
def lines(server: Server, probes: pl.DataFrame, ladders: list[dict[str, Any]]) -> pl.DataFrame:
    sell(server, catalog_of(ladders), probes.select("customer", "plan").iter_rows())
    events = probes.select(
        source=pl.lit("probe"),
        id="customer",
        type=pl.lit("usage"),
        subject="customer",
        time=pl.lit(datetime(2026, 10, 5, tzinfo=UTC)),
        units="quantity",
    )
    server.restart()
    assert post_arrow(server, events) == {"accepted": events.height, "duplicates": 0}
    server.restart()
    assert post_arrow(server, events) == {"accepted": 0, "duplicates": events.height}
    return rated_lines(server, ["2026-10"])


def test_every_probe_is_exact(lines: pl.DataFrame, probes: pl.DataFrame) -> None:
    got = dict(lines.select("customer", "amount").iter_rows())
    wanted = probes.filter(pl.col("exact").is_not_null())
    assert wanted.height >= 2 * 150
    different = [
        (c, plain(got[c]), e) for c, e in wanted.select("customer", "exact").iter_rows() if got[c] != Decimal(e)
    ]
    assert different == []


def test_every_worked_ladder_is_right_to_the_cent(lines: pl.DataFrame, ladders: list[dict[str, Any]]) -> None:
    """The providers round each tier's cost half up to the cent."""
    cent = Decimal("0.01")
    tiers = dict(lines.select("customer", "tiers").iter_rows())
    for ladder in ladders:
        mine = tiers[f"graduated/{ladder['id']}/{ladder['quantity']}"]
        costs = [tier["amount"].quantize(cent, ROUND_HALF_UP) for tier in mine]
        assert costs == [Decimal(t["cost"]) for t in ladder["tiers"]], ladder["id"]
        assert sum(costs) == Decimal(ladder["cost"])
