"""Every operation that changes something leaves exactly one entry of the audit log, and without the entry it fails."""

import json
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete, update

from api.access.requirements import REQUIREMENTS
from api.engine import Engine
from store.access_tables import audit_log
from store.database import writing
from store.errors import DatabaseUnavailable
from tests.access.conftest import Clock
from tests.api.conftest import CATALOG, event

Answers = dict[str, dict[str, Any]]
MONTHLY = {**CATALOG, "plans": {**CATALOG["plans"], "more": CATALOG["plans"]["free"]}}
BIGGER = {**CATALOG, "plans": {**MONTHLY["plans"], "most": CATALOG["plans"]["free"]}}


def subscribed(customer: str) -> dict[str, str]:
    return {"customer": customer, "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}


RETRACTED = [
    {"action": "void", "source": "desk", "id": "c", "reason": "x", "corrects": {"source": "gateway", "id": "1"}}
]
SCENARIO: list[tuple[str, str, Any]] = [
    # action, method and path ({action.field} is of the answer before), body
    ("catalog.apply", "PUT /v1/catalog", MONTHLY),
    ("customers.put", "PUT /v1/customers/acme", {"name": "Acme", "subjects": ["acme"]}),
    ("customers.put", "POST /v1/customers", [{"key": "globex"}]),
    ("subscriptions.put", "PUT /v1/subscriptions/s", subscribed("acme")),
    ("subscriptions.put", "POST /v1/subscriptions", [{"key": "t", **subscribed("globex")}]),
    ("subscriptions.change", "POST /v1/subscriptions/t/changes", {"at": "2026-10-20T00:00:00Z", "plan": "free"}),
    ("quota-grants.add", "POST /v1/customers/acme/quota-grants", {"feature": "tokens", "amount": "10"}),
    ("quota-grants.void", "POST /v1/quota-grants/{quota-grants.add.id}/void", {}),
    ("overrides.put", "PUT /v1/customers/acme/overrides/tokens", {"limit": "5000"}),
    ("overrides.end", "DELETE /v1/customers/acme/overrides/tokens", None),
    ("states.add", "POST /v1/customers/acme/states", {"state": "suspended", "reason": "unpaid"}),
    ("states.end", "DELETE /v1/customers/acme/states/{states.add.id}", None),
    ("credits.grant", "POST /v1/customers/acme/credits", {"id": "g", "amount": "100", "currency": "USD"}),
    ("credits.void", "POST /v1/credits/{credits.grant.id}/void", {}),
    ("shadow-catalog.set", "PUT /v1/shadow-catalog", {"catalog": BIGGER}),
    ("shadow-catalog.end", "DELETE /v1/shadow-catalog", None),
    ("shadow-catalog.set", "PUT /v1/shadow-catalog", {"catalog": BIGGER}),
    ("shadow-catalog.switch", "POST /v1/shadow-catalog/switch", {"at": "2026-11-01T00:00:00Z"}),
    ("webhooks.add", "POST /v1/webhooks", {"url": "http://127.0.0.1:9/x"}),
    ("webhooks.change", "PATCH /v1/webhooks/{webhooks.add.id}", {"state": "paused"}),
    ("webhooks.rotate", "POST /v1/webhooks/{webhooks.add.id}/rotate", {"hours": 1}),
    ("webhooks.test", "POST /v1/webhooks/{webhooks.add.id}/test", None),
    ("webhooks.replay", "POST /v1/webhooks/{webhooks.add.id}/replay", {"dead": True}),
    ("webhooks.remove", "DELETE /v1/webhooks/{webhooks.add.id}", None),
    ("events.correct", "POST /v1/events/corrections", RETRACTED),
    ("rejections.replay", "POST /v1/rejections/replay", {"filter": {}}),
    ("backfills.open", "POST /v1/backfills", {"from": "2026-09-01T00:00:00Z", "to": "2026-09-02T00:00:00Z"}),
    ("backfills.drop", "POST /v1/backfills/{backfills.open.id}/drop", None),
    ("backfills.open", "POST /v1/backfills", {"from": "2026-09-01T00:00:00Z", "to": "2026-09-02T00:00:00Z"}),
    ("backfills.commit", "POST /v1/backfills/{backfills.open.id}/commit", None),
    ("backfills.revert", "POST /v1/backfills/{backfills.open.id}/revert", None),
    ("rating-runs.make", "POST /v1/rating-runs", {"due": True, "draft": True}),
    ("rating-runs.finalize", "POST /v1/rating-runs/{rating-runs.make.runs.0.id}/finalize", None),
    ("keys.create", "POST /v1/api-keys", {"name": "x", "scopes": ["read"]}),
    ("keys.rotate", "POST /v1/api-keys/{keys.create.id}/rotate", {}),
    ("keys.revoke", "DELETE /v1/api-keys/{keys.create.id}", None),
    ("subject-tokens.create", "POST /v1/subject-tokens", {"subject": "acme"}),
    ("subject-tokens.revoke", "DELETE /v1/subject-tokens/{subject-tokens.create.id}", None),
    ("users.create", "POST /v1/users", {"name": "ada", "role": "viewer", "password": "a password of ada"}),
    ("users.change", "PATCH /v1/users/ada", {"role": "finance"}),
    ("users.remove", "DELETE /v1/users/ada", None),
    ("snapshots.make", "POST /v1/snapshots", None),
    ("snapshots.drop", "DELETE /v1/snapshots/{snapshots.make.id}", None),
]  # fmt: skip
ON_PAGES = {
    "system.flush": "/system/flush",
    "system.maintain": "/system/maintain",
    "rejections.correct": "/rejections/1/correct",
}
ELSEWHERE = {"charge-lines.refund", *ON_PAGES}
"""These have tests of their own."""


def entries(client: httpx2.Client, headers: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/v1/audit", params={"limit": 1000}, headers=headers).json()["items"]
    return found


def filled(path: str, answers: Answers) -> str:
    while "{" in path:
        name = path[path.index("{") + 1 : path.index("}")]
        action, _, rest = name.partition(".")
        verb, *fields = rest.split(".")
        value: Any = answers[f"{action}.{verb}"]
        for field in fields:
            value = value[int(field)] if field.isdecimal() else value[field]
        path = path.replace(f"{{{name}}}", str(value))
    return path


def test_each_change_has_one_entry(network: httpx2.Client, engine: Engine, admin: dict[str, str]) -> None:
    assert network.post("/v1/events", json=[], headers=admin).status_code in (200, 400, 422)
    answers: Answers = {}
    for number, (action, operation, body) in enumerate(SCENARIO):
        if action == "events.correct":
            assert network.post("/v1/events", json=[event()], headers=admin).status_code == 200
        before = entries(network, admin)
        method, path = filled(operation, answers).split(" ")
        request = {} if body is None else {"json": body}
        answer = network.request(method, path, headers={**admin, "X-Request-Id": f"r{number}"}, **request)
        assert answer.is_success, (operation, answer.text)
        answers[action] = answer.json() if answer.content else {}
        added = entries(network, admin)[len(before) :]
        assert [(each["action"], each["caller_name"], each["caller_kind"]) for each in added] == [
            (action, "first", "key")
        ], operation
        assert added[0]["object"] or action in ("catalog.apply",) or method in ("POST", "PUT", "DELETE")
    assert "a password of ada" not in str(entries(network, admin))
    assert engine.audit.verify().problem is None
    logged = {row.action for row in REQUIREMENTS.values() if row.action is not None}
    assert {action for action, _, _ in SCENARIO} | ELSEWHERE == logged


@pytest.mark.parametrize("action", ON_PAGES)
def test_a_change_on_a_page_has_one_entry(network: httpx2.Client, admin: dict[str, str], action: str) -> None:
    network.put("/v1/catalog", json=CATALOG, headers=admin).raise_for_status()
    network.post("/v1/events", json=[event(time="soon")], headers=admin)
    before, form = entries(network, admin), {"event": json.dumps(event())}
    answer = network.post(ON_PAGES[action], data=form, headers={**admin, "HX-Request": "true"})
    assert answer.status_code < 400, answer.text
    assert [each["action"] for each in entries(network, admin)[len(before) :]] == [action]


def test_a_refund_is_logged(sold: httpx2.Client, admin: dict[str, str], clock: Clock) -> None:
    grant = {"id": "g", "amount": "50", "currency": "USD", "effective_at": "2026-10-01T00:00:00Z"}
    assert sold.post("/v1/customers/acme/credits", json=grant, headers=admin).is_success
    clock.move(days=20)
    run = sold.post("/v1/rating-runs", json={"period": "2026-10"}, headers=admin).json()
    lines = sold.get(f"/v1/rating-runs/{run['id']}/lines", headers=admin).json()["items"]
    fee = next(each["line"] for each in lines if each["kind"] == "fee" and each["customer"] == "acme")
    before = entries(sold, admin)
    refund = sold.post(f"/v1/charge-lines/{fee}/refund", json={"id": "r", "amount": "2"}, headers=admin)
    assert refund.is_success, refund.text
    added = entries(sold, admin)[len(before) :]
    assert [(each["action"], each["object"]) for each in added] == [("charge-lines.refund", fee)]


def test_what_was_before_and_after_is_in_it(network: httpx2.Client, admin: dict[str, str]) -> None:
    network.put("/v1/catalog", json=CATALOG, headers=admin)
    network.put("/v1/catalog", json=MONTHLY, headers=admin)
    versions = [each["version"] for each in network.get("/v1/catalog/versions", headers=admin).json()["items"]]
    network.put("/v1/customers/acme", json={"name": "A"}, headers=admin)
    network.put("/v1/customers/acme", json={"name": "B"}, headers=admin)
    found = entries(network, admin)[-4:]
    assert [each["object"] for each in found] == ["", "", "acme", "acme"]
    assert {found[1]["before"]["version"], found[1]["after"]["version"]} == set(versions)
    assert found[1]["before"] == found[0]["after"]
    assert (found[2]["before"], found[2]["after"]) == (None, {"name": "A"})
    assert (found[3]["before"]["name"], found[3]["after"]) == ("A", {"name": "B"})


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/v1/catalog?dry_run=true", MONTHLY),
        ("PUT", "/v1/customers/acme", {"time_zone": "nowhere"}),
        ("PUT", "/v1/subscriptions/x", {"customer": "nobody", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}),
        ("PUT", "/v1/customers/globex", {"subjects": ["acme"]}),
        ("DELETE", "/v1/webhooks/nothing", None),
        ("POST", "/v1/rating-runs", {"dry_run": True}),
        ("POST", "/v1/events", [event()]),
        ("POST", "/v1/api-keys", {"name": "x", "scopes": []}),
    ],
)
def test_what_changed_nothing_has_none(
    sold: httpx2.Client, admin: dict[str, str], method: str, path: str, body: Any
) -> None:
    before = entries(sold, admin)
    sold.request(method, path, headers=admin, **({} if body is None else {"json": body}))
    assert entries(sold, admin) == before


