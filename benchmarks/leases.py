"""Leased quota: questions answered in the process of a gateway, from slices of a real server.

The answer that is checked: when the client is closed, what the server has counted is what was taken, subject by
subject; and of a small quota exactly the limit is taken.
"""

import tempfile
import time
from pathlib import Path

import httpx2

from api.lease_client import LeasedQuota
from benchmarks.measuring import Figure, figure, progress
from benchmarks.servers import tallystick
from benchmarks.usage import CATALOG, parties

SUBJECTS = 20
SMALL = 1_000
TARGET = 500_000


def measure(quick: bool) -> dict[str, Figure]:
    """`lease`: takes a second of one thread, reports and renewals on, beside a bare dict of numbers."""
    takes = 1_000_000 if quick else 4_000_000
    customers, terms = parties(SUBJECTS)
    with (
        tempfile.TemporaryDirectory() as directory,
        tallystick(Path(directory) / "data") as url,
        httpx2.Client(base_url=url, timeout=60) as server,
    ):
        server.put("/v1/catalog", json=CATALOG).raise_for_status()
        server.post("/v1/customers", json=customers).raise_for_status()
        server.post("/v1/subscriptions", json=terms).raise_for_status()
        rate = _rate(server, url, takes)
        _check_limit(server, url)
    progress(f"{takes:,} takes, all of them counted by the server in the end")
    return {"lease": figure(rate, "takes/s", _bare_rate(takes), f">= {TARGET:,}", rate >= TARGET)}


def _rate(server: httpx2.Client, url: str, takes: int) -> float:
    names = [f"cust-{n % SUBJECTS}" for n in range(takes)]
    with LeasedQuota(url, slice_amount=takes // SUBJECTS // 2) as quota:
        take = quota.take
        begun = time.perf_counter()
        taken = sum([take(name, "tokens") for name in names])
        seconds = time.perf_counter() - begun
    assert taken == takes
    used = [server.get(f"/v1/quota/cust-{n}/tokens").json() for n in range(SUBJECTS)]
    assert all((int(each["used"]), each["reserved"]) == (takes // SUBJECTS, "0") for each in used)
    return takes / seconds


def _check_limit(server: httpx2.Client, url: str) -> None:
    """A customer with a limit of 1,000, asked for 3,000."""
    plan = {**CATALOG["plans"]["plan"], "entitlements": {"tokens": {"limit": str(SMALL), "window": "month"}}}  # type: ignore[index]
    server.put("/v1/catalog", json={**CATALOG, "plans": {**CATALOG["plans"], "small": plan}}).raise_for_status()  # type: ignore[dict-item]
    server.put("/v1/customers/small", json={}).raise_for_status()
    term = {"customer": "small", "plan": "small", "starts_at": "2020-01-01T00:00:00Z"}
    server.put("/v1/subscriptions/small", json=term).raise_for_status()
    with LeasedQuota(url, slice_amount=70) as quota:
        assert sum(quota.take("small", "tokens") for _ in range(3 * SMALL)) == SMALL
    assert server.get("/v1/quota/small/tokens").json()["used"] == str(SMALL)


def _bare_rate(takes: int) -> float:
    counters = dict.fromkeys((f"cust-{n}" for n in range(SUBJECTS)), takes)
    names = [f"cust-{n % SUBJECTS}" for n in range(takes)]
    begun = time.perf_counter()
    for name in names:
        if counters[name] >= 1:
            counters[name] -= 1
    return takes / (time.perf_counter() - begun)
