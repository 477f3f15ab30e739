"""Many quota checks in one body: JSON and Arrow, in order, each as if it were asked alone."""

import io
import json
import re
from decimal import Decimal
from typing import Any

import httpx2
import polars as pl
import pytest

from api.frames import ARROW
from api.quota_questions import CHECKS_MAX, read_questions
from ingest.errors import UnreadableBody
from ingest.limits import IngestLimits
from rating.core.quota.seam import QUOTA_ANSWERED, QUOTA_ASKED
from store.errors import Refused
from tests.api.test_quota import use

ITEMS = [
    {"subject": "acme", "feature": "tokens", "amount": "500"},
    {"subject": "acme", "feature": "tokens", "amount": "500.000000001"},
    {"subject": "nobody", "feature": "tokens"},
    {"subject": "acme", "feature": "images", "amount": "1"},
    {"subject": "acme", "feature": "tokens"},
]
REASONS = ["allowed", "would_exceed", "not_entitled", "not_entitled", "allowed"]
AMOUNTS = ["500", "500.000000001", "0", "1", "0"]


def stream(columns: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(columns).write_ipc_stream(out)
    return out.getvalue()


def ask_table(client: httpx2.Client, columns: dict[str, Any], **headers: str) -> httpx2.Response:
    return client.post("/v1/quota/check", content=stream(columns), headers={"content-type": ARROW, **headers})


def test_answers_come_in_the_order_of_the_questions(sold: httpx2.Client) -> None:
    use(sold, "1", 1500)
    answer = sold.post("/v1/quota/check", json={"items": ITEMS})
    assert answer.status_code == 200
    items = answer.json()["items"]
    assert [item["reason"] for item in items] == REASONS
    assert [item["amount"] for item in items] == AMOUNTS
    assert [item["allowed"] for item in items] == [True, False, False, False, True]
    assert items[0] == {
        "subject": "acme", "feature": "tokens", "amount": "500", "allowed": True, "reason": "allowed",
        "customer": "acme", "scope": "customer", "limit": "2000", "used": "1500", "reserved": "0", "remaining": "500",
        "resets_at": "2026-11-01T00:00:00Z",
    }  # fmt: skip


@pytest.mark.parametrize(
    "amounts",
    [
        pytest.param(pl.Series(AMOUNTS).cast(pl.Decimal(38, 9)), id="decimals"),
        pytest.param(pl.Series(AMOUNTS), id="text"),
        pytest.param(pl.Series(["500", "500.000000001", None, "1", None]), id="text, without is none"),
    ],
)
def test_a_table_is_answered_by_a_table(sold: httpx2.Client, amounts: pl.Series) -> None:
    use(sold, "1", 1500)
    columns = {name: [item[name] for item in ITEMS] for name in ("subject", "feature")}
    answer = ask_table(sold, {**columns, "amount": amounts})
    assert (answer.status_code, answer.headers["content-type"]) == (200, ARROW)
    frame = pl.read_ipc_stream(answer.content)
    assert frame.schema == QUOTA_ANSWERED
    assert frame["reason"].to_list() == REASONS
    assert frame["amount"].to_list() == [Decimal(amount) for amount in AMOUNTS]
    as_json = ask_table(sold, {**columns, "amount": amounts}, accept="application/json").json()
    assert as_json == sold.post("/v1/quota/check", json={"items": ITEMS}).json()


def test_a_table_may_leave_amounts_out_or_give_whole_numbers(sold: httpx2.Client) -> None:
    one = {"subject": ["acme"], "feature": ["tokens"]}
    assert pl.read_ipc_stream(ask_table(sold, one).content)["amount"].to_list() == [0]
    assert pl.read_ipc_stream(ask_table(sold, {**one, "amount": [7]}).content)["amount"].to_list() == [7]


def test_no_question_has_no_answer(sold: httpx2.Client) -> None:
    assert sold.post("/v1/quota/check", json={"items": []}).json() == {"items": []}
    empty = ask_table(sold, {"subject": pl.Series([], dtype=pl.String), "feature": pl.Series([], dtype=pl.String)})
    assert pl.read_ipc_stream(empty.content).schema == QUOTA_ANSWERED


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        pytest.param(b"{", UnreadableBody, "not JSON", id="half an object"),
        pytest.param(b"{}", Refused, "items", id="without items"),
        pytest.param(b'{"items": [{"subject": "a"}]}', Refused, "$.items[0]", id="without a feature"),
        pytest.param(b'{"items": [{"subject": "a", "feature": "b", "amount": 5}]}', Refused, "amount", id="a number"),
        pytest.param(b'{"items": [{"subject": "a", "feature": "b", "amount": "-1"}]}', Refused, "amount", id="minus"),
        pytest.param(b'{"items": [{"subject": "a", "feature": "b", "amount": "1\\n"}]}', Refused, "amount", id="line"),
        pytest.param(b'{"items": [{"subject": "a", "feature": "b", "max": "1"}]}', Refused, "max", id="unknown field"),
        pytest.param(b'{"items": ' + b"[" * 5000 + b"]" * 5000 + b"}", Refused, "items", id="deep"),
    ],
)
def test_a_body_that_asks_nothing_clear_is_refused(body: bytes, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=re.escape(says)):
        read_questions(body, "application/json; charset=utf-8", "", IngestLimits())


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        pytest.param({"subject": ["a"]}, "'feature'", id="without features"),
        pytest.param({"subject": ["a"], "feature": ["b"], "max": [1]}, "'max'", id="an unknown column"),
        pytest.param({"subject": [None], "feature": ["b"]}, "send strings", id="no text"),
        pytest.param({"subject": ["a", None], "feature": ["b", "c"]}, "row 1", id="a subject is missing"),
        pytest.param({"subject": ["a"], "feature": ["b"], "amount": [1.5]}, "Float64", id="floats"),
        pytest.param({"subject": ["a"], "feature": ["b"], "amount": [-1]}, "-1 in row 0", id="negative"),
        pytest.param({"subject": ["a"] * 2, "feature": ["b"] * 2, "amount": ["1", "x"]}, "x in row 1", id="no number"),
        pytest.param({"subject": ["a"], "feature": ["b"], "amount": [Decimal(10**30)]}, "row 0", id="too many digits"),
    ],
)
def test_a_table_that_asks_nothing_clear_is_refused(columns: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused, match=re.escape(says)):
        read_questions(stream(columns), ARROW, "", IngestLimits())


def test_what_is_neither_json_nor_arrow_is_refused(sold: httpx2.Client) -> None:
    for body, kind, status in ((b"a,b", "text/csv", 415), (b"xxxx", ARROW, 400), (b"{", "application/json", 400)):
        assert sold.post("/v1/quota/check", content=body, headers={"content-type": kind}).status_code == status
    assert ask_table(sold, {"subject": ["a"], "feature": ["b"]}, accept="text/html").status_code == 406
    assert sold.post("/v1/quota/check", json={"items": [{}]}).status_code == 422


def test_more_than_the_most_questions_are_refused() -> None:
    items = [{"subject": "acme", "feature": "tokens"}] * (CHECKS_MAX + 1)
    with pytest.raises(Refused, match="items"):
        read_questions(json.dumps({"items": items}).encode(), "application/json", "", IngestLimits())
    found, is_table = read_questions(json.dumps({"items": items[1:]}).encode(), "application/json", "", IngestLimits())
    assert (found.height, found.schema, is_table) == (CHECKS_MAX, QUOTA_ASKED, False)
