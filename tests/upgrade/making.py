"""Make the data directory of a release, to be kept: `python -m tests.upgrade.making RELEASE`, where it is checked out.

It writes tests/upgrade/RELEASE.tar.gz and RELEASE.json, what the release itself answered. Made once and never again:
the next release must read it as it is.
"""

import json
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from tests.api.conftest import CATALOG, NOW, event

HERE = Path(__file__).parent
BATCH = {"content-type": "application/cloudevents-batch+json"}
RANGE = {"from": "2026-10-12T00:00:00Z", "to": "2026-10-13T00:00:00Z"}
ASKED = (
    "/v1/meters/tokens/usage?group_by=model",
    "/v1/meters/tokens/usage?group_by=subject&window=day",
    "/v1/meters/requests/usage",
    "/v1/events?limit=1000",
    "/v1/events/corrections",
    "/v1/quota/acme/tokens",
    "/v1/customers",
    "/v1/subscriptions",
    "/v1/signals",
    "/v1/backfills",
    "/v1/rejections",
)


def answers(client: httpx2.Client) -> dict[str, Any]:
    """What a data directory says."""
    found = {path: client.get(path).json() for path in ASKED}
    for run in client.get("/v1/rating-runs").json()["items"]:
        found[run["id"]] = {"digest": run["digest"], "lines": client.get(f"/v1/rating-runs/{run['id']}/lines").json()}
    return found


def fill(client: httpx2.Client, engine: Engine) -> None:
    """Events of three days and two subjects, flushed twice and once not; one voided, one replaced, one refused; a
    backfill; a run; a limit that is reached."""
    client.put("/v1/catalog", json=CATALOG).raise_for_status()
    client.put("/v1/customers/acme", json={"subjects": ["acme", "acme-eu"]}).raise_for_status()
    term = {"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
    client.put("/v1/subscriptions/acme-pro", json=term).raise_for_status()
    for part in range(3):
        _post(client, [_event(part, number) for number in range(20)])
        if part < 2:
            engine.log.flush()
    _post(client, [event("good"), event("refused", time="yesterday")])
    voids = {"action": "void", "corrects": {"source": "gateway", "id": "0-1"}, "source": "desk", "id": "v"}
    replaces = {**voids, "action": "replace", "corrects": {"source": "gateway", "id": "1-1"}, "id": "r"}
    data = {"model": "big", "input_tokens": "0.000000001"}
    client.post("/v1/events/corrections", json=[voids, {**replaces, "data": data}]).raise_for_status()
    key = client.post("/v1/backfills", json=RANGE).json()["id"]
    staged = [event("staged", time="2026-10-12T12:00:00Z", data={"model": "big", "input_tokens": 77})]
    client.post(f"/v1/backfills/{key}/events", json=staged).raise_for_status()
    client.post(f"/v1/backfills/{key}/commit").raise_for_status()
    client.post("/v1/rating-runs", json={"period": "2026-10"}).raise_for_status()
    _post(client, [_event(4, number) for number in range(5)])


def _post(client: httpx2.Client, events: list[dict[str, Any]]) -> None:
    client.post("/v1/events", content=json.dumps(events), headers=BATCH).raise_for_status()


def _event(part: int, number: int) -> dict[str, Any]:
    data = {"model": ("big", "small")[number % 2], "input_tokens": f"{number * 10}.5", "region": "eu"}
    subject = ("acme", "acme-eu")[number % 3 == 0]
    return event(f"{part}-{number}", subject=subject, time=f"2026-10-1{part}T10:00:00Z", data=data)


def make(release: str) -> None:
    """Write both files."""
    with TemporaryDirectory() as scratch:
        settings = Settings(data=Path(scratch) / "data")
        engine = Engine.open(settings, now=lambda: NOW)
        with TestClient(create_app(settings, engine=engine)) as client:
            fill(client, engine)
            said = answers(client)
        engine.close()
        (HERE / f"{release}.json").write_text(json.dumps(said, indent=1) + "\n")
        with tarfile.open(HERE / f"{release}.tar.gz", "w:gz") as archive:
            archive.add(settings.data, "data")


if __name__ == "__main__":
    make(sys.argv[1])
