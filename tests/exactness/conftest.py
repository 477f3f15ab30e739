"""One real server for each module, and what every proof does with it: post, kill, start again, rate, read lines."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from io import BytesIO
from typing import Any

import polars as pl
import pytest

from tests.api.test_server import Server

ARROW = "application/vnd.apache.arrow.stream"
BATCH = "application/cloudevents-batch+json"
SINCE = "2000-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("exact") / "data")
    yield running
    running.end(9)


def sell(server: Server, catalog: dict[str, Any], plans: Iterable[tuple[str, str]]) -> None:
    """Bring the catalog into force and subscribe each (customer, plan); the customer is its own only subject."""
    answer = server.ask("PUT", "/v1/catalog", json=catalog)
    assert answer.status_code == 200, answer.text[:2000]
    pairs = list(plans)
    customers = [{"key": customer, "subjects": [customer]} for customer, _ in pairs]
    assert server.ask("POST", "/v1/customers", json=customers).status_code == 200
    terms = [{"key": c, "customer": c, "plan": plan, "starts_at": SINCE} for c, plan in pairs]
    assert server.ask("POST", "/v1/subscriptions", json=terms).status_code == 200


def post_arrow(server: Server, events: pl.DataFrame) -> dict[str, int]:
    """One Arrow stream: columns of CloudEvents attributes and properties."""
    body = BytesIO()
    events.write_ipc_stream(body, compat_level=pl.CompatLevel.oldest())
    return _verdicts(server, body.getvalue(), ARROW)


def post_json(server: Server, events: pl.DataFrame, attributes: Iterable[str]) -> dict[str, int]:
    """CloudEvents batches of 1,000; every column that is no attribute goes into `data`."""
    names = [*attributes]
    data = [name for name in events.columns if name not in names]
    objects = events.select(*names, pl.struct(data).alias("data")) if data else events.select(names)
    stamped = objects.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    totals = {"accepted": 0, "duplicates": 0}
    for part in stamped.iter_slices(1000):
        body = part.write_json().encode()
        for key, count in _verdicts(server, body, BATCH).items():
            totals[key] += count
    return totals


def _verdicts(server: Server, body: bytes, content_type: str) -> dict[str, int]:
    answer = server.ask("POST", "/v1/events", content=body, headers={"content-type": content_type})
    assert answer.status_code == 200, answer.text[:2000]
    found = answer.json()
    assert (found["rejected"], found["conflicts"]) == (0, 0), found["events"][:5]
    return {key: found[key] for key in ("accepted", "duplicates")}


def rated_lines(server: Server, months: Iterable[str]) -> pl.DataFrame:
    """Run each month twice, with a kill between; the digests must agree. The lines of all months."""
    frames = []
    for month in months:
        first = server.ask("POST", "/v1/rating-runs", json={"period": month}).json()
        server.restart()
        second = server.ask("POST", "/v1/rating-runs", json={"period": month}).json()
        assert first["digest"] == second["digest"], (first, second)
        accept = {"accept": "application/vnd.apache.parquet"}
        lines = server.ask("GET", f"/v1/rating-runs/{first['id']}/lines", headers=accept)
        frames.append(pl.read_parquet(BytesIO(lines.content)))
    return pl.concat(frames)


def months_of(times: Iterable[datetime]) -> list[str]:
    return sorted({f"{at:%Y-%m}" for at in times})
