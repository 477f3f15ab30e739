"""Endpoints over HTTP: made, changed, tried, given another secret, and looked at."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from api.engine import Engine, utc_now
from api.settings import Settings
from api.signalling import sender_of
from api.webhooks.resolving import Forbidden
from store.signals import Signal
from tests.api.conftest import NOW, client, engine, sold
from tests.recording import record_signals
from tests.webhooks.receiver import Receiver, receiving
from tests.webhooks.test_delivering import until

__all__ = ["client", "engine", "sold"]


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return Settings(data=tmp_path / "data", webhook_private_addresses=True, webhook_http=True)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


def add(client: httpx2.Client, url: str, **given: Any) -> dict[str, Any]:
    answer = client.post("/v1/webhooks", json={"url": url, **given})
    assert answer.status_code == 201
    found: dict[str, Any] = answer.json()
    return found


def test_an_endpoint_shows_its_secret_once(client: httpx2.Client, receiver: Receiver) -> None:
    made = add(client, receiver.url, types=["quota.exhausted"], customers=["acme"])
    assert made["secret"].startswith("whsec_")
    shown = client.get(f"/v1/webhooks/{made['id']}").json()
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert client.get("/v1/webhooks").json()["items"] == [shown]
    changed = client.patch(f"/v1/webhooks/{made['id']}", json={"state": "paused", "types": []}).json()
    assert changed == {**shown, "state": "paused", "types": []}
    assert client.delete(f"/v1/webhooks/{made['id']}").status_code == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/test"), ("GET", "/deliveries")):
        body = {"json": {}} if method == "PATCH" else {}
        assert client.request(method, f"/v1/webhooks/{made['id']}{path}", **body).status_code == 404


@pytest.mark.parametrize("url", ["ftp://h.example/", "http://user@127.0.0.1/", "http://no-such-host.invalid/"])
def test_a_url_that_nothing_can_be_sent_to_is_refused(client: httpx2.Client, url: str) -> None:
    answer = client.post("/v1/webhooks", json={"url": url})
    assert (answer.status_code, answer.json()["detail"][:5]) == (422, "url: ")


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "https://localhost/", "http://93.184.215.14/", "https://[::1]/"])
def test_what_is_private_or_without_tls_is_refused_unless_the_deployment_allows_it(tmp_path: Any, url: str) -> None:
    strict = sender_of(Settings(data=tmp_path))
    with pytest.raises(Forbidden):
        strict.check(url)
    sender_of(Settings(data=tmp_path, webhook_private_addresses=True, webhook_http=True)).check(url)


def test_a_test_is_sent_at_once_and_says_what_came_of_it(client: httpx2.Client, receiver: Receiver) -> None:
    made = add(client, receiver.url)
    receiver.behave = lambda _: "500"
    answer = client.post(f"/v1/webhooks/{made['id']}/test").json()
    assert (answer["status"], answer["error"]) == (500, None)
    assert receiver.came[0].signal["type"] == "webhook.test"


def test_while_secrets_are_changed_both_sign(client: httpx2.Client, receiver: Receiver, engine: Engine) -> None:
    object.__setattr__(engine.signalling.endpoints, "now", utc_now)
    made = add(client, receiver.url)
    rotated = client.post(f"/v1/webhooks/{made['id']}/rotate", json={"hours": 1}).json()
    assert rotated["secret"] != made["secret"]
    client.post(f"/v1/webhooks/{made['id']}/test")
    [came] = receiver.came
    for secret in (made["secret"], rotated["secret"]):
        Webhook(secret).verify(came.body, came.headers)
    client.post(f"/v1/webhooks/{made['id']}/rotate", json={"hours": 0})
    client.post(f"/v1/webhooks/{made['id']}/test")
    assert len(receiver.came[1].headers["webhook-signature"].split()) == 1


def test_a_limit_that_is_reached_arrives_and_is_in_the_log(
    sold: httpx2.Client, receiver: Receiver, engine: Engine
) -> None:
    made = add(sold, receiver.url)
    engine.signalling.deliverer.start()
    use(sold, "1", 2000)
    until(lambda: len(receiver.came) == 1)
    [signal] = sold.get("/v1/signals").json()["items"]
    assert receiver.came[0].signal == signal
    path = f"/v1/webhooks/{made['id']}/deliveries"
    until(lambda: sold.get(path, params={"state": "delivered"}).json()["items"])
    [delivery] = sold.get(path).json()["items"]
    assert (delivery["signal"], delivery["attempts"], delivery["tries"][0]["status"]) == (signal["sequence"], 1, 200)
    status = sold.get("/readyz").json()["detail"]["webhooks"]
    nothing_waits = {"waiting": 0, "dead": 0, "behind": 0, "oldest_at": None}
    assert status["endpoints"] == [{"endpoint": made["id"], "state": "active", **nothing_waits}]
    again = sold.post(f"/v1/webhooks/{made['id']}/replay", json={"after": 0}).json()
    assert again == {"replayed": 1, "next": None}
    until(lambda: len(receiver.came) == 2)


def use(client: httpx2.Client, key: str, tokens: int) -> None:
    event = {
        "specversion": "1.0", "id": key, "source": "gateway", "type": "llm.request", "subject": "acme",
        "time": "2026-10-10T10:00:00Z", "data": {"model": "big", "input_tokens": tokens},
    }  # fmt: skip
    assert client.post("/v1/events", json=[event]).json()["accepted"] == 1


@pytest.mark.parametrize("given", [{}, {"after": 0, "dead": True}, {"dead": True, "until": 4}, {"after": -1}])
def test_what_to_replay_is_said_in_one_way(client: httpx2.Client, receiver: Receiver, given: dict[str, Any]) -> None:
    made = add(client, receiver.url)
    assert client.post(f"/v1/webhooks/{made['id']}/replay", json=given).status_code == 422


def test_pages_of_deliveries_end(client: httpx2.Client, receiver: Receiver, engine: Engine) -> None:
    made = add(client, receiver.url)
    record_signals(engine.store, [Signal(f"sig_{n}", "quota.exhausted", "acme", NOW, {}) for n in range(3)])
    engine.store.webhooks.fan_out({made["id"]: 100})
    path = f"/v1/webhooks/{made['id']}/deliveries"
    first = client.get(path, params={"limit": 2}).json()
    rest = client.get(path, params={"limit": 2, "after": first["next"]}).json()
    assert [item["signal"] for item in first["items"] + rest["items"]] == [1, 2, 3]
    assert rest["next"] is None


def test_a_new_database_is_read_by_its_owner_only(engine: Engine, settings: Settings) -> None:
    assert (settings.data / "tallystick.sqlite").stat().st_mode & 0o777 == 0o600
