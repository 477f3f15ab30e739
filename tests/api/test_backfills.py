"""A range of usage is replaced over HTTP: staged, looked at, committed, reverted; and what that does to the bill."""

from io import BytesIO
from typing import Any

import httpx2
import polars as pl
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.api.conftest import NOW, event, is_documented
from tests.api.test_events import counted, post
from tests.api.test_rating import lines_of, rate

OCTOBER = {"from": "2026-10-10T00:00:00Z", "to": "2026-10-12T00:00:00Z"}
PARQUET = "application/vnd.apache.parquet"


def tokens(key: str, number: int, **changes: Any) -> dict[str, Any]:
    return event(key, **{"data": {"model": "big", "input_tokens": number}, **changes})


def opened(client: httpx2.Client, **wanted: Any) -> str:
    answer = client.post("/v1/backfills", json={**OCTOBER, **wanted})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/backfills/{answer.json()['id']}"
    key: str = answer.json()["id"]
    return key


def load(client: httpx2.Client, key: str, *events: Any, status: int = 200) -> dict[str, Any]:
    answer = client.post(f"/v1/backfills/{key}/events", json=list(events))
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def step(client: httpx2.Client, key: str, name: str, status: int = 200) -> dict[str, Any]:
    answer = client.post(f"/v1/backfills/{key}/{name}")
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def preview(client: httpx2.Client, key: str) -> dict[str, Any]:
    answer = client.get(f"/v1/backfills/{key}/preview")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def used(client: httpx2.Client) -> str:
    """What the live counter of quota says."""
    quantity: str = client.get("/v1/quota/acme/tokens").json()["used"]
    return quantity


@pytest.fixture
def posted(sold: httpx2.Client) -> httpx2.Client:
    """100 and 200 tokens in the range, 400 after it."""
    post(sold, tokens("1", 100), tokens("2", 200), tokens("3", 400, time="2026-10-14T00:00:00Z"))
    return sold


def test_a_range_is_replaced_and_counts_again_after_the_revert(posted: httpx2.Client) -> None:
    """100 + 200 + 400 = 700; with 150 and 1,600 in their place 150 + 1,600 + 400 = 2,150."""
    key = opened(posted)
    assert load(posted, key, tokens("1", 150), tokens("new", 1600))["accepted"] == 2
    assert (counted(posted), used(posted)) == (("700", 3), "700")
    committed = step(posted, key, "commit")
    assert (committed["state"], committed["staged_events"]) == ("committed", 2)
    assert (counted(posted), used(posted)) == (("2150", 3), "2150")
    assert step(posted, key, "commit") == committed
    reverted = step(posted, key, "revert")
    assert reverted["state"] == "reverted"
    assert (counted(posted), used(posted)) == (("700", 3), "700")
    assert step(posted, key, "revert") == reverted
    assert step(posted, key, "commit", 409)["type"].endswith("backfill-not-open")


def test_the_preview_is_what_the_commit_gives_and_what_a_run_then_rates(posted: httpx2.Client) -> None:
    """700 tokens cost 700 x 2.50 / 1,000 = 1.75; 2,150 cost 1,000 x 2.50 / 1,000 + 1,150 x 1 / 1,000 = 3.65."""
    key = opened(posted)
    load(posted, key, tokens("1", 150), tokens("new", 1600), tokens("x", 9, subject="stranger"))
    post(posted, tokens("late", 0, time="2026-10-11T00:00:00Z"))
    seen = preview(posted, key)
    assert seen["events"] == {"replaced": 2, "staged": 3, "arrived_since": 1, "superseded": 0, "refused": 0}
    [usage] = [meter for meter in seen["usage"] if meter["meter"] == "tokens"]
    assert (usage["before"], usage["after"], usage["difference"], usage["changed"]) == ("300", "1759", "1459", 2)
    assert usage["largest"][0] == {
        "customer": "acme", "subject": "acme", "before": "300", "after": "1750", "difference": "1450",
        "events_before": 3, "events_after": 3,
    }  # fmt: skip
    [charge] = seen["charges"]
    assert (charge["period"], charge["before"], charge["after"], charge["difference"]) == (
        "2026-10", "21.75", "23.65", "1.9",
    )  # fmt: skip
    before = rate(posted)
    assert before["report"]["totals"][0]["rounded_amount"] == "21.75"
    step(posted, key, "commit")
    assert {**preview(posted, key), "state": "open"} == seen
    after = rate(posted)
    assert after["report"]["totals"][0]["rounded_amount"] == charge["after"]
    assert after["report"]["backfills"] == [key]
    assert posted.get(f"/v1/rating-runs/{before['id']}").json() == before
    assert {line["quantity"] for line in lines_of(posted, before)} == {"0", "700"}
    step(posted, key, "revert")
    assert {**preview(posted, key), "state": "open"} == seen
    assert rate(posted)["digest"] == before["digest"]


