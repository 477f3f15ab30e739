"""How long a start takes until checks are answered, with many events in the live windows, after a kill."""

import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import polars as pl

from benchmarks.measuring import Figure, figure, progress, request, send
from benchmarks.servers import tallystick
from benchmarks.usage import ARROW, CATALOG, arrow_bodies, events, parties

CUSTOMERS, GROUP = 500, 500_000


def restart(quick: bool) -> dict[str, Figure]:
    """Seconds from the command to the first answer, which has to be right; the baseline is a start on no data."""
    count = 1_000_000 if quick else 10_000_000
    with tempfile.TemporaryDirectory() as directory:
        empty, _ = _start(Path(directory) / "empty")
        data = Path(directory) / "data"
        used = _post(data, count)
        seconds, found = _start(data)
    assert found == str(used), (found, used)
    progress(f"{count:,} events in the live windows: the first check is answered after {seconds:.2f} s, right")
    return {"restart": figure(seconds, "s", empty, f"< 5 with {count:,} events", seconds < 5)}


def _post(data: Path, count: int) -> int:
    """Events of this month, acknowledged; what the first customer has used. The server is killed."""
    customers, terms = parties(CUSTOMERS)
    used = 0
    with tallystick(data) as url, httpx2.Client(base_url=url, timeout=60) as client:
        client.put("/v1/catalog", json=CATALOG).raise_for_status()
        client.post("/v1/customers", json=customers).raise_for_status()
        client.post("/v1/subscriptions", json=terms).raise_for_status()
        for first in range(0, count, GROUP):
            made = _this_month(events(GROUP, subjects=CUSTOMERS, seed=first, first=first))
            send(url, [request("/v1/events", body, ARROW) for body in arrow_bodies(made, 50_000)], connections=2)
            used += made.filter(subject="cust-0")["input_tokens"].sum()
    return used


def _this_month(made: pl.DataFrame) -> pl.DataFrame:
    """The same events on the hour before now, or on what there is of it in this month."""
    now = datetime.now(UTC)
    begun = max(now.replace(day=1, hour=0, minute=0, second=0, microsecond=0), now - timedelta(hours=1))
    step = (now - begun) / made.height // timedelta(microseconds=1)
    times = pl.lit(begun).cast(pl.Datetime("us", "UTC")) + pl.duration(microseconds=pl.int_range(pl.len()) * step)
    return made.with_columns(time=times)


def _start(data: Path) -> tuple[float, str | None]:
    """Seconds to the first answer, and what it says is used."""
    begun = time.perf_counter()
    with tallystick(data) as url:
        answer = httpx2.get(f"{url}/v1/quota/cust-0/tokens", timeout=60)
        return time.perf_counter() - begun, answer.json()["used"]
