"""A real server is posted to by several clients, scraped, killed, and started again: the counts are exact."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.api.conftest import event
from tests.api.test_server import Server
from tests.observing.scraped import one, scraped

CLIENTS, POSTS = 4, 25


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path / "data")
    yield started
    started.end(signal.SIGKILL)


def posts(url: str, name: str) -> int:
    """How many events were called accepted: of each post 2 new ones; and 1 that all clients send, 1 without an id."""
    accepted = 0
    with httpx2.Client(base_url=url) as client:
        for n in range(POSTS):
            body = [event(f"{name}-{n}-a"), event(f"{name}-{n}-b"), event(f"all-{n}"), event(None)]
            accepted += client.post("/v1/events", json=body).json()["accepted"]
    return accepted


def test_counts_are_those_of_the_answers_and_the_sequence_outlives_a_crash(server: Server) -> None:
    with ThreadPoolExecutor(CLIENTS) as clients:
        accepted = sum(clients.map(lambda n: posts(server.url, str(n)), range(CLIENTS)))
    found = scraped(httpx2.get(f"{server.url}/metrics"))
    new = CLIENTS * POSTS * 2 + POSTS
    assert accepted == new == one(found, "events_total", verdict="accepted") == one(found, "log_last_sequence")
    assert one(found, "events_total", verdict="duplicate") == (CLIENTS - 1) * POSTS
    assert one(found, "events_rejected_total", code="missing_id") == CLIENTS * POSTS
    assert one(found, "commit_group_batches_sum") == CLIENTS * POSTS
    answered = one(found, "http_requests_total", route="/v1/events", method="POST", status="2xx")
    assert answered == CLIENTS * POSTS
    server.restart()
    found = scraped(httpx2.get(f"{server.url}/metrics"))
    assert one(found, "log_last_sequence") == one(found, "identities") == new
    assert one(found, "events_total", verdict="accepted") == 0
    httpx2.post(f"{server.url}/v1/events", json=[event("more")])
    found = scraped(httpx2.get(f"{server.url}/metrics"))
    assert one(found, "events_total", verdict="accepted") == 1
    assert one(found, "log_last_sequence") == new + 1