def test_the_whole_preview_comes_as_a_table(posted: httpx2.Client) -> None:
    """550 tokens cost 1.375, rounded 1.38, where 700 cost 1.75."""
    key = opened(posted)
    load(posted, key, tokens("1", 150))
    tables = {}
    for part in ("usage", "charges"):
        answer = posted.get(f"/v1/backfills/{key}/preview", params={"part": part}, headers={"accept": PARQUET})
        tables[part] = pl.read_parquet(BytesIO(answer.content))
    assert tables["usage"].filter(meter="tokens").select("subject", "difference").rows() == [("acme", -150)]
    assert [(row["customer"], str(row["difference"])) for row in tables["charges"].to_dicts()] == [("acme", "-0.3700")]


def test_events_outside_the_range_are_rejected_and_the_others_staged(posted: httpx2.Client) -> None:
    key = opened(posted, types=["llm.request"], subjects=["acme", "other"])
    found = load(
        posted,
        key,
        tokens("in", 1),
        tokens("late", 1, time="2026-10-12T00:00:00Z"),
        tokens("no time", 1, time=None),
        tokens("type", 1, type="sms"),
        tokens("subject", 1, subject="stranger"),
        status=207,
    )
    assert (found["accepted"], found["rejected"]) == (1, 4)
    assert {e["code"] for e in found["events"]} == {"outside_backfill"}
    assert [e["index"] for e in found["events"]] == [1, 2, 3, 4]
    assert "has no time" in found["events"][1]["message"]


def test_staged_events_come_in_every_content_type_and_encoding(posted: httpx2.Client) -> None:
    key = opened(posted)
    csv = "id,source,type,subject,time,model,input_tokens\n9,gateway,llm.request,acme,2026-10-10T10:00:00Z,big,1.50\n"
    posted.post(f"/v1/backfills/{key}/events", content=csv, headers={"content-type": "text/csv"})
    headers = {"ce-id": "10", "ce-source": "g", "ce-type": "llm.request", "ce-subject": "acme"}
    headers |= {"ce-specversion": "1.0", "ce-time": "2026-10-10T10:00:00Z", "content-type": "application/json"}
    assert posted.post(f"/v1/backfills/{key}/events", content='{"model": "big"}', headers=headers).status_code == 200
    refused = posted.post(f"/v1/backfills/{key}/events?atomic=true", json=[tokens("a", 1), tokens("b", 1, time="x")])
    assert refused.status_code == 422
    assert posted.get(f"/v1/backfills/{key}").json()["staged_events"] == 2


def test_a_dropped_backfill_is_gone_and_changes_nothing(posted: httpx2.Client, settings: Settings) -> None:
    key = opened(posted)
    load(posted, key, tokens("1", 150))
    dropped = step(posted, key, "drop")
    assert (dropped["state"], dropped["staged_events"]) == ("dropped", None)
    assert step(posted, key, "drop") == dropped
    assert not (settings.data / "backfills" / key).exists()
    assert counted(posted) == ("700", 3)
    for path, method in (("commit", "POST"), ("revert", "POST"), ("preview", "GET")):
        assert posted.request(method, f"/v1/backfills/{key}/{path}").status_code == 409
    assert load(posted, key, tokens("1", 150), status=409)["type"].endswith("backfill-not-open")


def test_ranges_that_overlap_wait_for_each_other_and_are_reverted_newest_first(posted: httpx2.Client) -> None:
    first = opened(posted)
    refused = posted.post("/v1/backfills", json={**OCTOBER, "subjects": ["acme"]})
    assert refused.status_code == 409
    assert first in refused.json()["detail"]
    step(posted, first, "commit")
    second = opened(posted, subjects=["acme"])
    step(posted, second, "commit")
    assert second in step(posted, first, "revert", 409)["detail"]
    assert counted(posted) == ("400", 1)
    step(posted, second, "revert")
    step(posted, first, "revert")
    assert counted(posted) == ("700", 3)


