"""What is known of a subject can be had, and taken out: nothing of it is left, and nothing that is counted changes."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.operating.erasure import erase, places_of
from api.settings import Settings
from ingest.errors import WorkUnfinished
from rating.disk import Disk
from store.errors import NotFound, Refused
from tests.api.conftest import CATALOG, NOW, event
from tests.api.test_backfills import load, opened, step
from tests.api.test_corrections import correct, void
from tests.api.test_events import post
from tests.api.test_rating import lines_of, rate
from tests.cli.conftest import Run
from tests.operating.test_backups import DyingDisk, Killed

ANNA, MARKER = "anna.schmidt@example.org", "Wilhelmstrasse"
OTHER = "zoe@example.org"
ASKED = ("/v1/meters/tokens/usage?group_by=model", "/v1/customers", "/v1/signals?limit=1000")


def personal(key: str, tokens: int = 100, **changes: Any) -> dict[str, Any]:
    data = {"model": "big", "input_tokens": tokens, "note": f"lives in {MARKER} {key}"}
    return event(key, subject=ANNA, **{"data": data, **changes})


@pytest.fixture
def used(engine: Engine, client: httpx2.Client) -> httpx2.Client:
    """Anna and Zoe, paid for by the customer c-17: events, a correction, a refusal, a limit of her own that is
    reached, a committed backfill, and a run."""
    assert client.put("/v1/catalog", json=CATALOG).status_code == 200
    assert client.put("/v1/customers/c-17", json={"subjects": [ANNA, OTHER]}).status_code == 200
    term = {"customer": "c-17", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
    assert client.put("/v1/subscriptions/c-17-pro", json=term).status_code == 200
    own = {"limit": "150", "effective_at": "2026-10-01T00:00:00Z", "reason": "her own"}
    answer = client.put(f"/v1/customers/c-17/overrides/tokens?subject={ANNA}", json=own)
    assert answer.status_code == 200, answer.text
    post(client, personal("1"), personal("2", 70), personal("3", 30), event("other", subject=OTHER))
    engine.log.flush()
    post(client, personal("4", time="yesterday"), personal("5", 7), event("late", subject=OTHER))
    assert correct(client, void("3", reason=f"moved from {MARKER}")).json()["accepted"] == 1
    key = opened(client)
    load(client, key, personal("6", 11, time="2026-10-10T12:00:00Z"), event("7", subject=OTHER))
    step(client, key, "commit")
    client.get("/v1/signals")
    rate(client)
    assert ANNA in client.get("/v1/signals").text
    return client


def answers(client: httpx2.Client) -> Any:
    """What is counted, charged and said, with the names of subjects left out."""
    run = client.get("/v1/rating-runs").json()["items"][0]
    found = {path: client.get(path).json() for path in ASKED}
    quota = {name: client.get(f"/v1/quota/{OTHER}/tokens").json()[name] for name in ("used", "limit", "allowed")}
    verified = client.post(f"/v1/rating-runs/{run['id']}/verify").json()
    rated_again = {name: verified[name] for name in ("digest", "rerated_digest", "lines", "changes")}
    return {**found, "run": run, "lines": lines_of(client, run), "quota": quota, "rated again": rated_again}


def erased(settings: Settings, disk: Disk | None = None) -> Any:
    return erase(settings, ANNA, now=NOW, disk=disk or Disk())


def test_after_it_nothing_of_the_subject_is_left_and_nothing_that_is_counted_has_changed(
    engine: Engine, used: httpx2.Client
) -> None:
    engine.quota.tick(NOW)  # as each second: what the corrections gave room again is told
    engine.signalling.outbox.record()
    before, settings = answers(used), engine.settings
    engine.close()
    assert list(places_of(settings.data, ANNA))
    assert list(places_of(settings.data, MARKER))
    proof = erased(settings)
    assert list(places_of(settings.data, ANNA)) == proof.name_found_in == []
    assert list(places_of(settings.data, MARKER)) == []
    assert (proof.events.events, proof.rejections, proof.runs_as_they_were) == (6, 1, 1)
    assert proof.totals_before == proof.totals_after
    assert proof.records["audit_log"] > 0
    again = Engine.open(settings, now=lambda: NOW)
    try:
        with TestClient(create_app(settings, engine=again)) as client:
            assert answers(client) == json.loads(json.dumps(before).replace(ANNA, proof.pseudonym))
            assert client.get(f"/v1/subjects/{ANNA}/records").status_code == 404
            assert again.audit.verify().problem is None
            known = client.get(f"/v1/subjects/{proof.pseudonym}/records").json()
            declared = {tuple(one["data"]) for one in known["events"]}
            assert declared == {("input_tokens", "model"), ()}  # a void has none
            assert post(client, personal("1"), personal("9")).json()["duplicates"] == 1
    finally:
        again.close()


def test_what_is_known_of_a_subject_is_in_one_document(engine: Engine, used: httpx2.Client) -> None:
    known = used.get(f"/v1/subjects/{ANNA}/records").json()
    assert {one["subject"] for one in known["events"]} == {ANNA}
    notes = {one["id"]: (MARKER in one["data"].get("note", ""), one["counts"]) for one in known["events"]}
    assert notes == {
        **dict.fromkeys("1235", (True, False)),  # replaced by the backfill, or void
        "void-3": (False, False),
        "6": (True, True),
    }
    assert MARKER in known["rejections"][0]["body"]
    assert known["records"]["subjects"] == [{"subject": ANNA, "customer": "c-17"}]
    assert {line["customer"] for line in known["charge_lines"]} == {"c-17"}
    assert used.get("/v1/subjects/nobody/records").status_code == 404


def test_an_erasure_that_is_killed_at_any_step_goes_on(engine: Engine, used: httpx2.Client) -> None:
    settings = engine.settings
    engine.close()
    for last in range(1, 400, 6):
        try:
            erased(settings, DyingDisk(last))
        except Killed:
            if (settings.data / "erasing").exists():
                with pytest.raises(WorkUnfinished, match="again"):
                    Engine.open(settings, now=lambda: NOW)
            continue
        except NotFound:
            pass  # the last step was the end of it
        break
    assert last > 20
    assert list(places_of(settings.data, ANNA)) == []
    again = Engine.open(settings, now=lambda: NOW)
    assert again.log.scan().frame.collect()["subject"].value_counts().height == 2
    again.close()


def test_it_is_refused_while_a_server_runs_or_a_backfill_is_open_and_for_nobody(
    engine: Engine, used: httpx2.Client, run: Run, tmp_path: Path
) -> None:
    data = engine.settings.data
    assert run("subjects", "erase", ANNA, "--data", data, "--yes").code == 75
    key = used.post("/v1/backfills", json={"from": "2026-09-01T00:00:00Z", "to": "2026-09-02T00:00:00Z"}).json()["id"]
    engine.close()
    with pytest.raises(Refused, match=key):
        erased(engine.settings)
    again = Engine.open(engine.settings, now=lambda: NOW)
    again.backfills.drop(key)
    again.close()
    with pytest.raises(NotFound):
        erase(engine.settings, "nobody", now=NOW, disk=Disk())
    ran = run("subjects", "export", ANNA, "--data", data, "--out", tmp_path / "anna.json")
    assert ran.code == 0, ran.err
    assert len(json.loads((tmp_path / "anna.json").read_bytes())["events"]) == 6
    ran = run("subjects", "erase", ANNA, "--data", data, "--yes", "--json", "--proof", tmp_path / "proof.json")
    assert ran.code == 0, ran.err
    assert ran.json == json.loads((tmp_path / "proof.json").read_bytes())
    assert ANNA not in ran.out
