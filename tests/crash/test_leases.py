"""A server that is killed while gateways lease, report, release and consume: each sends again what was not answered,
and in the end what is counted is what they have used, no unit above the limit."""

import http.client
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.crash.server import TALLYSTICK, Connection, Server

LIMIT = 3_000
GATEWAYS = 8
CATALOG = {
    "tallystick": 1,
    "currencies": ["USD"],
    "meters": {"used": {"event_type": "usage", "aggregation": "sum", "property": "quantity"}},
    "features": {"units": {"meter": "used"}},
    "plans": {"p": {"currency": "USD", "entitlements": {"units": {"limit": str(LIMIT), "window": "month"}}}},
}
TERM = {"customer": "acme", "plan": "p", "starts_at": "2020-01-01T00:00:00Z"}
OWN = {"subject": "acme", "feature": "units"}


def ask(server: Server, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """One request on a connection of its own."""
    with closing(Connection(server.url, timeout=10)) as connection:
        return connection.ask(method, path, body)


class Gateway:
    """Sends each request until it is answered, to whichever server runs; `used` is what it has let through."""

    def __init__(self, name: str, server: Server, ended: threading.Event) -> None:
        self.name, self.server, self.ended = name, server, ended
        self.used = 0

    def run(self, seed: int) -> int:
        chance = Random(seed)
        for number in range(10_000):
            if self.ended.is_set():
                break
            self._consume(number) if chance.random() < 0.3 else self._lease(number, chance)
        return self.used

    def _consume(self, number: int) -> None:
        given = {"id": f"{self.name}-{number}", "source": "gateway", **OWN, "amount": 2}
        status, _ = self._ask("/v1/quota/consume", given)
        self.used += 2 if status == 200 else 0

    def _lease(self, number: int, chance: Random) -> None:
        id = f"{self.name}-{number}"
        status, lease = self._ask("/v1/leases", {"id": id, **OWN, "amount": 20, "minimum": 1, "seconds": 600})
        if status != 201:
            return
        used = chance.randint(0, int(lease["granted"]))
        if chance.random() < 0.7:
            self._ask(f"/v1/leases/{id}/report", {"sequence": 1, "used": used // 2})
        self._ask(f"/v1/leases/{id}/release", {"sequence": 2, "used": used})
        self.used += used

    def _ask(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        while True:
            try:
                status, answer = ask(self.server, "POST", path, body)
                if status < 500:
                    assert status in (200, 201, 402, 429), (path, status, answer)
                    return status, answer
            except (OSError, http.client.HTTPException, ValueError):
                pass
            time.sleep(0.02)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_kills_forget_no_lease_and_no_report_and_pass_no_limit(tmp_path: Path, seed: int) -> None:
    server, ended, chance = Server(TALLYSTICK, tmp_path / "data", tmp_path / "log"), threading.Event(), Random(seed)
    server.must_start()
    for path, body in (("/v1/catalog", CATALOG), ("/v1/customers/acme", {}), ("/v1/subscriptions/s", TERM)):
        assert ask(server, "PUT", path, body)[0] == 200
    with ThreadPoolExecutor(GATEWAYS) as threads:
        gateways = [Gateway(f"gw{n}", server, ended) for n in range(GATEWAYS)]
        running = [threads.submit(gateway.run, seed * 100 + n) for n, gateway in enumerate(gateways)]
        for _ in range(4):
            time.sleep(chance.uniform(0.3, 1.5))
            server.end(signal.SIGKILL)
            server.must_start()
        ended.set()
        used = sum(future.result(120) for future in running)
    status, answer = ask(server, "GET", "/v1/quota/acme/units")
    assert status in (200, 429)
    assert (int(answer["used"]), answer["reserved"]) == (used, "0")
    assert used <= LIMIT
    assert ask(server, "GET", "/v1/leases?state=open")[1]["items"] == []
    server.end(signal.SIGTERM)