@pytest.mark.parametrize("path", ["/v1/customers/new", "/v1/events/corrections"])
def test_what_cannot_be_logged_fails(
    sold: httpx2.Client, engine: Engine, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def fails(*_: object) -> None:
        raise DatabaseUnavailable("no room for an entry")

    assert sold.post("/v1/events", json=[event()], headers=admin).status_code == 200
    body = RETRACTED
    request = ("PUT", path, {}) if "customers" in path else ("POST", path, body)
    with monkeypatch.context() as patched:
        patched.setattr("store.audit_log.AuditRecords.append_within", fails)
        refused = sold.request(request[0], path, json=request[2], headers=admin)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
    if "customers" in path:
        assert sold.get(path, headers=admin).status_code == 404
    assert sold.request(request[0], path, json=request[2], headers=admin).is_success
    assert engine.audit.verify().problem is None


_THIRD = audit_log.c.sequence == 3
TAMPERED = {
    "edited": (
        update(audit_log).where(audit_log.c.sequence == 3).values(caller_name="eve"),
        "entry 3 is not as it was",
    ),
    "content": (
        update(audit_log).where(audit_log.c.sequence == 3).values(after='{"a":1}'),
        "entry 3: what was before or",
    ),
    "deleted": (delete(audit_log).where(audit_log.c.sequence == 3), "entry 4 comes behind entry 2"),
    "cut at the front": (delete(audit_log).where(audit_log.c.sequence < 3), "entry 3 comes behind entry 0"),
}


@pytest.mark.parametrize("how", list(TAMPERED))
def test_an_entry_that_was_altered_is_named(
    sold: httpx2.Client, engine: Engine, admin: dict[str, str], how: str
) -> None:
    assert sold.get("/v1/audit/verify", headers=admin).json()["problem"] is None
    statement, expected = TAMPERED[how]
    with writing(engine.store.engine) as connection:
        connection.execute(statement)
    found = sold.get("/v1/audit/verify", headers=admin).json()
    assert found["problem"].startswith(expected)


def test_two_entries_that_changed_places_are_seen(sold: httpx2.Client, engine: Engine, admin: dict[str, str]) -> None:
    column = audit_log.c.sequence
    with writing(engine.store.engine) as connection:
        for before, after in ((2, 1000), (3, 2), (1000, 3)):
            connection.execute(update(audit_log).where(column == before).values(sequence=after))
    assert sold.get("/v1/audit/verify", headers=admin).json()["problem"].startswith("entry 2 does not belong behind")


def test_what_a_person_wrote_can_be_erased_and_the_chain_holds(
    sold: httpx2.Client, engine: Engine, admin: dict[str, str]
) -> None:
    with writing(engine.store.engine) as connection:
        connection.execute(update(audit_log).values(before=None, after=None))
    assert sold.get("/v1/audit/verify", headers=admin).json()["problem"] is None


def test_entries_are_found_by_action_and_object(sold: httpx2.Client, admin: dict[str, str], clock: Clock) -> None:
    clock.move(hours=1)
    sold.put("/v1/customers/acme", json={}, headers=admin)
    found = sold.get("/v1/audit", params={"action": "customers.put", "object": "acme"}, headers=admin).json()
    assert [each["at"] for each in found["items"]] == ["2026-10-15T12:00:00Z", "2026-10-15T13:00:00Z"]
    first = sold.get("/v1/audit", params={"limit": 2}, headers=admin).json()
    assert first["next"] == 2
    assert sold.get("/v1/audit", params={"after": 2, "limit": 1}, headers=admin).json()["items"][0]["sequence"] == 3
