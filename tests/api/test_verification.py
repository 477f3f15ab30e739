"""A run is rated again from its recorded inputs: the same digest after whatever came later, and where not, why."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from api import verification
from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from store.database import writing
from store.tables import rating_runs, subscription_versions
from tests.api.bitemporal import forget_history
from tests.api.conftest import CATALOG, NOW, event
from tests.api.test_backfills import load, opened, step, tokens
from tests.api.test_corrections import correct, replacement, void
from tests.api.test_events import post
from tests.api.test_rating import rate

Change = Callable[[httpx2.Client, Engine], None]


@pytest.fixture
def used(sold: httpx2.Client) -> httpx2.Client:
    post(sold, *(event(str(i), data={"model": "big", "input_tokens": 300}) for i in range(5)))
    return sold


def verified(client: httpx2.Client, run: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(f"/v1/rating-runs/{run['id']}/verify")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def later_usage(client: httpx2.Client, _engine: Engine) -> None:
    post(client, event("later"), event("later-2", subject="beta"))


def corrections(client: httpx2.Client, _engine: Engine) -> None:
    assert correct(client, void("1"), replacement("2", "2b", 7)).json()["accepted"] == 2


def committed_backfill(client: httpx2.Client, _engine: Engine) -> None:
    key = opened(client)
    load(client, key, tokens("b", 7))
    step(client, key, "commit")


def moved_subject(client: httpx2.Client, _engine: Engine) -> None:
    assert client.put("/v1/customers/acme", json={"subjects": [], "time_zone": "Asia/Tokyo"}).status_code == 200
    assert client.put("/v1/customers/beta", json={"subjects": ["acme"]}).status_code == 200


def changed_subscription(client: httpx2.Client, _engine: Engine) -> None:
    changed = {"customer": "acme", "plan": "free", "starts_at": "2026-10-05T00:00:00Z"}
    assert client.put("/v1/subscriptions/acme-pro", json=changed).status_code == 200


def new_catalog(client: httpx2.Client, _engine: Engine) -> None:
    dearer = json.loads(json.dumps(CATALOG))
    dearer["prices"]["tokens/big"]["versions"][0]["tiers"][0]["unit_amount"] = "9"
    dearer["prices"]["fee"]["versions"] = [{"amount": "99"}]
    assert client.put("/v1/catalog", json=dearer).status_code == 200


def merged_files(client: httpx2.Client, engine: Engine) -> None:
    for i in range(4):
        post(client, event(f"merged-{i}"))
        engine.log.flush()
    engine.log.maintain()


CHANGES = [
    later_usage,
    corrections,
    committed_backfill,
    moved_subject,
    changed_subscription,
    new_catalog,
    merged_files,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_run_is_made_again_whatever_came_later(used: httpx2.Client, engine: Engine, change: Change) -> None:
    run = rate(used)
    change(used, engine)
    found = verified(used, run)
    assert (found["result"], found["reason"], found["notes"]) == ("equal", None, [])
    assert found["digest"] == found["rerated_digest"] == run["digest"]
    assert found["lines"]["gone"]["count"] == found["changes"]["count"] == 0


def test_every_run_is_made_again_after_everything_and_a_restart(
    used: httpx2.Client, engine: Engine, settings: Settings
) -> None:
    runs = [rate(used)]
    for change in CHANGES:
        change(used, engine)
        runs.append(rate(used))
    assert len({run["digest"] for run in runs}) > 5
    engine.close()
    again = Engine.open(settings, now=lambda: NOW)
    try:
        with TestClient(create_app(settings, engine=again)) as client:
            assert {verified(client, run)["result"] for run in runs} == {"equal"}
    finally:
        again.close()


def test_a_run_knows_the_backfill_that_was_reverted_since(used: httpx2.Client) -> None:
    key = opened(used)
    load(used, key, tokens("b", 7))
    step(used, key, "commit")
    assert correct(used, replacement("b", "b2", 8)).json()["accepted"] == 1
    run = rate(used)
    step(used, key, "revert")
    after = rate(used)
    assert run["digest"] != after["digest"]
    assert {verified(used, r)["result"] for r in (run, after)} == {"equal"}


def test_a_run_whose_events_are_gone_cannot_be_made_again(used: httpx2.Client, settings: Settings) -> None:
    key = opened(used)
    load(used, key, tokens("b", 7))
    step(used, key, "commit")
    run = rate(used)
    step(used, key, "revert")
    shutil.rmtree(settings.data / "backfills" / key)
    found = verified(used, run)
    assert (found["result"], found["rerated_digest"]) == ("unknown", None)
    assert "its directory is gone" in found["reason"]


def test_a_log_that_ends_before_the_run_is_said(used: httpx2.Client, engine: Engine) -> None:
    run = rate(used)
    with writing(engine.store.engine) as connection:
        connection.execute(update(rating_runs).values(last_sequence=99))
    assert "knew 99 events, and the log has 5" in verified(used, run)["reason"]


def test_other_inputs_are_found_line_by_line(used: httpx2.Client, engine: Engine) -> None:
    """Someone alters the history behind the records: on plan free there is no fee of 20."""
    run = rate(used)
    with writing(engine.store.engine) as connection:
        connection.execute(update(subscription_versions).values(plan="free"))
    post(used, event("a change comes in between", subject="beta"))
    assert used.put("/v1/customers/beta", json={}).status_code == 200
    found = verified(used, run)
    assert found["result"] == "different"
    assert "its customers and subscriptions have another digest" in found["notes"][0]
    [fee] = [c for c in found["changes"]["largest"] if c["price"] == "fee"]
    assert (fee["customer"], fee["amount"]) == ("acme", "-20")
    assert found["lines"]["gone"]["count"] == 2
    assert found["lines"]["new"]["count"] == 1


def test_a_recorded_digest_that_is_not_of_the_lines_is_found(used: httpx2.Client, engine: Engine) -> None:
    run = rate(used)
    with writing(engine.store.engine) as connection:
        connection.execute(update(rating_runs).values(digest="0" * 64))
    found = verified(used, run)
    assert found["result"] == "different"
    assert found["reason"] == (
        "other charge lines come of its inputs; the stored charge lines are not those of the recorded digest"
    )
    assert found["changes"]["count"] == 0


def test_damaged_lines_are_said(used: httpx2.Client, settings: Settings) -> None:
    run = rate(used)
    [file] = [path for path in settings.data.glob("lines/**/*.parquet") if path.name.startswith(run["id"])]
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    found = verified(used, run)
    assert found["result"] == "different"
    assert "the same lines come of its inputs" in found["reason"]


def test_other_code_is_said_and_compared(used: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    run = rate(used)
    monkeypatch.setattr(verification, "code_version", lambda: "later+1")
    found = verified(used, run)
    assert (found["result"], found["rerated_by"]) == ("equal", "later+1")
    assert found["notes"] == [f"it was rated by other code ({run['code_version']})"]


def test_a_run_from_before_the_history_is_compared_with_the_first_version(used: httpx2.Client, engine: Engine) -> None:
    run, lost = rate(used), rate(used)
    forget_history(engine, run)
    assert verified(used, run)["result"] == "equal"
    moved_subject(used, engine)
    assert verified(used, run)["result"] == "equal"
    forget_history(engine, lost)
    found = verified(used, lost)
    assert found["result"] == "unknown"
    assert "before the history of accounts began" in found["reason"]


def test_what_cannot_be_verified_is_refused(used: httpx2.Client, engine: Engine) -> None:
    assert used.post("/v1/rating-runs/run_x/verify").status_code == 404
    run = rate(used)
    with writing(engine.store.engine) as connection:
        connection.execute(update(rating_runs).values(status="failed"))
    assert used.post(f"/v1/rating-runs/{run['id']}/verify").status_code == 422
