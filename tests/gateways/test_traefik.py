"""The real Traefik with docs/gateways/traefik.yaml: only addresses are others."""

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from tests.gateways.conftest import FILES, Application, Gateway, Quotas, free_port, listening, replaced

WAIT = "1425600"  # seconds from 15 October noon to 1 November
COMMAND = [
    "traefik",
    "--entrypoints.web.address=127.0.0.1:{port}",
    "--providers.file.filename={file}",
    "--global.checknewversion=false",
    "--global.sendanonymoususage=false",
]


class _Authentication(BaseHTTPRequestHandler):
    """What the file leaves to its user: says whose request it is, by a key."""

    def do_GET(self) -> None:
        key = self.headers.get("x-api-key", "")
        self.send_response(200 if key else 401)
        if key:
            self.send_header("x-tallystick-subject", key.removeprefix("key-of-"))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def authentication() -> Iterator[int]:
    with listening(ThreadingHTTPServer(("127.0.0.1", 0), _Authentication)) as port:
        yield port


def started(gateway: Gateway, quotas_port: int, authentication: int, application: Application) -> str:
    """Its address, when it has read the file: it listens before."""
    changes = {
        "127.0.0.1:8080": f"127.0.0.1:{quotas_port}",
        "127.0.0.1:9001": f"127.0.0.1:{authentication}",
        "127.0.0.1:9000": f"127.0.0.1:{application.port}",
    }
    url = gateway("tallystick.yaml", COMMAND, replaced((FILES / "traefik.yaml").read_text(), **changes))
    for _ in range(500):
        if httpx2.get(url).status_code != 404:
            return url
        time.sleep(0.02)
    raise AssertionError("Traefik does not route by the file")


@pytest.fixture
def traefik(quotas: Quotas, authentication: int, application: Application, gateway: Gateway) -> Iterator[httpx2.Client]:
    url = started(gateway, quotas.port, authentication, application)
    with httpx2.Client(base_url=url, headers={"x-api-key": "key-of-acme"}, timeout=30) as client:
        yield client


def test_traefik_lets_through_what_fits_and_passes_on_what_does_not(
    traefik: httpx2.Client, quotas: Quotas, application: Application
) -> None:
    quotas.use("1", 1999)
    answer = traefik.get("/hello?amount=5000&feature=none&deny=403")
    assert (answer.status_code, answer.text) == (200, "GET reached the application")
    assert traefik.post("/hello", content=b"x" * 100_000).text == "POST reached the application"
    assert traefik.get("/own-refusal").status_code == 403
    quotas.use("2", 1)
    refused = traefik.get("/hello")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, WAIT)
    assert refused.headers["ratelimit-policy"] == '"requests";q=2000;w=2678400'
    assert refused.json()["type"] == "urn:tallystick:problem:quota-exhausted"
    assert len(application.reached) == 3


def test_traefik_lets_nobody_ask_in_another_name(
    traefik: httpx2.Client, quotas: Quotas, application: Application
) -> None:
    forged = {"x-tallystick-subject": "acme", "x-tallystick-feature": "none", "x-tallystick-amount": "0"}
    assert traefik.get("/hello", headers={**forged, "x-api-key": ""}).status_code == 401
    assert traefik.get("/hello", headers={**forged, "x-api-key": "key-of-none"}).status_code == 403
    assert application.reached == []
    quotas.use("1", 2000)
    assert traefik.get("/hello", headers=forged).status_code == 429
    assert application.reached == []


def test_traefik_without_an_answer_is_closed(authentication: int, application: Application, gateway: Gateway) -> None:
    url = started(gateway, free_port(), authentication, application)
    assert httpx2.get(f"{url}/hello", headers={"x-api-key": "key-of-acme"}).status_code == 500
    assert application.reached == []