def test_ranges_apart_may_be_open_together_up_to_a_limit(posted: httpx2.Client) -> None:
    keys = [opened(posted, subjects=[f"s{number}"]) for number in range(4)]
    refused = posted.post("/v1/backfills", json={**OCTOBER, "types": ["sms"], "subjects": ["s9"]})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:tallystick:problem:too-many-backfills")
    step(posted, keys[0], "drop")
    opened(posted, subjects=["s9"])


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param({"from": "2026-10-12T00:00:00Z", "to": "2026-10-12T00:00:00Z"}, id="an empty range"),
        pytest.param({"from": "2026-10-12T00:00:00Z", "to": "2026-10-15T12:00:01Z"}, id="in the future"),
        pytest.param({"from": "0001-01-01T00:00:00+14:00", "to": "2026-10-12T00:00:00Z"}, id="since ever"),
        pytest.param({"from": "2026-10-12T00:00:00", "to": "2026-10-12T00:00:00"}, id="in no zone"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(posted: httpx2.Client, wanted: dict[str, str]) -> None:
    assert posted.post("/v1/backfills", json=wanted).status_code == 422
    assert posted.get("/v1/backfills").json() == {"items": [], "next": None}


def test_everything_goes_on_after_a_restart(posted: httpx2.Client, settings: Settings, engine: Engine) -> None:
    committed, loading = opened(posted, types=["llm.request"]), opened(posted, types=["sms"])
    load(posted, committed, tokens("1", 150))
    load(posted, loading, tokens("s", 7, type="sms"))
    step(posted, committed, "commit")
    engine.close()
    again = Engine.open(settings, now=lambda: NOW)
    try:
        with TestClient(create_app(settings, engine=again)) as client:
            client.event_hooks["response"].append(is_documented)
            assert counted(client) == ("550", 2)
            assert load(client, loading, tokens("s", 7, type="sms"), tokens("t", 7, type="sms"))["duplicates"] == 1
            assert client.get(f"/v1/backfills/{loading}").json()["staged_events"] == 2
            assert post(client, tokens("1", 150)).json()["duplicates"] == 1
            listed = client.get("/v1/backfills", params={"state": "open"}).json()["items"]
            assert [backfill["id"] for backfill in listed] == [loading]
            assert client.get("/readyz").json()["detail"]["backfills"]["committed"] == [committed]
            step(client, committed, "revert")
            assert counted(client) == ("700", 3)
    finally:
        again.close()


def test_an_event_that_came_twice_counts_once(posted: httpx2.Client) -> None:
    """`late` is posted and staged; after the commit the staged one counts, and after the revert the posted one."""
    key = opened(posted)
    load(posted, key, tokens("late", 1000), tokens("3", 5), tokens("elsewhere", 1))
    post(posted, tokens("late", 10), tokens("elsewhere", 2, time="2026-10-14T00:00:00Z"))
    seen = preview(posted, key)
    assert seen["events"] == {"replaced": 4, "staged": 2, "arrived_since": 0, "superseded": 2, "refused": 1}
    assert [e["id"] for e in seen["superseded"]] == ["late", "elsewhere"]
    assert [e["id"] for e in seen["refused"]] == ["3"]
    step(posted, key, "commit")
    assert counted(posted) == ("1401", 3)
    answers = post(posted, tokens("late", 1000), tokens("late", 10), tokens("late", 11)).json()
    assert (answers["duplicates"], answers["conflicts"]) == (2, 1)
    step(posted, key, "revert")
    assert counted(posted) == ("712", 5)


def test_a_staged_identity_is_known_while_it_is_committed_and_not_after(posted: httpx2.Client) -> None:
    key = opened(posted)
    load(posted, key, tokens("new", 5))
    step(posted, key, "commit")
    answers = post(posted, tokens("new", 5), tokens("new", 6), tokens("new", 5, time="2026-10-13T00:00:00Z")).json()
    assert (answers["duplicates"], answers["conflicts"]) == (1, 2)
    assert counted(posted) == ("405", 2)
    step(posted, key, "revert")
    assert post(posted, tokens("new", 6)).json()["accepted"] == 1
    assert counted(posted) == ("706", 4)


def test_a_property_declared_later_counts_staged_events(client: httpx2.Client, sold: httpx2.Client) -> None:
    key = opened(client)
    load(client, key, event("1", data={"model": "big", "input_tokens": 5, "seconds": "1.5"}))
    step(client, key, "commit")
    catalog = client.get("/v1/catalog").json()["document"]
    catalog["meters"]["seconds"] = {"event_type": "llm.request", "aggregation": "sum", "property": "seconds"}
    assert client.put("/v1/catalog", json=catalog).status_code == 200
    assert client.get("/v1/meters/seconds/usage").json()["items"][0]["quantity"] == "1.5"


def test_an_empty_backfill_takes_a_range_out(posted: httpx2.Client) -> None:
    key = opened(posted)
    assert preview(posted, key)["events"]["replaced"] == 2
    step(posted, key, "commit")
    assert counted(posted) == ("400", 1)


def test_without_a_catalog_the_preview_counts_events(client: httpx2.Client) -> None:
    post(client, tokens("1", 1))
    key = opened(client)
    found = preview(client, key)
    assert (found["events"]["replaced"], found["usage"], found["charges"]) == (1, [], [])


def correct(client: httpx2.Client, action: str, target: str, key: str, **more: Any) -> dict[str, Any]:
    correction = {"action": action, "corrects": {"source": "gateway", "id": target}, "source": "gateway", "id": key}
    answer: dict[str, Any] = client.post("/v1/events/corrections", json=[{**correction, **more}]).json()
    return answer


def test_corrections_and_backfills_count_each_event_once(posted: httpx2.Client) -> None:
    """`1` is voided before, `2` replaced after the opening; both are staged again, and count as staged."""
    assert correct(posted, "void", "1", "void-1")["accepted"] == 1
    key = opened(posted)
    assert correct(posted, "replace", "2", "2b", data={"model": "big", "input_tokens": 50})["accepted"] == 1
    assert counted(posted) == ("450", 2)
    load(posted, key, tokens("1", 1), tokens("2", 2), tokens("new", 3))
    assert preview(posted, key)["events"] == {
        "replaced": 1, "staged": 3, "arrived_since": 0, "superseded": 1, "refused": 0,
    }  # fmt: skip
    step(posted, key, "commit")
    assert (counted(posted), used(posted)) == (("406", 4), "406")
    [refused] = correct(posted, "void", "2b", "void-2b-too-early")["events"]
    assert refused["code"] == "target_in_backfill"
    step(posted, key, "revert")
    assert (counted(posted), used(posted)) == (("450", 2), "450")
    assert correct(posted, "void", "2b", "void-2b")["accepted"] == 1
    assert counted(posted) == ("400", 1)


def test_what_a_backfill_refuses_is_kept_and_replayed_into_it(posted: httpx2.Client) -> None:
    """`out` is of another day, `new` has no usable time; both are corrected to be of the range."""
    key, inside = opened(posted), {"time": "2026-10-10T10:00:00Z"}
    post(posted, event("ordinary", time="soon"))
    answer = load(
        posted,
        key,
        tokens("1", 5),
        tokens("out", 6, time="2026-10-01T00:00:00Z"),
        tokens("new", 7, time="soon"),
        status=207,
    )
    assert (answer["accepted"], answer["rejected"]) == (1, 2)
    page = posted.get("/v1/rejections", params={"backfill": key}).json()["items"]
    assert [(one["code"], one["backfill"]) for one in page] == [("outside_backfill", key), ("invalid_time", key)]
    assert posted.get("/v1/rejections/1").json()["backfill"] is None
    numbers = [one["rejection"] for one in page]
    wanted = {"filter": {"backfill": key}, "corrections": {str(number): inside for number in numbers}}
    replayed = posted.post("/v1/rejections/replay", json=wanted).json()
    assert (replayed["accepted"], replayed["rejected"]) == (2, 0)
    assert counted(posted) == ("700", 3)
    step(posted, key, "commit")
    assert counted(posted) == ("418", 4)  # 5 + 6 + 7 of the range, and 400


def test_what_a_backfill_has_refused_is_not_replayed_once_it_is_closed(posted: httpx2.Client) -> None:
    key = opened(posted)
    load(posted, key, tokens("out", 6, time="2026-10-01T00:00:00Z"), status=422)
    post(posted, event("later", time="soon"))
    step(posted, key, "drop")
    inside = {"time": "2026-10-01T00:00:00Z"}
    wanted = {"filter": {}, "corrections": {"1": inside, "2": inside}}
    replayed = posted.post("/v1/rejections/replay", json=wanted).json()
    assert (replayed["accepted"], replayed["rejected"]) == (1, 1)
    [refused] = replayed["events"]
    assert (refused["rejection"], refused["code"]) == (1, "backfill_not_open")
    assert "dropped" in refused["message"]
