"""Backups of a real server while clients post: each restores to exactly the events up to its sequence, bill and quota
included; and SIGKILL while one is made leaves the directory and the earlier ones whole."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.operating.backup import BackupFolder
from api.operating.restore import check, restore
from api.settings import Settings
from rating.disk import Disk
from tests.api.conftest import event
from tests.api.test_rating import lines_of, rate
from tests.api.test_server import BATCH, Server, sell
from tests.cli.conftest import Run
from tests.conftest import ROOT

CLIENTS, BATCH_EVENTS, BACKUPS = 3, 20, 4


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "data")
    sell(running)
    yield running
    if running.process.poll() is None:
        running.end(signal.SIGKILL)


@dataclass
class Record:
    """What the clients know: tokens of each event by id, of all that were sent, and of those that were acknowledged."""

    sent: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    is_over: bool = False

    def post(self, server: Server, client: int, at: str) -> None:
        number = 0
        while not self.is_over:
            tokens = {f"{client}-{number + i}": number + i for i in range(BATCH_EVENTS)}
            number += BATCH_EVENTS
            self.sent |= tokens
            body = [event(key, time=at, data={"model": "big", "input_tokens": n}) for key, n in tokens.items()]
            answer = server.ask("POST", "/v1/events", content=json.dumps(body), headers=BATCH)
            assert answer.json()["accepted"] == BATCH_EVENTS, answer.text
            self.acknowledged |= tokens


def test_backups_under_load_restore_to_exactly_the_events_up_to_their_sequence(
    server: Server, run: Run, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    record, folder, taken = Record(), tmp_path / "backups", []
    with ThreadPoolExecutor(CLIENTS) as threads:
        posting = [threads.submit(record.post, server, client, now.isoformat()) for client in range(CLIENTS)]
        try:
            for _ in range(BACKUPS):
                time.sleep(0.3)
                before = set(record.acknowledged)
                made = run("backup", folder, "--url", server.url, "--json")
                assert made.code == 0, made.err
                taken.append((made.json, before, set(record.sent)))
        finally:
            record.is_over = True
        for client in posting:
            client.result()
    assert server.end(signal.SIGTERM) == 0
    live = Engine.open(Settings(data=server.data))
    order = dict(live.log.scan().frame.select("id", "sequence").collect().iter_rows())
    live.close()
    assert set(order) == set(record.acknowledged)
    sequences = [made["last_sequence"] for made, _, _ in taken]
    assert 0 < sequences[0] < sequences[-1], "nothing was posted meanwhile"
    for number, (made, before, sent) in enumerate(taken):
        known = {key for key, sequence in order.items() if sequence <= made["last_sequence"]}
        assert before <= known <= sent
        assert len(known) == made["last_sequence"]
        found = _answers(folder, made["backup"], tmp_path / f"restored-{number}", f"{now:%Y-%m}")
        assert found == _expected({key: record.acknowledged[key] for key in known})


def _answers(folder: Path, name: str, data: Path, period: str) -> dict[str, Any]:
    kept = BackupFolder(folder, disk=Disk())
    restore(kept, kept.read(name), data, Disk())
    settings = Settings(data=data)
    engine = Engine.open(settings)
    try:
        events = engine.log.scan().frame.select("id", "sequence").collect()
        with TestClient(create_app(settings, engine=engine)) as client:
            quota = client.get("/v1/quota/acme/tokens").json()
            lines = {line["price"]: line for line in lines_of(client, rate(client, period))}
    finally:
        engine.close()
    assert sorted(events["sequence"]) == list(range(1, events.height + 1))
    charged = lines.get("tokens/big")
    return {
        "ids": set(events["id"]),
        "used": Decimal(quota["used"]),
        "quantity": Decimal(charged["quantity"]) if charged else Decimal(0),
        "amount": Decimal(charged["amount"]) if charged else Decimal(0),
        "fee": lines["fee"]["amount"],
    }


def _expected(tokens: dict[str, int]) -> dict[str, Any]:
    """The catalog of the tests: 2.50 for each of the first 1,000 tokens, by the thousand, and 1 for each above."""
    used = sum(tokens.values())
    amount = (Decimal("2.50") * min(used, 1000) + max(used - 1000, 0)) / 1000
    return {"ids": set(tokens), "used": used, "quantity": used, "amount": amount, "fee": "20"}


def test_a_backup_that_is_killed_leaves_the_directory_and_earlier_ones_whole(
    server: Server, run: Run, tmp_path: Path
) -> None:
    folder, kept = tmp_path / "backups", BackupFolder(tmp_path / "backups", disk=Disk())
    assert run("backup", folder, "--url", server.url).code == 0
    body = json.dumps([event(f"wide {number}", data={"text": os.urandom(20_000).hex()}) for number in range(100)])
    assert server.ask("POST", "/v1/events", content=body, headers=BATCH).json()["accepted"] == 100
    command = [sys.executable, "-m", "api.cli", "backup", str(folder), "--url", server.url]
    making = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while making.poll() is None and not (folder / "files" / "incoming.tmp").exists():
        time.sleep(0.0005)
    making.kill()
    making.wait()
    for name in kept.names():
        check(kept, kept.read(name))
    assert server.ask("GET", "/readyz").status_code == 200
    made = run("backup", folder, "--url", server.url, "--json").json
    assert made["last_sequence"] == 100
    check(kept, kept.read())
    server.restart()
    assert server.ask("GET", "/v1/events", params={"limit": 1}).status_code == 200
    assert not (server.data / "snapshots").exists()
