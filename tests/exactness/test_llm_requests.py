"""8,819 real requests to a language model at nine published prices: every customer and minute, digit for digit.

Source of what must come out: ../shared/data/README.md (priced with genai-prices itself, and a second time by hand).
"""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from rating.catalog.genai_prices import import_genai_prices
from rating.core.money import plain
from tests.api.test_server import Server
from tests.conftest import shared_path
from tests.exactness.conftest import months_of, post_arrow, post_json, rated_lines, sell

ATTRIBUTES = ["source", "id", "type", "subject", "time"]
PLANS = [
    "flat",
    "flat-contemporary",
    "new-price-at-midnight",
    "time-of-day",
    "time-of-day-and-new-price",
    "request-tier-100k",
    "request-tiers-32k-128k",
    "request-tier-then-flat",
    "tiny-price",
]
BY_JSON = {"flat", "time-of-day", "request-tier-then-flat"}


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    found = json.loads(shared_path("data", "expected", "llm.json").read_text())["azure_llm_code_2023"]["plans"]
    assert list(found) == PLANS
    return dict(found)


def events_of(name: str, plan: dict[str, Any]) -> pl.DataFrame:
    trace = pl.read_parquet(shared_path("data", "llm", "azure_llm_code_2023.parquet"))
    micros = int(Decimal(plan["shift_seconds"] or 0) * 10**6)
    shifted = trace.with_row_index("row").with_columns(time=pl.col("ts") + timedelta(microseconds=micros))
    customer = pl.format("{}/cust-{}", pl.lit(name), (pl.col("row") % 40).cast(pl.String).str.zfill(2))
    return shifted.select(
        source=pl.lit(f"azure/{name}"),
        id="event_id",
        type=pl.lit("llm.request"),
        subject=customer,
        time="time",
        provider=pl.lit(plan["provider"]),
        model=pl.lit(plan["model"]),
        input_tokens="input_tokens",
        output_tokens="output_tokens",
        minute=pl.col("time").dt.truncate("1m").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
    )


@pytest.fixture(scope="module")
def lines(server: Server, expected: dict[str, Any]) -> pl.DataFrame:
    """The whole path, a kill behind either kind of body and around every run, everything posted twice."""
    catalog, _ = import_genai_prices(group_by=("minute",))
    sell(server, catalog, [(f"{name}/cust-{n:02}", "llm") for name in PLANS for n in range(40)])
    server.restart()
    events = {name: events_of(name, plan) for name, plan in expected.items()}
    for name, frame in events.items():
        count = post_json(server, frame, ATTRIBUTES) if name in BY_JSON else post_arrow(server, frame)
        assert count == {"accepted": 8819, "duplicates": 0}
        if name in (*BY_JSON, PLANS[-1]):
            server.restart()
    for name, frame in events.items():
        again = post_arrow(server, frame) if name in BY_JSON else post_json(server, frame, ATTRIBUTES)
        assert again == {"accepted": 0, "duplicates": 8819}
    months = months_of(at for frame in events.values() for at in (frame["time"].min(), frame["time"].max()))
    made = rated_lines(server, months)
    minute = pl.col("group").str.json_decode(pl.Struct({"minute": pl.String})).struct.field("minute")
    return made.with_columns(
        name=pl.col("customer").str.split("/").list.first(),
        cust=pl.col("customer").str.split("/").list.last(),
        minute=minute,
    )


def sums(lines: pl.DataFrame, by: str) -> dict[str, str]:
    return {key: plain(amount) for key, amount in lines.group_by(by).agg(pl.col("amount").sum()).iter_rows()}


@pytest.mark.parametrize("name", PLANS)
def test_every_customer_and_every_minute_is_exact(name: str, lines: pl.DataFrame, expected: dict[str, Any]) -> None:
    plan, mine = expected[name], lines.filter(pl.col("name") == name)
    assert sums(mine, "cust") == {key: plain(Decimal(v["exact"])) for key, v in plan["customers"].items()}
    assert sums(mine, "minute") == {key: plain(Decimal(v)) for key, v in plan["minutes"].items()}
    by_meter = sums(mine, "meter")
    parts = {key: by_meter[f"{key}_tokens"] for key in ("input", "output")}
    assert parts == {key: plain(Decimal(plan[key]["exact"])) for key in ("input", "output")}
    assert plain(mine["amount"].sum()) == plain(Decimal(plan["total"]["exact"]))


def test_every_token_is_on_a_line(lines: pl.DataFrame) -> None:
    tokens = dict(lines.group_by("meter").agg(pl.col("quantity").sum()).iter_rows())
    assert tokens == {"input_tokens": 9 * 18_059_974, "output_tokens": 9 * 245_896}
