"""The real NGINX with docs/gateways/nginx.conf: only addresses are others, and what the test says."""

import getpass
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.gateways.conftest import FILES, Application, Gateway, Quotas, free_port, replaced

WAIT = "1425600"  # seconds from 15 October noon to 1 November


def configuration(directory: Path, quotas_port: int, application: Application) -> str:
    return replaced(
        (FILES / "nginx.conf").read_text(),
        **{
            "worker_processes auto;": f"worker_processes 1; user {getpass.getuser()};",  # the directory is its own
            "pid /run/nginx.pid;": f"pid {directory}/pid;",
            "events {": f"error_log {directory}/log; daemon off; events {{",
            "http {": f"http {{ access_log off; {_places(directory)}",
            "server 127.0.0.1:8080;": f"server 127.0.0.1:{quotas_port};",
            "server 127.0.0.1:9000;": f"server 127.0.0.1:{application.port};",
            "listen 80;": "listen 127.0.0.1:{port};",
        },
    )


def _places(directory: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)


@pytest.fixture
def nginx(tmp_path: Path, quotas: Quotas, application: Application, gateway: Gateway) -> Iterator[httpx2.Client]:
    file = configuration(tmp_path, quotas.port, application)
    url = gateway("nginx.conf", ["nginx", "-e", "stderr", "-c", "{file}"], file)
    with httpx2.Client(base_url=url, headers={"x-api-key": "key-of-acme"}, timeout=30) as client:
        yield client


def test_nginx_lets_through_what_fits_and_says_what_is_left(
    nginx: httpx2.Client, quotas: Quotas, application: Application
) -> None:
    quotas.use("1", 1999)
    answer = nginx.get("/hello")
    assert (answer.status_code, answer.text) == (200, "GET reached the application")
    assert answer.headers["ratelimit"] == f'"requests";r=1;t={WAIT}'
    assert answer.headers["ratelimit-policy"] == '"requests";q=2000;w=2678400'
    assert "retry-after" not in answer.headers
    sent = nginx.post("/hello?subject=globex", content=b"x" * 100_000)
    assert (sent.status_code, sent.text) == (200, "POST reached the application")
    assert nginx.get("/own-refusal").text == "GET reached the application"
    assert application.reached == ["/hello", "/hello?subject=globex", "/own-refusal"]


def test_nginx_refuses_with_the_status_of_the_quota(
    nginx: httpx2.Client, quotas: Quotas, application: Application
) -> None:
    quotas.use("1", 2000)
    later = nginx.get("/hello")
    assert (later.status_code, later.json()) == (429, {"error": "exhausted"})
    assert (later.headers["retry-after"], later.headers["ratelimit"]) == (WAIT, f'"requests";r=0;t={WAIT}')
    for key in ("key-of-globex", "", "key-of-nobody"):
        never = nginx.get("/hello", headers={"x-api-key": key, "x-tallystick-subject": "acme"})
        assert (never.status_code, never.json()) == (403, {"error": "not_entitled"})
        assert "retry-after" not in never.headers
    assert application.reached == []


def test_nginx_refuses_with_402_what_no_window_holds(
    tmp_path: Path, quotas: Quotas, application: Application, gateway: Gateway
) -> None:
    file = replaced(configuration(tmp_path, quotas.port, application), **{'Amount "1"': 'Amount "2000.5"'})
    url = gateway("nginx.conf", ["nginx", "-e", "stderr", "-c", "{file}"], file)
    answer = httpx2.get(f"{url}/hello", headers={"x-api-key": "key-of-acme"})
    assert (answer.status_code, answer.json()) == (402, {"error": "would_exceed"})


@pytest.mark.parametrize(("fails_open", "status"), [(False, 500), (True, 200)])
def test_nginx_without_an_answer_is_closed_unless_it_is_told_to_be_open(
    tmp_path: Path, application: Application, gateway: Gateway, fails_open: bool, status: int
) -> None:
    file = configuration(tmp_path, free_port(), application)
    if fails_open:
        changes = ("proxy_intercept_errors on;", "error_page 500 502 503 504 = @unchecked;")
        file = replaced(file, **{f"# {change}": change for change in changes})
    url = gateway("nginx.conf", ["nginx", "-e", "stderr", "-c", "{file}"], file)
    assert httpx2.get(f"{url}/hello", headers={"x-api-key": "key-of-acme"}).status_code == status
    assert len(application.reached) == (1 if fails_open else 0)
