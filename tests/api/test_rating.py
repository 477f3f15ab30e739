"""From posted events to charge lines over HTTP, and back from a line to its arithmetic."""

from decimal import Decimal
from io import BytesIO
from typing import Any

import httpx2
import polars as pl
import pytest

from tests.api.conftest import CATALOG, event
from tests.api.test_events import post

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"


@pytest.fixture
def used(sold: httpx2.Client) -> httpx2.Client:
    big = [event(str(i), data={"model": "big", "input_tokens": 300}) for i in range(5)]
    post(sold, *big, event("small", data={"model": "small", "input_tokens": 9}), event("stranger", subject="x"))
    return sold


def rate(client: httpx2.Client, period: str = "2026-10") -> dict[str, Any]:
    answer = client.post("/v1/rating-runs", json={"period": period})
    assert answer.status_code == 201, answer.text
    run: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/rating-runs/{run['id']}"
    return run


def lines_of(client: httpx2.Client, run: dict[str, Any], **params: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get(f"/v1/rating-runs/{run['id']}/lines", params=params).json()["items"]
    return items


def test_a_run_makes_the_lines_and_reports_the_rest(used: httpx2.Client) -> None:
    """1,500 big tokens: 1,000 x 2.50 / 1,000 + 500 x 1 / 1,000 = 3.00; and the fee of 20."""
    run = rate(used)
    assert run["status"] == "done"
    amounts = {line["price"]: (line["quantity"], line["amount"], line["events"]) for line in lines_of(used, run)}
    assert amounts == {"tokens/big": ("1500", "3", 5), "fee": ("0", "20", 0)}
    assert run["report"]["totals"] == [
        {"currency": "USD", "lines": 2, "amount": "23", "rounded_amount": "23", "drift": "0"}
    ]
    assert run["report"]["unsubscribed"]["events"] == 1
    assert "small" in str(run["report"]["unpriced"])
    assert used.get(f"/v1/rating-runs/{run['id']}").json() == run


def test_the_same_run_again_has_the_same_lines_and_digest(used: httpx2.Client) -> None:
    first, second = rate(used), rate(used)
    assert first["id"] != second["id"]
    assert first["digest"] == second["digest"]
    assert [{**line, "run": ""} for line in lines_of(used, first)] == [
        {**line, "run": ""} for line in lines_of(used, second)
    ]
    listed = used.get("/v1/rating-runs", params={"period": "2026-10", "limit": 1}).json()
    assert len(listed["items"]) == 1
    rest = used.get("/v1/rating-runs", params={"after": listed["next"]}).json()["items"]
    assert {listed["items"][0]["id"], rest[0]["id"]} == {first["id"], second["id"]}


def test_lines_are_the_same_in_every_format(used: httpx2.Client) -> None:
    run = rate(used)
    url = f"/v1/rating-runs/{run['id']}/lines"

    def read(media: str) -> bytes:
        answer = used.get(url, headers={"accept": media})
        assert answer.headers["content-type"].startswith(media)
        return answer.content

    arrow = pl.read_ipc_stream(BytesIO(read(ARROW)))
    assert arrow.equals(pl.read_parquet(BytesIO(read(PARQUET))))
    csv = pl.read_csv(read("text/csv"), infer_schema=False)
    assert [Decimal(amount) for amount in csv["amount"]] == arrow["amount"].to_list()
    assert [Decimal(line["amount"]) for line in lines_of(used, run)] == arrow["amount"].to_list()
    assert arrow["line"].is_sorted()


def test_lines_come_in_pages_and_by_customer(used: httpx2.Client) -> None:
    run = rate(used)
    first = used.get(f"/v1/rating-runs/{run['id']}/lines", params={"limit": 1}).json()
    second = used.get(f"/v1/rating-runs/{run['id']}/lines", params={"limit": 1, "after": first["next"]}).json()
    assert [line["line"] for line in first["items"] + second["items"]] == [
        line["line"] for line in lines_of(used, run, customer="acme")
    ]
    assert lines_of(used, run, customer="nobody") == []


def test_a_line_is_explained_to_the_last_step(used: httpx2.Client) -> None:
    runs = [rate(used), rate(used)]
    [line] = [line for line in lines_of(used, runs[0]) if line["kind"] == "usage"]
    explained = used.get(f"/v1/charge-lines/{line['line']}/explain").json()
    assert explained["run"] == max(run["id"] for run in runs)  # both started at the same fixed instant
    assert explained["events"] == 5
    assert [step["name"] for step in explained["steps"]] == ["meter", "rate", "tier", "tier", "sum", "round"]
    assert explained["steps"][-1]["result"] == "3 USD"
    for run in runs:
        as_run = used.get(f"/v1/charge-lines/{line['line']}/explain", params={"run": run["id"]}).json()
        where = {"download": f"/v1/charge-lines/{line['line']}/events?run={run['id']}"}
        assert as_run == {**explained, "run": run["id"], "events_behind": {**explained["events_behind"], **where}}


@pytest.mark.parametrize(
    ("period", "says"),
    [
        pytest.param("2026-13", "is not a month", id="a 13th month"),
        pytest.param("october", "write it like 2026-10", id="a name"),
        pytest.param("", "is not a month", id="nothing"),
    ],
)
def test_a_period_that_is_no_month_is_refused(used: httpx2.Client, period: str, says: str) -> None:
    answer = used.post("/v1/rating-runs", json={"period": period})
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert used.get("/v1/rating-runs").json()["items"] == []


def test_rating_without_a_catalog_is_refused(client: httpx2.Client) -> None:
    answer = client.post("/v1/rating-runs", json={"period": "2026-10"})
    assert answer.status_code == 422
    assert "no catalog is in force" in answer.json()["detail"]


def test_an_amount_that_does_not_fit_fails_the_run_and_says_so(sold: httpx2.Client) -> None:
    dear = {"meter": "tokens", "currency": "USD", "model": "per_unit", "versions": [{"unit_amount": "999999999999"}]}
    plans = {**CATALOG["plans"], "pro": {"currency": "USD", "prices": ["dear"]}}
    sold.put("/v1/catalog", json={**CATALOG, "prices": {**CATALOG["prices"], "dear": dear}, "plans": plans})
    post(sold, event("1", data={"input_tokens": 10**15}))
    answer = sold.post("/v1/rating-runs", json={"period": "2026-10"})
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:tallystick:problem:amount-overflow"
    [run] = sold.get("/v1/rating-runs").json()["items"]
    assert run["status"] == "failed"
    lines = sold.get(f"/v1/rating-runs/{run['id']}/lines")
    assert lines.status_code == 422
    assert "is failed" in lines.json()["detail"]


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/v1/rating-runs/run_none", None, 404),
        ("/v1/rating-runs/run_none/lines", None, 404),
        ("/v1/charge-lines/none/explain", None, 404),
        ("/v1/rating-runs/run_none/lines", "image/png", 406),
    ],
)
def test_what_is_not_there_is_said_so(used: httpx2.Client, path: str, accept: str | None, status: int) -> None:
    headers = {"accept": accept} if accept else {}
    assert used.get(path, headers=headers).status_code == status
