"""Usage goes in over HTTP: every event is accepted or named, and nothing is counted twice."""

import gzip
import json
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from typing import Any

import httpx2
import polars as pl
import pytest

from tests.api.conftest import CATALOG, NOW, event

BATCH = "application/cloudevents-batch+json"
ARROW = "application/vnd.apache.arrow.stream"


def post(client: httpx2.Client, *events: Any) -> httpx2.Response:
    return client.post("/v1/events", content=json.dumps(list(events)), headers={"content-type": BATCH})


def counted(client: httpx2.Client) -> tuple[str, int]:
    """Quantity and events of everything that was accepted."""
    items = client.get("/v1/meters/tokens/usage").json()["items"]
    return (items[0]["quantity"], items[0]["events"]) if items else ("0", 0)


def test_a_batch_is_accepted_and_seen_by_the_next_query(sold: httpx2.Client) -> None:
    answer = post(sold, event("1"), event("2", data={"model": "big", "input_tokens": "0.000000001"}))
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 2, "duplicates": 0, "conflicts": 0, "rejected": 0, "events": []}
    assert counted(sold) == ("100.000000001", 2)


def test_one_event_is_accepted_by_itself(sold: httpx2.Client) -> None:
    headers = {"content-type": "application/cloudevents+json"}
    answer = sold.post("/v1/events", content=json.dumps(event("1")), headers=headers)
    assert answer.json()["accepted"] == 1


def test_sending_twice_counts_once(sold: httpx2.Client) -> None:
    post(sold, event("1"), event("2"))
    answer = post(sold, event("1"), event("2"), event("3"))
    assert answer.status_code == 200
    assert (answer.json()["accepted"], answer.json()["duplicates"]) == (1, 2)
    assert [(e["index"], e["id"], e["verdict"]) for e in answer.json()["events"]] == [
        (0, "1", "duplicate"),
        (1, "2", "duplicate"),
    ]
    assert counted(sold) == ("300", 3)


