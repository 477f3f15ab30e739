"""A real server, killed while it delivers to a real receiver: what it had not marked is sent again, nothing is lost."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from tests.api.test_signal_stream import sell, use_up
from tests.webhooks.receiver import Receiver, receiving
from tests.webhooks.test_delivering import in_order, until

ROOT = Path(__file__).parents[2]
LOOSE = {"TALLYSTICK_WEBHOOK_PRIVATE_ADDRESSES": "true", "TALLYSTICK_WEBHOOK_HTTP": "true"}
CUSTOMERS = 60


def started(data: Path) -> tuple["subprocess.Popen[bytes]", httpx2.Client]:
    url_file = data.parent / "url"
    url_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "api.cli", "serve", "--data", data, "--port", "0", "--url-file", url_file]
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **LOOSE}, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not url_file.exists():
        assert server.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return server, httpx2.Client(base_url=url_file.read_text().strip(), timeout=60)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_a_server_that_is_killed_again_and_again_delivers_all_of_it(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with receiving() as receiver:
        receiver.behave = lambda _: chance.choice(["ok", "ok", "ok", "repeat"])
        secret, listed = _deliver_with_kills(tmp_path / "data", receiver, chance)
    assert {came.id for came in receiver.taken} == listed
    assert len(listed) == CUSTOMERS
    assert in_order(receiver)
    receiver.verify(secret)


def _deliver_with_kills(data: Path, receiver: Receiver, chance: random.Random) -> tuple[str, set[str]]:
    """The secret, and the ids of the outbox at the end."""
    server, client = started(data)
    try:
        sell(client, CUSTOMERS)
        made = client.post("/v1/webhooks", json={"url": receiver.url}).json()
        for number in range(CUSTOMERS):
            use_up(client, number)
            if number % 15 == 14:
                time.sleep(chance.uniform(0, 0.05))
                server.send_signal(signal.SIGKILL)
                server.wait(30)
                client.close()
                server, client = started(data)
        listed = {each["id"] for each in client.get("/v1/signals", params={"limit": 1000}).json()["items"]}
        until(lambda: {came.id for came in receiver.taken} == listed)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        return made["secret"], listed
    finally:
        client.close()
        server.kill()
        server.wait(30)
