"""The service on PostgreSQL: the same answers as on SQLite; and a server that is killed under it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.cli import main
from api.cli.checks import check_database
from api.engine import Engine
from api.settings import Settings
from store.database import connect, disconnect
from store.migrate import newest_revision, upgrade
from tests.api.conftest import event
from tests.api.test_credits import CATALOG, Clock, grant, ledger, left, served, set_up, usd, use
from tests.api.test_rating import lines_of, rate
from tests.conftest import ROOT
from tests.postgresql import Server, started

BATCH = {"content-type": "application/cloudevents-batch+json"}
PERIOD = "2026-10"


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    with started() as server:
        yield server


def test_a_bill_on_postgresql_is_that_of_sqlite(postgresql: Server, tmp_path: Path) -> None:
    """acme owes 20 + 1,000 x 0.01 = 30 for October: 5 + 40 - 30 = 15 are left, and 1.5 come back."""
    with postgresql.database("LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'") as url:
        found = _bill(tmp_path / "on-postgresql", url)
    assert found == _bill(tmp_path / "on-sqlite", None)
    assert found["balances"] == {"gift": ("0", "0", "active"), "prepaid": ("16.5", "16.5", "active")}


def _bill(data: Path, database_url: str | None) -> dict[str, Any]:
    """Events, a restart, a run, a restart, the run again, a refund; what does not depend on when it was asked."""
    settings, clock = Settings(data=data, database_url=database_url), Clock()
    with served(settings, clock) as client:
        set_up(client)
        grant(client, "gift", **usd("5"), priority=1, effective_at="2026-10-02T00:00:00Z")
        grant(client, "prepaid", **usd("40"), effective_at="2026-10-02T00:00:00Z")
        for number, subject in enumerate(("acme", "beta", "Beta", "ácme")):
            client.put(f"/v1/customers/{subject}", json={"subjects": [subject]})
            use(client, str(number), 1000 if subject == "acme" else 250, "2026-10-10T00:00:00Z", subject)
    with served(settings, clock) as client:
        clock.now = datetime(2026, 11, 2, 12, tzinfo=UTC)
        first = rate(client)
    with served(settings, clock) as client:
        again = rate(client)
        assert again["digest"] == first["digest"]
        lines = lines_of(client, again)
        fee = next(line for line in lines if line["price"] == "fee" and line["customer"] == "acme")
        refund = {"id": "ticket", "amount": "1.5"}
        client.post(f"/v1/charge-lines/{fee['line']}/refund", json=refund)
        found = {
            "digest": again["digest"],
            "report": {name: value for name, value in again["report"].items() if name != "credits"},
            "credits": again["report"]["credits"]["digest"],
            "lines": [{name: value for name, value in line.items() if name != "run"} for line in lines],
            "balances": left(client),
            "ledger": [{name: value for name, value in entry.items() if name != "run"} for entry in ledger(client)],
            "customers": client.get("/v1/customers").json()["items"],
            "signals": client.get("/v1/signals").json()["items"],
        }
        return {**found, "closed": _closed(client)}


def _closed(client: httpx2.Client) -> list[tuple[str, str]]:
    """What a close closes, and the digests of its lines."""
    due = {"due": True, "since": "2026-10-01T00:00:00Z", "until": "2026-11-02T00:00:00Z"}
    runs = client.post("/v1/rating-runs", json=due).json()["runs"]
    assert runs
    return [(run["period"], run["digest"]) for run in runs]


class Served:
    """The server as a child process, on a database that the test may kill."""

    def __init__(self, data: Path, database_url: str) -> None:
        self._environment = {
            **os.environ,
            "TALLYSTICK_DATA": str(data),
            "TALLYSTICK_DATABASE_URL": database_url,
            "TALLYSTICK_PORT": "0",
        }
        self._log = data.with_name("log")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "api.server"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, env=self._environment, cwd=ROOT, stderr=log)
        deadline = time.monotonic() + 60
        while (found := re.search(r"http://\S+\n", self.said())) is None:
            assert time.monotonic() < deadline, self.said()
            assert self.process.poll() is None, self.said()
            time.sleep(0.02)
        self.url = found.group().strip()

    def said(self) -> str:
        return self._log.read_text()

    def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        return httpx2.request(method, self.url + path, timeout=60, **more)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


@pytest.fixture
def own_server() -> Iterator[Server]:
    with started() as server:
        yield server


@pytest.fixture
def service(own_server: Server, tmp_path: Path) -> Iterator[Served]:
    running = Served(tmp_path / "data", own_server.url())
    yield running
    running.kill()


class Writers:
    """Threads that write without pause, each its own keys; `done` is what was acknowledged."""

    def __init__(self, writes: dict[str, Callable[[int], httpx2.Response]]) -> None:
        self.done: dict[str, list[int]] = {name: [] for name in writes}
        self.refused: list[tuple[str, int, str | None]] = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=item) for item in writes.items()]
        for thread in self._threads:
            thread.start()

    def _write(self, name: str, write: Callable[[int], httpx2.Response]) -> None:
        number = 0
        while not self._stopping.is_set():
            answer = write(number)
            if answer.is_success:
                self.done[name].append(number)
                number += 1
            else:
                self.refused.append((name, answer.status_code, answer.json()["type"].rsplit(":", 1)[1]))
                time.sleep(0.02)

    def wait_for_more(self, name: str, count: int) -> None:
        """Until `count` further writes were acknowledged."""
        wanted, deadline = len(self.done[name]) + count, time.monotonic() + 60
        while len(self.done[name]) < wanted:
            assert time.monotonic() < deadline, self.refused[-5:]
            time.sleep(0.01)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()


def test_a_database_that_is_killed_takes_nothing_with_it(own_server: Server, service: Served) -> None:
    """Between writes and during them. Usage is taken all the while; what needs the database is answered 503."""
    assert service.ask("PUT", "/v1/catalog", json=CATALOG).status_code == 200
    writers = Writers(
        {
            "customers": lambda number: service.ask(
                "PUT", f"/v1/customers/c{number}", json={"subjects": [f"s{number}"]}
            ),
            "events": lambda number: service.ask("POST", "/v1/events", content=_one(number), headers=BATCH),
            "runs": lambda number: service.ask("POST", "/v1/rating-runs", json={"period": PERIOD}),
        }
    )
    try:
        for _ in range(3):
            writers.wait_for_more("customers", 5)
            own_server.kill()
            writers.wait_for_more("events", 3)
            away = service.ask("GET", "/v1/customers")
            assert (away.status_code, away.json()["type"]) == (503, "urn:tallystick:problem:database-unavailable")
            assert away.headers["retry-after"] == "1"
            assert service.ask("GET", "/readyz").status_code == 503
            own_server.start()
            writers.wait_for_more("customers", 5)
            writers.wait_for_more("runs", 1)
    finally:
        writers.stop()
    assert {(status, kind) for _, status, kind in writers.refused} <= {
        (503, "database-unavailable"),
        (503, "commit-unknown"),
    }
    _assert_all_is_there(service, writers)
    service.kill()
    service.start()  # the lock of the killed process is gone
    _assert_all_is_there(service, writers)
    runs = service.ask("GET", "/v1/rating-runs", params={"limit": 1000}).json()["items"]
    assert "running" not in {run["status"] for run in runs}


def _one(number: int) -> str:
    return json.dumps([event(str(number), subject=f"s{number}", data={"model": "big", "input_tokens": 1})])


def _assert_all_is_there(service: Served, writers: Writers) -> None:
    page = service.ask("GET", "/v1/customers", params={"limit": 1000}).json()["items"]
    assert {f"c{number}" for number in writers.done["customers"]} <= {customer["key"] for customer in page}
    usage = service.ask("GET", "/v1/meters/tokens/usage").json()["items"]
    assert usage[0]["events"] == len(writers.done["events"])
    runs = service.ask("GET", "/v1/rating-runs", params={"limit": 1000}).json()["items"]
    assert sum(run["status"] == "done" for run in runs) >= len(writers.done["runs"])


def test_a_service_whose_database_is_away_does_not_start_and_says_why(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "TALLYSTICK_DATA": str(tmp_path),
        "TALLYSTICK_DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/bills",
    }
    command = [sys.executable, "-m", "api.cli", "serve", "--port", "0"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "the database postgresql://127.0.0.1:1/bills is not reached" in done.stderr
    assert "start it, or correct TALLYSTICK_DATABASE_URL" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_doctor_names_the_database_its_version_and_its_schema(postgresql: Server, tmp_path: Path) -> None:
    with postgresql.database() as url:
        environment = {**os.environ, "TALLYSTICK_DATABASE_URL": url, "TALLYSTICK_DATA": str(tmp_path / "data")}
        command = [sys.executable, "-m", "api.cli", "doctor", "--json"]
        (tmp_path / "data").mkdir()
        done = subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert re.fullmatch(r"PostgreSQL \d\S* .*, schema \d{4}, the newest", checks["database"]["found"])


def test_doctor_notices_an_old_schema_and_a_database_that_is_away(postgresql: Server) -> None:
    with postgresql.database() as url:
        engine = connect(url)
        upgrade(engine, "0002")
        disconnect(engine)
        old = check_database(Settings(database_url=url))
    assert not old.ok
    assert re.search(rf"schema 0002, this program has {newest_revision()}$", old.found)
    assert "Start the service again" in old.cure
    away = check_database(Settings(database_url=url))
    assert not away.ok
    assert "is not reached" in away.found


def test_a_backup_beside_postgresql_is_made_when_its_dump_is_meant(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the records a backup is not whole: it is refused until the command says that they were dumped."""
    with postgresql.database() as url:
        monkeypatch.setenv("TALLYSTICK_DATABASE_URL", url)
        command = ["backup", str(tmp_path / "backups"), "--data", str(tmp_path / "data")]
        Engine.open(Settings(data=tmp_path / "data")).close()
        with pytest.raises(SystemExit, match="1"):
            main(command)
        assert "pg_dump" in capsys.readouterr().err
        with pytest.raises(SystemExit, match="0"):
            main([*command, "--without-database", "--json"])
        assert not json.loads(capsys.readouterr().out)["has_database"]
