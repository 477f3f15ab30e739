"""Corrections over HTTP: what a usage query, a quota check and a rating run say after the answer."""

import json
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.cli import main
from api.engine import Engine
from tests.api.conftest import NOW, event
from tests.api.test_events import counted, post


def void(target: str, key: str | None = None, **changes: Any) -> dict[str, Any]:
    good = {
        "action": "void",
        "corrects": {"source": "gateway", "id": target},
        "source": "desk",
        "id": key or f"void-{target}",
        "reason": "a test",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def replacement(target: str, key: str, tokens: object, **changes: Any) -> dict[str, Any]:
    data = {"model": "big", "input_tokens": tokens}
    return {**void(target, key), "action": "replace", "source": "gateway", "data": data, **changes}


def correct(client: httpx2.Client, *corrections: Any, query: str = "") -> httpx2.Response:
    return client.post(f"/v1/events/corrections{query}", json=list(corrections))


def used(client: httpx2.Client) -> Decimal:
    answer = client.get("/v1/quota/acme/tokens").json()
    return Decimal(answer["used"])


def test_one_correction_is_taken_by_itself(sold: httpx2.Client) -> None:
    post(sold, event("1"))
    answer = sold.post("/v1/events/corrections", json=void("1"), headers={"x-request-id": "mine-1"})
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 1, "duplicates": 0, "conflicts": 0, "rejected": 0, "events": []}
    assert answer.headers["x-request-id"] == "mine-1"
    assert counted(sold) == ("0", 0)


def test_the_status_says_how_much_was_kept(sold: httpx2.Client) -> None:
    post(sold, event("1"), event("2"))
    assert correct(sold, void("9")).status_code == 422
    mixed = correct(sold, void("1"), void("9"))
    assert mixed.status_code == 207
    [refused] = mixed.json()["events"]
    assert (refused["index"], refused["source"], refused["id"]) == (1, "desk", "void-9")
    assert (refused["verdict"], refused["code"]) == ("rejected", "unknown_target")
    assert correct(sold, void("1")).json()["duplicates"] == 1
    assert correct(sold, void("1", reason="another")).json()["conflicts"] == 1
    atomic = correct(sold, void("2"), void("9"), query="?atomic=true")
    assert atomic.status_code == 422
    assert [e["code"] for e in atomic.json()["events"]] == ["not_committed_atomic", "unknown_target"]
    assert counted(sold) == ("100", 1)


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        ("{", {"content-type": "application/json"}, 400),
        ("[", {"content-type": "application/json"}, 400),
        ("1", {"content-type": "application/json"}, 422),
        ("[]", {"content-type": "application/json"}, 200),
        ("{}", {"content-type": "application/json"}, 422),
        ("{}", {"content-type": "application/x-ndjson"}, 415),
        ("{}", {}, 415),
        ("{}", {"content-type": "application/json", "content-encoding": "br"}, 415),
        ('{"reason": "\\ud800"}', {"content-type": "application/json"}, 400),
        (b'{"reason": "\xff"}', {"content-type": "application/json"}, 422),
        (" " * (1 << 20) + "{}", {"content-type": "application/json"}, 413),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(
    sold: httpx2.Client, content: Any, headers: dict[str, str], status: int
) -> None:
    answer = sold.post("/v1/events/corrections", content=content, headers=headers)
    assert answer.status_code == status, answer.text


def test_the_next_check_and_query_see_it(sold: httpx2.Client) -> None:
    post(sold, event("1", data={"model": "big", "input_tokens": "0.1"}), event("2"), event("3"))
    assert used(sold) == Decimal("200.1")
    assert correct(sold, void("1"), replacement("2", "2b", "40.25"), replacement("2b", "2c", 41)).status_code == 200
    assert used(sold) == 141
    assert counted(sold) == ("141", 2)
    assert correct(sold, replacement("3", "3b", 7, subject="nobody")).status_code == 200
    assert used(sold) == 41
    assert correct(sold, replacement("2c", "2d", 1, time="2026-09-30T23:59:59Z")).status_code == 200
    assert used(sold) == 0


