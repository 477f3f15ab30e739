"""The real Caddy with docs/gateways/Caddyfile: only addresses are others, and what the test says."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.gateways.conftest import FILES, Application, Gateway, Quotas, free_port, replaced

WAIT = "1425600"  # seconds from 15 October noon to 1 November
COMMAND = ["caddy", "run", "--config", "{file}", "--adapter", "caddyfile"]
LOCAL = "{\n\tadmin off\n\tauto_https off\n\tstorage file_system {path}\n}\n"


def configuration(quotas_port: int, application: Application, storage: str) -> str:
    changes = {
        ":80 {": "http://127.0.0.1:{port} {",
        "127.0.0.1:8080": f"127.0.0.1:{quotas_port}",
        "127.0.0.1:9000": f"127.0.0.1:{application.port}",
    }
    return LOCAL.replace("{path}", storage) + replaced((FILES / "Caddyfile").read_text(), **changes)


@pytest.fixture
def caddy(tmp_path: object, quotas: Quotas, application: Application, gateway: Gateway) -> Iterator[httpx2.Client]:
    url = gateway("Caddyfile", COMMAND, configuration(quotas.port, application, str(tmp_path)))
    with httpx2.Client(base_url=url, headers={"x-api-key": "key-of-acme"}, timeout=30) as client:
        yield client


def test_caddy_lets_through_what_fits_and_passes_on_what_does_not(
    caddy: httpx2.Client, quotas: Quotas, application: Application
) -> None:
    quotas.use("1", 1999)
    answer = caddy.get("/hello?amount=5000&deny=403")
    assert (answer.status_code, answer.text) == (200, "GET reached the application")
    assert answer.headers["ratelimit"] == f'"requests";r=1;t={WAIT}'
    assert answer.headers["ratelimit-policy"] == '"requests";q=2000;w=2678400'
    assert caddy.post("/hello", content=b"x" * 100_000).text == "POST reached the application"
    quotas.use("2", 1)
    refused = caddy.get("/hello")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, WAIT)
    assert refused.json()["type"] == "urn:tallystick:problem:quota-exhausted"
    assert application.reached == ["/hello?amount=5000&deny=403", "/hello"]


def test_caddy_lets_nobody_ask_in_another_name(caddy: httpx2.Client, application: Application) -> None:
    for more in ({}, {"x-tallystick-subject": "acme"}):
        assert caddy.get("/hello?subject=acme", headers={"x-api-key": "", **more}).status_code in (403, 422)
    cheap = caddy.get("/hello", headers={"x-tallystick-amount": "0"})
    assert cheap.status_code == 422
    assert application.reached == []


def test_caddy_without_an_answer_is_closed(tmp_path: object, application: Application, gateway: Gateway) -> None:
    url = gateway("Caddyfile", COMMAND, configuration(free_port(), application, str(tmp_path)))
    assert httpx2.get(f"{url}/hello", headers={"x-api-key": "key-of-acme"}).status_code == 502
    assert application.reached == []
