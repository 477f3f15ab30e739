"""What a client of rating runs knows, and what is wrong when the server's record of runs says something else.

MISRATED  a run that was answered is gone or another one; a run that is done has other lines than its digest says, or
          other lines than a run of the same inputs; a run that was broken off shows lines, or still counts as running
"""

import io
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from rating.core.line_digest import digest
from rating.core.lines import CHARGE_LINE
from tests.crash.ledger import Finding
from tests.crash.server import Connection, Server

PERIOD = "2024-03"  # the month of every event of a ledger
CUSTOMERS = 20
SUBJECTS_MAX = 4_000
READ_AGAIN = 3  # runs whose lines were looked at after an earlier start

PRICED = {
    "tallystick": 1,
    "currencies": ["USD"],
    "meters": {"used": {"event_type": "usage", "aggregation": "sum", "property": "quantity"}},
    "prices": {
        "fee": {"currency": "USD", "model": "flat", "versions": [{"amount": "5"}]},
        "used": {
            "meter": "used",
            "currency": "USD",
            "model": "graduated",
            "versions": [
                {"tiers": [{"up_to": "1000", "unit_amount": "0.01"}, {"up_to": None, "unit_amount": "0.001"}]}
            ],
        },
    },
    "plans": {"plan": {"currency": "USD", "prices": ["*"]}},
}


def sell(server: Server) -> None:
    """Put a price on the meter of the totals, and share the subjects of a ledger among some customers."""
    connection = Connection(server.url)
    customers = [
        {"key": f"c{number}", "subjects": [str(subject) for subject in range(number, SUBJECTS_MAX, CUSTOMERS)]}
        for number in range(CUSTOMERS)
    ]
    subscriptions = [
        {"key": f"s{number}", "customer": f"c{number}", "plan": "plan", "starts_at": "2024-01-01T00:00:00Z"}
        for number in range(CUSTOMERS)
    ]
    for method, path, body in (
        ("PUT", "/v1/catalog", PRICED),
        ("POST", "/v1/customers", customers),
        ("POST", "/v1/subscriptions", subscriptions),
    ):
        status, answer = connection.ask(method, path, body)
        assert status == 200, answer
    connection.close()


def start_run(connection: Connection) -> tuple[int, Any]:
    """Status and answer of a rating run of all events."""
    return connection.ask("POST", "/v1/rating-runs", {"period": PERIOD})


@dataclass
class RunLedger:
    """For several threads. `answered` are the runs that the client was told of."""

    chance: random.Random
    answered: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _checked: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _digests: dict[tuple[object, ...], tuple[str, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, run: Mapping[str, Any]) -> None:
        """Note a run that was answered as done."""
        with self._lock:
            self.answered[run["id"]] = run

    def check(self, server: Server) -> list[Finding]:
        """What is wrong with the runs of a server that runs nothing at the moment."""
        connection = Connection(server.url, timeout=60)
        runs = _all_runs(connection)
        found = [*self._changed(runs)]
        again = self.chance.sample(sorted(self._checked), min(READ_AGAIN, len(self._checked)))
        for name in [*(name for name in runs if name not in self._checked), *again]:
            found += self._wrong(connection, runs[name])
        self._checked = runs
        connection.close()
        return [Finding("MISRATED", what) for what in found]

    def statuses(self) -> dict[str, int]:
        """How many of the runs that were looked at ended in which way."""
        ends = [run["status"] for run in self._checked.values()]
        return {status: ends.count(status) for status in sorted(set(ends))}

    def _changed(self, runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
        known = [("seen", self._checked), ("answered", self.answered)]
        return [
            f"run {name}, {how} as {run}, is {runs.get(name)}"
            for how, ledger in known
            for name, run in ledger.items()
            if runs.get(name) != run
        ]

    def _wrong(self, connection: Connection, run: Mapping[str, Any]) -> list[str]:
        status, content = connection.fetch(f"/v1/rating-runs/{run['id']}/lines", "application/vnd.apache.parquet")
        if run["status"] != "done":
            is_hidden = status == 422 and run["status"] in ("interrupted", "failed")
            return [] if is_hidden else [f"run {run['id']} is {run['status']}, its lines are answered {status}"]
        if status != 200:
            return [f"the lines of run {run['id']} are answered {status} {content[:500]!r}"]
        lines = pl.read_parquet(io.BytesIO(content)).select(CHARGE_LINE.names())
        if digest(lines) != run["digest"] or lines.height != run["report"]["lines"]:
            return [f"run {run['id']} has {lines.height} lines with digest {digest(lines)}, and is recorded as {run}"]
        first, expected = self._digests.setdefault(_inputs(run), (run["id"], run["digest"]))
        return [] if run["digest"] == expected else [f"runs {first} and {run['id']} have the same inputs: {run}"]


def _inputs(run: Mapping[str, Any]) -> tuple[object, ...]:
    names = ("period", "catalog_version", "last_sequence", "code_version")
    report = run["report"]
    return (*(run[name] for name in names), report["accounts"]["digest"], *report.get("backfills", ()))


def _all_runs(connection: Connection) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    after = ""
    while True:
        status, page = connection.ask("GET", f"/v1/rating-runs?limit=1000{after}")
        assert status == 200, page
        found.update((run["id"], run) for run in page["items"])
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"