def test_counters_are_those_of_a_count_of_the_whole_log(sold: httpx2.Client, engine: Engine) -> None:
    post(sold, *(event(str(key), data={"model": "big", "input_tokens": f"{key}.{key:09}"}) for key in range(40)))
    used(sold)
    engine.log.flush()
    post(sold, *(event(f"late {key}") for key in range(5)))
    correct(sold, *(void(str(key)) for key in range(10)), *(replacement(f"late {k}", f"l{k}", k) for k in range(5)))
    correct(sold, *(replacement(str(key), f"{key}b", f"0.{key}") for key in range(10, 20)))
    moved = used(sold)
    engine.quota.terms_changed()
    assert used(sold) == moved == sum((Decimal(f"{k}.{k:09}") for k in range(20, 40)), Decimal("1.45") + 10)


def test_a_limit_that_is_reached_again_behind_a_correction_is_signalled_again(
    sold: httpx2.Client, engine: Engine
) -> None:
    post(sold, event("1", data={"model": "big", "input_tokens": 2500}))
    correct(sold, void("1"))
    check = sold.get("/v1/quota/acme/tokens").json()
    assert (check["allowed"], check["used"]) == (True, "0")
    engine.quota.tick(NOW)
    post(sold, event("2", data={"model": "big", "input_tokens": 2000}))
    told = [(s["type"], s["data"].get("because")) for s in sold.get("/v1/signals").json()["items"]]
    assert told[:3] == [("quota.exhausted", None), ("quota.negative", None), ("quota.restored", "correction")]
    assert told[3:] == [("quota.exhausted", None)]
    assert not sold.get("/v1/quota/acme/tokens").json()["allowed"]


def test_a_replacement_may_reach_a_limit(sold: httpx2.Client) -> None:
    post(sold, event("1"))
    correct(sold, replacement("1", "1b", 2000))
    [signal] = sold.get("/v1/signals").json()["items"]
    assert signal["data"]["event"] == {"source": "gateway", "id": "1b"}


def test_a_rating_run_rates_what_is_in_force(sold: httpx2.Client) -> None:
    post(sold, event("1", data={"model": "big", "input_tokens": 1000}), event("2"))
    correct(sold, void("2"), replacement("1", "1b", 400))
    run = sold.post("/v1/rating-runs", json={"period": "2026-10"}).json()
    lines = sold.get(f"/v1/rating-runs/{run['id']}/lines").json()["items"]
    assert [line["quantity"] for line in lines if line["price"] == "tokens/big"] == ["400"]


