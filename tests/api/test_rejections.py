"""Refused events over HTTP and the command line: listed, downloaded, corrected, replayed; and batches whole or not."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.cli import main
from tests.api.conftest import event
from tests.api.test_events import counted, post

NDJSON = "application/x-ndjson"


def replay(client: httpx2.Client, **wanted: Any) -> Any:
    answer = client.post("/v1/rejections/replay", json=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_refused_event_is_listed_shown_and_downloaded(sold: httpx2.Client) -> None:
    posted = post(sold, event("1"), event("2", time="soon"), event("3", subject=""))
    request_id = posted.headers["x-request-id"]
    first, second = sold.get("/v1/rejections").json()["items"]
    assert (first["rejection"], first["code"], first["id"], first["index"]) == (1, "invalid_time", "2", 1)
    assert first["request_id"] == second["request_id"] == request_id
    assert json.loads(first["body"]) == event("2", time="soon")
    assert sold.get("/v1/rejections/2").json() == second
    assert sold.get("/v1/rejections", params={"code": "invalid_time"}).json()["items"] == [first]
    lines = sold.get("/v1/rejections", headers={"accept": NDJSON}).text.splitlines()
    assert [json.loads(line) for line in lines] == [first, second]
    page = sold.get("/v1/rejections", params={"limit": 1}).json()
    assert sold.get("/v1/rejections", params={"limit": 1, "after": page["next"]}).json()["items"] == [second]


def test_a_caller_may_name_its_request(sold: httpx2.Client) -> None:
    headers = {"content-type": "application/json", "x-request-id": "mine-1"}
    answer = sold.post("/v1/events", content=json.dumps(event("1", subject="")), headers=headers)
    assert answer.headers["x-request-id"] == "mine-1"
    assert sold.get("/v1/rejections/1").json()["request_id"] == "mine-1"


def test_a_corrected_event_counts_once(sold: httpx2.Client) -> None:
    post(sold, event("1", time="soon"), event("2", time="soon"))
    corrections = {"1": {"time": "2026-10-10T10:00:00Z", "data": {"input_tokens": "0.5"}}}
    answer = replay(sold, filter={}, corrections=corrections)
    assert (answer["accepted"], answer["rejected"], answer["next"]) == (1, 1, None)
    assert answer["events"][0]["rejection"] == 2
    assert counted(sold) == ("0.5", 1)
    again = replay(sold, rejections=[1], corrections=corrections)
    assert (again["accepted"], again["already_replayed"]) == (0, 1)
    assert [r["rejection"] for r in sold.get("/v1/rejections", params={"replayed": False}).json()["items"]] == [2]
    assert counted(sold) == ("0.5", 1)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("[]", 422),
        ("{}", 422),
        ('{"rejections": [1], "filter": {}}', 422),
        ('{"rejections": [0]}', 422),
        ('{"rejections": [9]}', 404),
        ('{"filter": {"unknown": 1}}', 422),
        ('{"filter": {}, "corrections": {"x": {}}}', 422),
        ('{"filter": {}, "limit": 0}', 422),
        ('{"rejections": [1], "corrections": {"1": %s}}' % ('{"a":' * 5000 + "1" + "}" * 5000), 400),
    ],
)
def test_a_replay_that_makes_no_sense_is_refused(sold: httpx2.Client, body: str, status: int) -> None:
    post(sold, event("1", subject=""))
    assert sold.post("/v1/rejections/replay", content=body).status_code == status


def test_an_atomic_batch_with_a_bad_event_is_not_kept_at_all(sold: httpx2.Client) -> None:
    content = json.dumps([event("1"), event("2", time="soon")])
    headers = {"content-type": "application/json"}
    answer = sold.post("/v1/events?atomic=true", content=content, headers=headers)
    assert answer.status_code == 422
    assert [e["code"] for e in answer.json()["events"]] == ["not_committed_atomic", "invalid_time"]
    assert counted(sold) == ("0", 0)
    assert sold.get("/v1/rejections").json()["items"] == []
    assert sold.post("/v1/events?atomic=perhaps", content=content, headers=headers).status_code == 422


def test_the_command_line_does_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TALLYSTICK_URL", raising=False)
    data, bad = str(tmp_path / "data"), tmp_path / "bad.ndjson"
    bad.write_text(json.dumps(event("1", time="soon")))

    def run(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = 0
        try:
            main([*arguments, "--data", data, "--json"])
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, json.loads(capsys.readouterr().out)

    assert run("ingest", str(bad))[0] == 65
    assert [item["code"] for item in run("rejections", "list", "--waiting")[1]["items"]] == ["invalid_time"]
    assert run("rejections", "show", "1")[1]["id"] == "1"
    target = tmp_path / "rejections.ndjson"
    assert run("rejections", "download", str(target))[1]["rejections"] == 1
    assert json.loads(target.read_text())["rejection"] == 1
    assert run("rejections", "replay", "1")[0] == 65
    patches = tmp_path / "patches.json"
    patches.write_text('{"1": {"time": "2026-10-10T10:00:00Z"}}')
    code, answer = run("rejections", "replay", "--all", "--corrections", str(patches))
    assert (code, answer["accepted"]) == (0, 1)
    assert run("rejections", "replay")[0] == 2