def test_the_same_identity_with_another_body_is_a_conflict_and_the_first_stands(sold: httpx2.Client) -> None:
    post(sold, event("1"))
    answer = post(sold, event("1", data={"model": "big", "input_tokens": 999}))
    assert answer.status_code == 422
    assert answer.json()["conflicts"] == 1
    assert answer.json()["events"][0]["verdict"] == "conflict"
    assert counted(sold) == ("100", 1)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        pytest.param(event(None), "missing_id", id="no id"),
        pytest.param(event(""), "missing_id", id="an empty id"),
        pytest.param(event(source=None), "missing_source", id="no source"),
        pytest.param(event(type=None), "missing_type", id="no type"),
        pytest.param(event(subject=None), "missing_subject", id="no subject"),
        pytest.param(event(time="2026-10-10T10:00:00"), "time_without_zone", id="a time in no zone"),
        pytest.param(event(time="soon"), "invalid_time", id="a time that is none"),
        pytest.param(
            event(time=(NOW + timedelta(hours=2)).isoformat()), "time_in_future", id="a time far in the future"
        ),
        pytest.param(event(specversion="0.3"), "unsupported_specversion", id="another CloudEvents version"),
        pytest.param(event(data={"input_tokens": "NaN"}), "not_a_number", id="a quantity that is NaN"),
        pytest.param(event(data={"input_tokens": "many"}), "not_a_number", id="a quantity of letters"),
        pytest.param(event(data={"input_tokens": True}), "not_a_number", id="a quantity that is true"),
        pytest.param(event(data={"input_tokens": [1]}), "not_a_number", id="a quantity that is a list"),
        pytest.param(event(data={"input_tokens": 10**15 + 1}), "number_out_of_range", id="a quantity too large"),
        pytest.param(event(data={"input_tokens": "1.0000000001"}), "too_many_decimals", id="ten decimals"),
        pytest.param(event(data={"model": {"name": "big"}}), "not_a_string", id="a dimension that is an object"),
        pytest.param("text", "malformed_event", id="an event that is no object"),
    ],
)
def test_a_bad_event_is_named_and_the_others_are_kept(sold: httpx2.Client, bad: Any, code: str) -> None:
    answer = post(sold, event("a"), bad, event("b"))
    assert answer.status_code == 207
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (2, 1)
    [named] = answer.json()["events"]
    assert (named["index"], named["verdict"], named["code"]) == (1, "rejected", code)
    assert named["message"]
    alone = post(sold, bad)
    assert alone.status_code == 422
    assert counted(sold) == ("200", 2)


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        pytest.param(b"[]", "text/plain", 415, id="another content type"),
        pytest.param(b"[]", None, 415, id="no content type"),
        pytest.param(b"a,a\n1,2", "text/csv", 400, id="CSV with a column twice"),
        pytest.param(b"PAR1", "application/vnd.apache.parquet", 400, id="no Parquet file"),
        pytest.param(b"", BATCH, 400, id="an empty body"),
        pytest.param(b"{", BATCH, 400, id="half of a body"),
        pytest.param(b'[{"id": NaN}]', BATCH, 400, id="a NaN in JSON"),
        pytest.param(b"\xff\xfe[", BATCH, 400, id="not UTF-8"),
        pytest.param(b"[" * 200_000, BATCH, 400, id="nested without end"),
        pytest.param(b"no stream", ARROW, 400, id="no Arrow stream"),
        pytest.param(b" " * ((1 << 20) + 1), BATCH, 413, id="one byte too large"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_problem_document(
    sold: httpx2.Client, content: bytes, content_type: str | None, status: int
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = sold.post("/v1/events", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert counted(sold) == ("0", 0)


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(sold: httpx2.Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 100 << 20:
            sent += 1 << 16
            yield b" " * (1 << 16)

    answer = sold.post("/v1/events", content=endless(), headers={"content-type": BATCH})
    assert answer.status_code == 413
    assert answer.json()["detail"] == "the body is larger than 1048576 bytes; send it in smaller parts"


def test_an_arrow_stream_is_accepted_like_json(sold: httpx2.Client) -> None:
    frame = pl.DataFrame(
        {
            "id": ["1", "2"],
            "source": ["gateway"] * 2,
            "type": ["llm.request"] * 2,
            "subject": ["acme"] * 2,
            "time": [NOW, NOW],
            "model": ["big"] * 2,
            "input_tokens": pl.Series(["7", "0.5"]).cast(pl.Decimal(38, 9)),
        }
    )
    stream = BytesIO()
    frame.write_ipc_stream(stream)
    answer = sold.post("/v1/events", content=stream.getvalue(), headers={"content-type": ARROW})
    assert answer.json()["accepted"] == 2
    assert counted(sold) == ("7.5", 2)


def test_events_of_unknown_subjects_are_accepted(sold: httpx2.Client) -> None:
    assert post(sold, event("1", subject="stranger")).json()["accepted"] == 1


def test_events_before_any_catalog_are_kept_and_counted_later(client: httpx2.Client) -> None:
    assert post(client, event("1")).json()["accepted"] == 1
    client.put("/v1/catalog", json=CATALOG)
    assert counted(client) == ("100", 1)


def test_a_cloudevent_in_binary_mode_is_accepted(sold: httpx2.Client) -> None:
    attributes = {f"ce-{name}": value for name, value in event("1").items() if name != "data"}
    headers = {"content-type": "application/json", **attributes}
    answer = sold.post("/v1/events", content=b'{"model": "big", "input_tokens": 1.50}', headers=headers)
    assert answer.json()["accepted"] == 1
    again = sold.post("/v1/events", content=gzip.compress(b'{"model": "big", "input_tokens": 1.5}'),
                      headers={**headers, "content-encoding": "gzip"})  # fmt: skip
    assert again.json()["duplicates"] == 1
    assert counted(sold) == ("1.5", 1)


@pytest.mark.parametrize(
    ("content", "encoding", "status", "slug"),
    [
        pytest.param(gzip.compress(json.dumps([event("1")]).encode()), "gzip", 200, None, id="gzip"),
        pytest.param(gzip.compress(b" " * (50 << 20)), "gzip", 413, "inflated-too-large", id="a bomb"),
        pytest.param(b"[]", "br", 415, "unsupported-encoding", id="an unknown encoding"),
        pytest.param(b"[]", "gzip", 400, "unreadable-body", id="not what it says"),
    ],
)
def test_a_packed_body(sold: httpx2.Client, content: bytes, encoding: str, status: int, slug: str | None) -> None:
    headers = {"content-type": BATCH, "content-encoding": encoding}
    answer = sold.post("/v1/events", content=content, headers=headers)
    assert answer.status_code == status
    assert slug is None or answer.json()["type"] == f"urn:tallystick:problem:{slug}"
