"""Edits of an encyclopaedia and requests to a web server: tenants, hours, graduated charges, events without a count.

Source of what must come out: ../shared/data/README.md.
"""

import json
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from rating.core.money import plain
from tests.api.test_server import Server
from tests.conftest import shared_path
from tests.exactness.conftest import post_arrow, post_json, rated_lines, sell

ATTRIBUTES = ["source", "id", "type", "subject", "time"]


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return dict(json.loads(shared_path("data", "expected", "events.json").read_text()))


def catalog_of(ladder: list[tuple[int | None, str]]) -> dict[str, Any]:
    tiers = [{"up_to": up_to, "unit_amount": price} for up_to, price in ladder]
    price = {"currency": "USD", "versions": [{"tiers": tiers}]}
    return {
        "tallystick": 1,
        "currencies": ["USD"],
        "meters": {
            "added": {"event_type": "edit", "aggregation": "sum", "property": "added"},
            "added_again": {"event_type": "edit", "aggregation": "sum", "property": "added"},
            "edits": {"event_type": "edit", "aggregation": "count", "group_by": ["namespace"]},
            "requests": {"event_type": "http", "aggregation": "count", "group_by": ["status", "method"]},
            "bytes": {"event_type": "http", "aggregation": "sum", "property": "bytes", "group_by": ["status"]},
        },
        "prices": {
            "graduated": {**price, "meter": "added", "model": "graduated"},
            "volume": {**price, "meter": "added_again", "model": "volume"},
        },
        "plans": {"wiki": {"currency": "USD", "prices": ["graduated", "volume"]}},
    }


@pytest.fixture(scope="module")
def posted(server: Server, expected: dict[str, Any]) -> Server:
    (ladder,) = expected["wikipedia"]["plan"].values()
    sell(server, catalog_of(ladder), [(channel, "wiki") for channel in expected["wikipedia"]["channels_each"]])
    edits = pl.read_parquet(shared_path("data", "events", "wikipedia_edits_2015_09_12.parquet"))
    edits = edits.rename({"event_id": "id", "ts": "time", "channel": "subject"})
    edits = edits.with_columns(source=pl.lit("wikipedia"), type=pl.lit("edit"))
    requests = pl.read_parquet(shared_path("data", "events", "http_requests_2015_05.parquet"))
    requests = requests.rename({"event_id": "id", "ts": "time", "client": "subject"})
    requests = requests.with_columns(source=pl.lit("http"), type=pl.lit("http"))
    server.restart()
    assert post_arrow(server, edits) == {"accepted": 39_199, "duplicates": 0}
    assert post_json(server, requests, ATTRIBUTES) == {"accepted": 10_000, "duplicates": 0}
    server.restart()
    assert post_json(server, edits, ATTRIBUTES) == {"accepted": 0, "duplicates": 39_199}
    assert post_arrow(server, requests) == {"accepted": 0, "duplicates": 10_000}
    return server


@pytest.fixture(scope="module")
def lines(posted: Server) -> pl.DataFrame:
    return rated_lines(posted, ["2015-09"])


@pytest.mark.parametrize("model", ["graduated", "volume"])
def test_every_channel_is_charged_exactly(model: str, lines: pl.DataFrame, expected: dict[str, Any]) -> None:
    mine = lines.filter(pl.col("price") == model)
    got = {
        c: (plain(q), plain(a), r)
        for c, q, a, r in mine.select("customer", "quantity", "amount", "rounded_amount").iter_rows()
    }
    assert got == {
        channel: (str(e["quantity"]), plain(Decimal(e[model]["exact"])), Decimal(e[model]["cents"]))
        for channel, e in expected["wikipedia"]["channels_each"].items()
    }


def test_every_tier_of_every_channel_is_exact(lines: pl.DataFrame, expected: dict[str, Any]) -> None:
    for channel, tiers in lines.filter(pl.col("price") == "graduated").select("customer", "tiers").iter_rows():
        reached = (t for t in tiers if t["quantity"])  # a channel that added nothing has its first tier, of zero
        got = [(plain(t["quantity"]), plain(t["unit_amount"]), plain(t["amount"])) for t in reached]
        wanted = expected["wikipedia"]["channels_each"][channel]["graduated_lines"]
        assert got == [(str(w["quantity"]), plain(Decimal(w["price"])), plain(Decimal(w["exact"]))) for w in wanted], (
            channel
        )


def usage(server: Server, meter: str, **query: str) -> list[dict[str, Any]]:
    found = server.ask("GET", f"/v1/meters/{meter}/usage", params={"limit": 10_000, **query}).json()
    return list(found["items"])


def test_edits_by_channel_and_hour(posted: Server, expected: dict[str, Any]) -> None:
    rows = usage(posted, "edits", window="hour", group_by="subject")
    got = {f"{row['group']['subject']}|{row['window_start'][11:13]}": int(row["quantity"]) for row in rows}
    assert got == expected["wikipedia"]["edits_by_channel_hour"]


def test_requests_and_bytes_of_every_client(posted: Server, expected: dict[str, Any]) -> None:
    requests = {row["group"]["subject"]: int(row["quantity"]) for row in usage(posted, "requests", group_by="subject")}
    sizes = {row["group"]["subject"]: int(row["quantity"]) for row in usage(posted, "bytes", group_by="subject")}
    wanted = expected["http"]["clients_each"]
    assert requests == {client: e["requests"] for client, e in wanted.items()}
    assert {client: sizes.get(client, 0) for client in wanted} == {client: e["bytes"] for client, e in wanted.items()}


def test_a_dimension_that_came_as_a_number_is_its_text(posted: Server, expected: dict[str, Any]) -> None:
    rows = usage(posted, "requests", group_by="status")
    assert {row["group"]["status"]: int(row["quantity"]) for row in rows} == expected["http"]["status"]


def test_events_without_a_byte_count_are_not_events_of_zero_bytes(posted: Server, expected: dict[str, Any]) -> None:
    (row,) = usage(posted, "bytes")
    assert (int(row["quantity"]), row["events"]) == (
        expected["http"]["bytes"],
        10_000 - expected["http"]["rows_without_bytes"],
    )


def test_bytes_by_day(posted: Server, expected: dict[str, Any]) -> None:
    rows = usage(posted, "bytes", window="day")
    assert {row["window_start"][:10]: int(row["quantity"]) for row in rows} == expected["http"]["bytes_by_day"]
