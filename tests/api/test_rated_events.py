"""Rated events and the events behind a line over HTTP: made again from what a run was made of, or refused."""

import json
import shutil
from decimal import Decimal
from io import BytesIO
from typing import Any

import httpx2
import polars as pl
import pytest

from api import rated_events
from api.engine import Engine
from api.settings import Settings
from tests.api.bitemporal import forget_history
from tests.api.conftest import CATALOG, event
from tests.api.test_backfills import load, opened, step, tokens
from tests.api.test_corrections import correct, void
from tests.api.test_events import post
from tests.api.test_rating import ARROW, PARQUET, lines_of, rate

NDJSON = "application/x-ndjson"


@pytest.fixture
def used(sold: httpx2.Client) -> httpx2.Client:
    """Five events of 300 big tokens: 1,000 x 2.50 / 1,000 + 500 x 1 / 1,000 = 3.00; and the fee of 20."""
    post(sold, *(event(str(i), data={"model": "big", "input_tokens": 300}, time=_at(i)) for i in range(5)))
    return sold


def _at(hour: int) -> str:
    return f"2026-10-10T{hour:02}:00:00Z"


def shares_of(client: httpx2.Client, run: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/rating-runs/{run['id']}/rated-events", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(NDJSON)
    return [json.loads(row) for row in answer.text.splitlines()]


def usage_line(client: httpx2.Client, run: dict[str, Any]) -> dict[str, Any]:
    [line] = [line for line in lines_of(client, run) if line["kind"] == "usage"]
    return line


def test_each_event_has_its_share_split_at_the_edge_of_a_tier(used: httpx2.Client) -> None:
    run = rate(used)
    line = usage_line(used, run)
    shares = shares_of(used, run, line=line["line"])
    assert [(s["id"], s["tier"], s["quantity"], s["amount"]) for s in shares] == [
        ("0", 0, "300", "0.75"),
        ("1", 0, "300", "0.75"),
        ("2", 0, "300", "0.75"),
        ("3", 0, "100", "0.25"),
        ("3", 1, "200", "0.2"),
        ("4", 1, "300", "0.3"),
    ]
    assert {(s["source"], s["subject"], s["customer"], s["line"]) for s in shares} == {
        ("gateway", "acme", "acme", line["line"])
    }


def test_all_lines_of_a_run_sum_to_the_bill(used: httpx2.Client) -> None:
    shares = shares_of(used, rate(used))
    assert sum(Decimal(s["amount"]) for s in shares) == 23
    [fee] = [s for s in shares if s["id"] is None]
    assert (fee["amount"], fee["sequence"]) == ("20", None)


def test_rated_events_are_the_same_in_every_format(used: httpx2.Client) -> None:
    run = rate(used)
    url = f"/v1/rating-runs/{run['id']}/rated-events"

    def read(media: str) -> bytes:
        answer = used.get(url, headers={"accept": media})
        assert answer.headers["content-type"].startswith(media)
        return answer.content

    arrow = pl.read_ipc_stream(BytesIO(read(ARROW)))
    assert arrow.schema == rated_events.SHARE
    assert arrow.equals(pl.read_parquet(BytesIO(read(PARQUET))))
    csv = pl.read_csv(read("text/csv"), infer_schema=False)
    assert [Decimal(amount) for amount in csv["amount"]] == arrow["amount"].to_list()
    assert [Decimal(s["amount"]) for s in shares_of(used, run)] == arrow["amount"].to_list()


def test_a_run_comes_in_parts_of_customers(used: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("beta", "gamma"):
        assert used.put(f"/v1/customers/{name}", json={}).status_code == 200
        subscription = {"customer": name, "plan": "free", "starts_at": "2026-01-01T00:00:00Z"}
        assert used.put(f"/v1/subscriptions/{name}", json=subscription).status_code == 200
        post(used, event(name, subject=name))
    run = rate(used)
    whole = shares_of(used, run)
    monkeypatch.setattr(rated_events, "EVENTS_TOGETHER", 1)
    assert shares_of(used, run) == whole
    assert {s["customer"] for s in shares_of(used, run, after="acme", until="beta")} == {"beta"}
    assert {s["customer"] for s in shares_of(used, run, customer="gamma")} == {"gamma"}


def test_later_events_corrections_and_catalogs_change_nothing(used: httpx2.Client) -> None:
    run = rate(used)
    before = shares_of(used, run)
    post(used, event("later", data={"model": "big", "input_tokens": 50}))
    assert correct(used, void("1")).json()["accepted"] == 1
    without = json.loads(json.dumps(CATALOG))
    del without["prices"]["tokens/big"]["match"], without["meters"]["tokens"]["group_by"], without["meters"]["requests"]
    assert used.put("/v1/catalog", json=without).status_code == 200
    assert shares_of(used, run) == before
    assert sum(Decimal(s["quantity"]) for s in shares_of(used, rate(used))) == 4 * 300 + 50


def test_moved_subjects_and_ended_subscriptions_change_nothing(used: httpx2.Client) -> None:
    run = rate(used)
    line, before = usage_line(used, run), shares_of(used, run)
    assert used.put("/v1/customers/acme", json={"subjects": ["other"], "time_zone": "Asia/Tokyo"}).status_code == 200
    assert used.put("/v1/customers/beta", json={"subjects": ["acme"]}).status_code == 200
    ended = {"customer": "acme", "plan": "free", "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-02-01T00:00:00Z"}
    assert used.put("/v1/subscriptions/acme-pro", json=ended).status_code == 200
    assert shares_of(used, run) == before
    assert used.get(f"/v1/charge-lines/{line['line']}/events").status_code == 200
    explained = used.get(f"/v1/charge-lines/{line['line']}/explain").json()
    assert (explained["events_behind"]["count"], explained["events_behind"]["unknown"]) == (5, None)


def test_a_run_from_before_the_history_of_accounts_is_refused_once_they_changed(
    used: httpx2.Client, engine: Engine
) -> None:
    run = rate(used)
    line = usage_line(used, run)
    assert used.put("/v1/customers/acme", json={"subjects": ["other"]}).status_code == 200
    forget_history(engine, run)
    answer = used.get(f"/v1/rating-runs/{run['id']}/rated-events")
    assert answer.status_code == 409
    assert "was made of 5 events, and 0 are found" in answer.json()["detail"]
    assert "before the history of accounts began" in answer.json()["detail"]
    assert used.get(f"/v1/charge-lines/{line['line']}/events").status_code == 409
    explained = used.get(f"/v1/charge-lines/{line['line']}/explain").json()
    assert explained["events_behind"]["count"] == 5
    assert "cannot be made again" in explained["events_behind"]["unknown"]


def test_the_events_behind_a_line(used: httpx2.Client) -> None:
    line = usage_line(used, rate(used))
    url = f"/v1/charge-lines/{line['line']}/events"
    first = used.get(url, params={"limit": 3}).json()
    second = used.get(url, params={"limit": 3, "after": first["next"]}).json()
    items = first["items"] + second["items"]
    assert second["next"] is None
    assert [(e["id"], e["data"]["input_tokens"], e["quantity"], e["amount"]) for e in items] == [
        ("0", 300, "300", "0.75"),
        ("1", 300, "300", "0.75"),
        ("2", 300, "300", "0.75"),
        ("3", 300, "300", "0.45"),
        ("4", 300, "300", "0.3"),
    ]
    assert [json.loads(row) for row in used.get(url, headers={"accept": NDJSON}).text.splitlines()] == items
    arrow = pl.read_ipc_stream(BytesIO(used.get(url, headers={"accept": ARROW}).content))
    assert arrow["data_input_tokens"].to_list() == [300] * 5
    assert arrow.equals(pl.read_parquet(BytesIO(used.get(url, headers={"accept": PARQUET}).content)))
    csv = pl.read_csv(used.get(url, headers={"accept": "text/csv"}).content, infer_schema=False)
    assert csv["id"].to_list() == [e["id"] for e in items]


def test_a_line_says_what_is_behind_it(used: httpx2.Client) -> None:
    run = rate(used)
    line = usage_line(used, run)
    explained = used.get(f"/v1/charge-lines/{line['line']}/explain").json()
    assert explained["events_behind"] == {
        "count": 5,
        "first": _at(0),
        "last": _at(4),
        "unknown": None,
        "download": f"/v1/charge-lines/{line['line']}/events?run={run['id']}",
    }
    assert (
        explained["steps"][0]["text"] == "5 events of acme by meter tokens (sum of input_tokens), model big, in 2026-10"
    )
    [fee] = [one for one in lines_of(used, run) if one["kind"] == "fee"]
    assert used.get(f"/v1/charge-lines/{fee['line']}/explain").json()["events_behind"] is None
    assert used.get(f"/v1/charge-lines/{fee['line']}/events").json() == {"items": [], "next": None}


@pytest.mark.parametrize("path", ["/v1/rating-runs/run_x/rated-events", "/v1/charge-lines/x/events"])
def test_what_is_not_there_is_not_found(sold: httpx2.Client, path: str) -> None:
    assert sold.get(path).status_code == 404


def test_a_line_of_another_run_is_not_found(used: httpx2.Client) -> None:
    assert used.get(f"/v1/rating-runs/{rate(used)['id']}/rated-events", params={"line": "x"}).status_code == 404


def test_a_run_sees_the_backfills_that_it_counted(used: httpx2.Client) -> None:
    """Committed behind the run, a backfill changes nothing of it; nor does reverting one that it counted."""
    run = rate(used)
    before = shares_of(used, run)
    key = opened(used)
    load(used, key, tokens("b", 7))
    step(used, key, "commit")
    assert shares_of(used, run) == before
    after = rate(used)
    assert [(s["id"], s["quantity"]) for s in shares_of(used, after) if s["id"] is not None] == [("b", "7")]
    step(used, key, "revert")
    assert [(s["id"], s["quantity"]) for s in shares_of(used, after) if s["id"] is not None] == [("b", "7")]
    assert shares_of(used, run) == before


def test_a_run_whose_backfill_is_gone_is_refused(used: httpx2.Client, settings: Settings) -> None:
    key = opened(used)
    load(used, key, tokens("b", 7))
    step(used, key, "commit")
    run = rate(used)
    step(used, key, "revert")
    shutil.rmtree(settings.data / "backfills" / key)
    answer = used.get(f"/v1/rating-runs/{run['id']}/rated-events")
    assert answer.status_code == 409
    assert "its directory is gone" in answer.json()["detail"]
