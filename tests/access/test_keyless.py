"""Before there is a key: this machine is served, and nobody who only comes by way of it."""

import httpx2
import pytest

from api.access.caller import Scope
from api.engine import Engine
from tests.access.conftest import HERE, bearer, connected, key

FOREIGN = {
    "another name for this machine": {"host": "rebound.example"},
    "another name, with a port": {"host": "rebound.example:8080"},
    "a name that begins like ours": {"host": "127.0.0.1.example.com"},
    "an address of the network": {"host": "10.0.0.7"},
    "a page of another site": {"origin": "https://evil.example"},
    "a page without an origin": {"origin": "null"},
    "a proxy: X-Forwarded-For": {"x-forwarded-for": "203.0.113.9"},
    "a proxy: Forwarded": {"forwarded": "for=203.0.113.9"},
    "a proxy: Via": {"via": "1.1 proxy"},
    "a proxy: X-Real-IP": {"x-real-ip": "203.0.113.9"},
}


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_served(engine: Engine, client: str) -> None:
    with connected(engine, (client, 5000)) as here:
        assert here.get("/v1/customers").status_code == 200
        assert here.put("/v1/customers/acme", json={}, headers={"origin": "http://localhost:8080"}).status_code == 200
        assert here.get("/readyz").json()["detail"]["customers"] == 1


@pytest.mark.parametrize("client", ["203.0.113.9", "10.0.0.1", "192.168.1.2", "::2", "::ffff:10.0.0.1", "0.0.0.0"])
def test_others_are_told_what_to_do(engine: Engine, client: str) -> None:
    with connected(engine, (client, 5000)) as elsewhere:
        refused = elsewhere.get("/v1/customers")
        assert refused.status_code == 401
        assert "`tallystick keys create`" in refused.json()["detail"]
        assert elsewhere.get("/healthz").status_code == 200
        assert elsewhere.get("/readyz").json() == {"status": "ready", "reasons": [], "detail": {}}


@pytest.mark.parametrize("headers", list(FOREIGN.values()), ids=list(FOREIGN))
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_others_send_by_way_of_this_machine_is_refused(
    machine: httpx2.Client, method: str, headers: dict[str, str]
) -> None:
    refused = machine.request(
        method, "/v1/customers/acme", headers=headers, **({"json": {}} if method == "PUT" else {})
    )
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:tallystick:problem:not-allowed")
    assert "`tallystick keys create`" in refused.json()["detail"]


@pytest.mark.parametrize("headers", list(FOREIGN.values()), ids=list(FOREIGN))
def test_the_question_of_a_gateway_is_answered_whatever_its_client_sent(
    machine: httpx2.Client, headers: dict[str, str]
) -> None:
    assert machine.get("/v1/gateways/auth", headers=headers).json()["type"] != "urn:tallystick:problem:not-allowed"


def test_with_a_key_this_machine_needs_it_too_and_a_proxy_may_pass_it_on(engine: Engine) -> None:
    with connected(engine, HERE) as here:
        made = here.post("/v1/api-keys", json={"name": "first", "scopes": ["admin"]}).json()
        assert here.get("/v1/customers").status_code == 401
        assert here.get("/v1/gateways/auth").status_code == 401
        for headers in FOREIGN.values():
            assert here.get("/v1/customers", headers={**headers, **bearer(made["key"])}).status_code == 200


def test_it_never_becomes_open_again(engine: Engine) -> None:
    secret = key(engine, Scope.admin)
    engine.access.keys.revoke(secret[4:16], "key")
    engine.close()
    again = Engine.open(engine.settings, now=engine.now)
    with connected(again, HERE) as here:
        assert here.get("/v1/customers").status_code == 401
    again.close()


def test_there_are_no_cors_headers(machine: httpx2.Client) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "GET"}
    for answer in (machine.options("/healthz", headers=headers), machine.get("/healthz", headers=headers)):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
