"""How soon a limit that is reached is known: from the answer to the event that reaches it, until the signal is in the
list, is heard on the stream, and has come to a receiver of webhooks.

The list is asked apart from the other two, because asking records what waits. The load, the listener, the receiver and
the server share the machine's cores. The answer that is checked: each way tells each crossing once, in order, under the
same id, with the event that made it; and every webhook has a signature that the library accepts.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import orjson
from standardwebhooks import Webhook

from benchmarks.measuring import Figure, figure, progress
from benchmarks.servers import tallystick
from benchmarks.usage import CATALOG, parties

LIMIT = 1_000
WAIT_SECONDS = 30.0
WITHIN_MILLISECONDS = 1_000
LOOSE = {"TALLYSTICK_WEBHOOK_PRIVATE_ADDRESSES": "true", "TALLYSTICK_WEBHOOK_HTTP": "true"}

Told = list[tuple[float, dict[str, Any]]]
"""When each signal was there, and what it says."""


def signals(quick: bool) -> dict[str, Figure]:
    """Of each way the p99 beside the median; `signal` is the slowest of all beside the median of the stream."""
    count = 60 if quick else 300
    with (
        tempfile.TemporaryDirectory() as directory,
        tallystick(Path(directory) / "data", **LOOSE) as url,
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        _prepare(client, 2 * count)
        took = {"list": _listed(client, range(count)), **_told(client, url, range(count, 2 * count))}
    for way, seconds in took.items():
        progress(
            f"{count} crossings, {way}: {', '.join(f'{q} {_quantile(seconds, q):.1f} ms' for q in (0.5, 0.99, 1))}"
        )
    wanted = f"< {WITHIN_MILLISECONDS:,} at most"
    figures = {
        f"signal_{way}": figure(
            _quantile(seconds, 0.99), "ms", _quantile(seconds, 0.5), wanted, _quantile(seconds, 1) < WITHIN_MILLISECONDS
        )
        for way, seconds in took.items()
    }
    worst = max(_quantile(seconds, 1) for seconds in took.values())
    is_met = worst < WITHIN_MILLISECONDS
    return {"signal": figure(worst, "ms", _quantile(took["stream"], 0.5), wanted, is_met), **figures}


def _prepare(client: httpx2.Client, customers: int) -> None:
    plan = {**CATALOG["plans"]["plan"], "entitlements": {"tokens": {"limit": str(LIMIT)}}}  # type: ignore[index]
    client.put("/v1/catalog", json={**CATALOG, "plans": {"plan": plan}}).raise_for_status()
    made, terms = parties(customers)
    client.post("/v1/customers", json=made).raise_for_status()
    client.post("/v1/subscriptions", json=terms).raise_for_status()
    client.get("/v1/quota/cust-0/tokens")


def _use_up(client: httpx2.Client, number: int) -> float:
    """Reach the limit of a customer: when the event was answered."""
    event = {
        "specversion": "1.0",
        "id": f"e-{number}",
        "source": "bench",
        "type": "llm",
        "subject": f"cust-{number}",
        "data": {"model": "o3", "input_tokens": LIMIT},
    }
    answer = client.post("/v1/events", json=[event])
    answered = time.perf_counter()
    assert answer.json()["accepted"] == 1
    return answered


def _listed(client: httpx2.Client, numbers: range) -> list[float]:
    """Until `GET /v1/signals` has it."""
    told: Told = []
    answered = []
    for number in numbers:
        answered.append(_use_up(client, number))
        after = told[-1][1]["sequence"] if told else 0
        while not (page := client.get("/v1/signals", params={"after": after}).json()["items"]):
            assert time.perf_counter() < answered[-1] + WAIT_SECONDS
        told += [(time.perf_counter(), signal) for signal in page]
    _check(told, numbers)
    return _seconds(answered, told)


def _told(client: httpx2.Client, url: str, numbers: range) -> dict[str, list[float]]:
    """Until the stream tells it, and until a receiver has it."""
    heard: Told = []
    with _receiving() as (hook, came):
        secret = client.post("/v1/webhooks", json={"url": hook}).json()["secret"]
        behind = client.get("/v1/signals", params={"after": 0, "limit": 1000}).json()["next"]
        thread = threading.Thread(target=_listen, args=(url, behind, len(numbers), heard))
        thread.start()
        answered = []
        for number in numbers:
            answered.append(_use_up(client, number))
            while len(heard) < len(answered) or len(came) < len(answered):
                assert time.perf_counter() < answered[-1] + WAIT_SECONDS, (len(heard), len(came), len(answered))
                time.sleep(0.0005)
        thread.join()
        received = [(at, Webhook(secret).verify(body, headers)) for at, body, headers in came]
    for told in (heard, received):
        _check(told, numbers)
    assert [signal for _, signal in heard] == [signal for _, signal in received]
    return {"stream": _seconds(answered, heard), "webhook": _seconds(answered, received)}


def _listen(url: str, behind: int, count: int, heard: Told) -> None:
    headers = {"accept": "text/event-stream", "last-event-id": str(behind)}
    with httpx2.stream("GET", f"{url}/v1/signals", headers=headers, timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                heard.append((time.perf_counter(), orjson.loads(line[6:])))
                if len(heard) == count:
                    return


@contextmanager
def _receiving() -> Iterator[tuple[str, list[tuple[float, bytes, dict[str, str]]]]]:
    """The URL of a receiver, and what has come to it."""
    came: list[tuple[float, bytes, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            came.append((time.perf_counter(), body, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _check(told: Told, numbers: range) -> None:
    said = [(signal["type"], signal["customer"], signal["data"]["event"]["id"]) for _, signal in told]
    assert said == [("quota.exhausted", f"cust-{number}", f"e-{number}") for number in numbers]
    assert len({signal["id"] for _, signal in told}) == len(numbers)


def _seconds(answered: list[float], told: Told) -> list[float]:
    """0 where it was there before the answer."""
    return [max(at - since, 0.0) for since, (at, _) in zip(answered, told, strict=True)]


def _quantile(seconds: list[float], q: float) -> float:
    """In milliseconds, a microsecond at least."""
    return max(sorted(seconds)[min(int(q * len(seconds)), len(seconds) - 1)] * 1000, 0.001)
