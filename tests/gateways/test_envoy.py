"""The real Envoy with the two files of docs/gateways/ for it: only addresses are others."""

from collections.abc import Iterator
from contextlib import closing

import httpx2
import pytest

from api.gateways.envoy_rate_limit import serve_rate_limits
from tests.gateways.conftest import FILES, Application, Gateway, Quotas, free_port, replaced

WAIT = "1425600"  # seconds from 15 October noon to 1 November
COMMAND = ["envoy", "-c", "{file}", "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]


def configuration(name: str, application: Application, **changes: str) -> str:
    return replaced(
        (FILES / name).read_text(),
        **{
            "address: 0.0.0.0, port_value: 80}": "address: 127.0.0.1, port_value: {port}}",
            "port_value: 9000": f"port_value: {application.port}",
            **changes,
        },
    )


@pytest.fixture
def envoy(quotas: Quotas, application: Application, gateway: Gateway) -> Iterator[httpx2.Client]:
    port = {"port_value: 8080": f"port_value: {quotas.port}"}
    url = gateway("envoy.yaml", COMMAND, configuration("envoy-ext-authz.yaml", application, **port))
    with httpx2.Client(base_url=url, headers={"x-api-key": "key-of-acme"}, timeout=30) as client:
        yield client


def test_envoy_lets_through_what_fits_and_passes_on_what_does_not(
    envoy: httpx2.Client, quotas: Quotas, application: Application
) -> None:
    quotas.use("1", 1999)
    answer = envoy.get("/hello?amount=5000&feature=none")
    assert (answer.status_code, answer.text) == (200, "GET reached the application")
    assert answer.headers["ratelimit"] == f'"requests";r=1;t={WAIT}'
    assert envoy.post("/hello", content=b"x" * 100_000).text == "POST reached the application"
    assert envoy.get("/own-refusal").status_code == 403
    quotas.use("2", 1)
    for method in ("GET", "POST"):
        refused = envoy.request(method, "/hello")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, WAIT)
        assert refused.headers["ratelimit-policy"] == '"requests";q=2000;w=2678400'
        assert refused.json()["type"] == "urn:tallystick:problem:quota-exhausted"
    assert len(application.reached) == 3


def test_envoy_lets_nobody_ask_in_another_name(envoy: httpx2.Client, application: Application) -> None:
    forged = {"x-tallystick-subject": "acme", "x-tallystick-feature": "none", "x-api-key": "none"}
    assert envoy.get("/hello?subject=acme", headers=forged).status_code == 403
    assert application.reached == []
    for name, value in {"x-tallystick-amount": "5000", "x-tallystick-feature": "none"}.items():
        assert envoy.get("/hello", headers={name: value}).status_code == 200


def test_envoy_without_an_answer_is_closed(application: Application, gateway: Gateway) -> None:
    port = {"port_value: 8080": f"port_value: {free_port()}"}
    url = gateway("envoy.yaml", COMMAND, configuration("envoy-ext-authz.yaml", application, **port))
    assert httpx2.get(f"{url}/hello", headers={"x-api-key": "key-of-acme"}).status_code == 503
    assert application.reached == []


@pytest.fixture
def limited(quotas: Quotas, application: Application, gateway: Gateway) -> Iterator[httpx2.Client]:
    with closing(serve_rate_limits(quotas.engine, "127.0.0.1", 0)) as service:
        port = {"port_value: 8081": f"port_value: {service.port}"}
        url = gateway("envoy.yaml", COMMAND, configuration("envoy-rate-limit.yaml", application, **port))
        with httpx2.Client(base_url=url, headers={"x-api-key": "key-of-acme"}, timeout=30) as client:
            yield client


def test_envoy_asks_the_rate_limit_service(limited: httpx2.Client, quotas: Quotas, application: Application) -> None:
    quotas.use("1", 1999)
    answer = limited.get("/hello")
    assert (answer.status_code, answer.text) == (200, "GET reached the application")
    assert answer.headers["ratelimit"] == f'"requests";r=1;t={WAIT}'
    quotas.use("2", 1)
    refused = limited.get("/hello")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, WAIT)
    assert refused.headers["x-quota-reason"] == "exhausted"
    for key in ("none", "key-of-globex"):
        never = limited.get("/hello", headers={"x-api-key": key, "x-tallystick-subject": "acme"})
        assert (never.status_code, never.headers["x-quota-status"]) == (429, "403")
    assert application.reached == ["/hello"]


def test_envoy_without_a_rate_limit_service_is_closed(application: Application, gateway: Gateway) -> None:
    port = {"port_value: 8081": f"port_value: {free_port()}"}
    url = gateway("envoy.yaml", COMMAND, configuration("envoy-rate-limit.yaml", application, **port))
    assert httpx2.get(f"{url}/hello", headers={"x-api-key": "key-of-acme"}).status_code == 500
    assert application.reached == []