def test_checks_never_see_half_a_replacement(sold: httpx2.Client) -> None:
    post(sold, event("0"))
    seen: set[Decimal] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.add(used(sold))
            seen.add(Decimal(counted(sold)[0]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for step in range(10):
        assert correct(sold, replacement(str(step), str(step + 1), 100)).status_code == 200
    done.set()
    watcher.join()
    assert seen == {Decimal(100)}


def test_the_list_is_an_audit(sold: httpx2.Client, engine: Engine) -> None:
    post(sold, event("1"), event("2"))
    correct(sold, void("1"), replacement("2", "2b", "1.50", subject="other"))
    engine.log.flush()
    correct(sold, void("2b", reason=None))
    first, second, third = sold.get("/v1/events/corrections").json()["items"]
    assert first == {
        "sequence": 3,
        "source": "desk",
        "id": "void-1",
        "action": "void",
        "corrects": {"source": "gateway", "id": "1"},
        "type": "llm.request",
        "subject": "acme",
        "time": "2026-10-10T10:00:00Z",
        "data": None,
        "reason": "a test",
        "received_at": NOW.isoformat().replace("+00:00", "Z"),
        "backfill": None,
        "has_ended": False,
    }
    assert (second["action"], second["subject"], second["data"]) == (
        "replace",
        "other",
        {"model": "big", "input_tokens": 1.5},
    )
    assert (third["corrects"]["id"], third["reason"]) == ("2b", None)
    page = sold.get("/v1/events/corrections", params={"limit": 2}).json()
    assert (len(page["items"]), page["next"]) == (2, 4)
    rest = sold.get("/v1/events/corrections", params={"limit": 2, "after": page["next"]}).json()
    assert (rest["items"], rest["next"]) == ([third], None)
    of_one = sold.get("/v1/events/corrections", params={"source": "gateway", "id": "2b"}).json()["items"]
    assert of_one == [third]


def test_a_refused_correction_can_be_mended_and_sent_again(sold: httpx2.Client) -> None:
    correct(sold, replacement("1", "1b", 5), void("2"))
    kept = sold.get("/v1/rejections").json()["items"]
    assert [(one["code"], one["id"]) for one in kept] == [("unknown_target", "1b"), ("unknown_target", "void-2")]
    assert json.loads(kept[0]["body"]) == replacement("1", "1b", 5)
    post(sold, event("1"), event("3"), event("4", subject=""))
    patches = {"2": {"corrects": {"id": "3"}}, "3": {"subject": "acme"}}
    answer = sold.post("/v1/rejections/replay", json={"filter": {}, "corrections": patches}).json()
    assert (answer["accepted"], answer["rejected"], answer["next"]) == (3, 0, None)
    assert counted(sold) == ("105", 2)
    assert sold.post("/v1/rejections/replay", json={"rejections": [1, 2, 3]}).json()["already_replayed"] == 3


def test_a_refused_correction_that_is_no_json_stays_refused(sold: httpx2.Client) -> None:
    correct(sold, 5, replacement("1", "1b", "x" * 70_000))
    answer = sold.post("/v1/rejections/replay", json={"filter": {}}).json()
    assert (answer["accepted"], answer["rejected"]) == (0, 2)


def test_the_command_line_does_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TALLYSTICK_URL", raising=False)
    data = str(tmp_path / "data")

    def run(*arguments: str, as_json: bool = True) -> tuple[int, Any]:
        capsys.readouterr()
        code = 0
        try:
            main([*arguments, "--data", data, *(["--json"] if as_json else [])])
        except SystemExit as ended:
            code = int(ended.code or 0)
        out = capsys.readouterr().out
        return code, json.loads(out) if as_json else out

    def written(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    usage = written("usage.ndjson", "\n".join(json.dumps(event(str(key))) for key in range(6)))
    assert run("ingest", usage)[1]["accepted"] == 6
    assert run("events", "corrections")[1] == {"items": []}
    code, answer = run("events", "void", "gateway", "0", "--reason", "a test")
    assert (code, answer["accepted"]) == (0, 1)
    assert run("events", "void", "gateway", "0", "--reason", "a test")[1]["duplicates"] == 1
    assert run("events", "void", "gateway", "99")[0] == 65
    one = written("one.json", json.dumps(replacement("1", "1b", 5), indent=2))
    lines = written("lines.ndjson", f"{json.dumps(void('2'))}\n\n{json.dumps(void('0', 'again'))}\n")
    many = written("many.json", json.dumps([void("3"), replacement("4", "4b", 5)]))
    assert run("events", "correct", one)[1]["accepted"] == 1
    code, answer = run("events", "correct", lines)
    assert (code, answer["accepted"], answer["events"][0]["index"]) == (65, 1, 1)
    assert run("events", "correct", lines, "--atomic")[1]["rejected"] == 1
    assert run("events", "correct", many, as_json=False) == (0, "2 accepted, 0 duplicates, 0 conflicts, 0 rejected\n")
    listed = run("events", "corrections")[1]["items"]
    assert [(c["action"], c["corrects"]["id"]) for c in listed] == [
        ("void", "0"),
        ("replace", "1"),
        ("void", "2"),
        ("void", "3"),
        ("replace", "4"),
    ]
    assert run("events", "corrections", "--source", "gateway", "--id", "4")[1]["items"] == listed[-1:]
    assert "5 corrections" in run("events", "corrections", as_json=False)[1]
    assert run("events", "correct", written("bad.json", "{"))[0] == 65
    assert run("events", "correct", written("empty.json", "[]"))[1]["accepted"] == 0
    assert run("events", "correct", str(tmp_path / "none.json"))[0] == 65
