"""The demonstration, run as a newcomer runs it, and held against plain sums and the oracle."""

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import polars as pl
import pytest

from api.demo.customers import COUNT, DemoCustomer, demo_customers
from api.demo.day import bodies, demo_day, make_day
from api.demo.prices import PLANS, demo_catalog
from rating.catalog import load_catalog
from rating.core.periods import Month
from tests.conftest import ROOT
from tests.oracle import Subscription, rate

EVENTS, SEED = 20_000, 7
TALLYSTICK = (sys.executable, "-m", "api.cli")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "kept"


@pytest.fixture(scope="module")
def told(kept: Path) -> dict[str, Any]:
    """What `tallystick demo --json` says."""
    return _json([*TALLYSTICK, "demo", "--events", str(EVENTS), "--seed", str(SEED), "--json", "--keep", str(kept)])


def _json(command: list[str], **environment: str) -> dict[str, Any]:
    ran = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


@pytest.fixture(scope="module")
def customers() -> list[DemoCustomer]:
    return demo_customers(SEED)


@pytest.fixture(scope="module")
def day(told: dict[str, Any], customers: list[DemoCustomer]) -> pl.DataFrame:
    return make_day(EVENTS, SEED, customers, date.fromisoformat(told["day"]))


def test_every_event_is_taken_and_every_check_passes(told: dict[str, Any]) -> None:
    assert told["ok"] is True
    assert (told["posted"]["accepted"], told["posted"]["rejected"]) == (EVENTS, 0)
    assert (told["sent_again"]["accepted"], told["sent_again"]["duplicates"]) == (0, 1_000)
    assert len(told["checks"]) >= 10


def test_what_has_no_price_no_customer_or_no_quota_left_is_told(
    told: dict[str, Any], day: pl.DataFrame, customers: list[DemoCustomer]
) -> None:
    known = {subject: customer for customer in customers for subject in customer.subjects}
    used: dict[str, int] = defaultdict(int)
    strangers, unpriced = 0, 0
    for row in day.iter_rows(named=True):
        customer = known.get(row["subject"])
        strangers += customer is None
        if customer is not None:
            used[customer.key] += row["input_tokens"] + row["output_tokens"]
            unpriced += row["provider"] == "in-house" and customer.plan != "europe"
    limits = {key: int(plan["entitlements"]["tokens"]["limit"]) for key, plan in demo_catalog(EVENTS)["plans"].items()}
    out = {customer.key for customer in customers if used[customer.key] >= limits[customer.plan]}
    assert told["unsubscribed"]["events"] == strangers > 0
    assert told["unpriced"]["events"] == 2 * unpriced > 0  # input tokens and output tokens
    assert {signal["customer"] for signal in told["ran_out"]} == out
    assert 0 < len(out) < COUNT


def test_the_amounts_are_those_of_the_oracle(
    told: dict[str, Any], kept: Path, day: pl.DataFrame, customers: list[DemoCustomer]
) -> None:
    """For the largest customer and some of every plan: each line of theirs, digit for digit."""
    chosen = [customers[0], *(c for plan in PLANS for c in [c for c in customers if c.plan == plan][2:40:12])]
    assert len({customer.plan for customer in chosen}) == len(PLANS)
    lines = _json([*TALLYSTICK, "lines", told["run"]["id"], "--data", str(kept), "--json"])["items"]
    assert len(lines) == told["lines"]
    keys = {customer.key for customer in chosen}
    charged = {_key(line): line["amount"] for line in lines if line["customer"] in keys}
    assert charged == _expected(chosen, day, Month(*map(int, told["day"].split("-")[:2])))


def _key(line: dict[str, Any]) -> tuple[Any, ...]:
    group = json.dumps(line["group"], sort_keys=True)
    return line["subscription"], line["price"], line["window"], line["meter"], group


def _expected(chosen: list[DemoCustomer], day: pl.DataFrame, month: Month) -> dict[tuple[Any, ...], str]:
    names = {subject for customer in chosen for subject in customer.subjects}
    since = datetime(month.year, 1, 1, tzinfo=UTC)
    subscriptions = [Subscription(f"{c.key}-{c.plan}", c.key, c.subjects, c.plan, c.time_zone, since) for c in chosen]
    events = _events(day.filter(pl.col("subject").is_in(names)))
    return {
        (subscription, price, window, meter, json.dumps(json.loads(group), sort_keys=True)): _plain(line.amount)
        for (subscription, price, _, window, meter, group), line in rate(
            demo_catalog(EVENTS), events, subscriptions, str(month)
        ).items()
    }


def _events(day: pl.DataFrame) -> list[dict[str, Any]]:
    counts = ("input_tokens", "cache_read_tokens", "output_tokens", "tool_calls")
    always = ("input_tokens", "output_tokens")
    return [
        {
            "type": "llm.request",
            "subject": row["subject"],
            "time": row["time"],
            "data": {
                "provider": row["provider"],
                "model": row["model"],
                **{name: row[name] for name in counts if row[name] or name in always},
            },
        }
        for row in day.iter_rows(named=True)
    ]


def _plain(amount: Decimal) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def test_it_leaves_nothing_behind_and_can_be_run_again(tmp_path: Path) -> None:
    command = [*TALLYSTICK, "demo", "--events", "1000", "--json"]
    digests = {_json(command, TMPDIR=str(tmp_path))["run"]["digest"] for _ in range(2)}
    assert len(digests) == 1
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_stops_the_server_too(tmp_path: Path) -> None:
    command = [*TALLYSTICK, "demo", "--events", "2000000", "--keep", str(tmp_path / "kept")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().split()[1].rstrip(",")
    process.stdout.readline()  # catalog and customers are there, events are made or posted
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(url)


def test_equal_seeds_give_equal_days_and_bodies_are_what_the_frame_says(customers: list[DemoCustomer]) -> None:
    day = make_day(1_500, SEED, customers, date(2026, 10, 15))
    assert day.equals(make_day(1_500, SEED, demo_customers(SEED), date(2026, 10, 15)))
    assert not day.equals(make_day(1_500, SEED + 1, customers, date(2026, 10, 15)))
    events = [event for body in bodies(day, SEED) for event in json.loads(body)]
    assert len({(event["source"], event["id"]) for event in events}) == 1_500
    for event, expected in zip(events, _events(day), strict=True):
        assert datetime.fromisoformat(event["time"]) == expected["time"]
        assert (event["subject"], event["data"]) == (expected["subject"], expected["data"])


@pytest.mark.parametrize("events", [1_000, 1_000_000])
def test_the_catalog_of_the_demonstration_is_valid(events: int) -> None:
    catalog = load_catalog(demo_catalog(events))
    assert {price.model for price in catalog.prices.values()} == {
        "flat",
        "per_unit",
        "graduated",
        "volume",
        "per_request",
    }
    assert any(v.time_of_day for p in catalog.prices.values() if p.model == "per_unit" for v in p.versions)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(datetime(2027, 1, 1, tzinfo=UTC), date(2026, 10, 15), id="the usual day"),
        pytest.param(datetime(2026, 10, 20, tzinfo=UTC), date(2026, 9, 15), id="a clock that is in the usual month"),
        pytest.param(datetime(2026, 1, 3, tzinfo=UTC), date(2025, 12, 15), id="a clock in January"),
    ],
)
def test_the_day_is_in_the_past_of_any_clock(now: datetime, expected: date) -> None:
    assert demo_day(now) == expected
