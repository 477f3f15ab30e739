"""The demonstration from its first step to its last, and what it tells about each."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import polars as pl

from api.cli.failing import USAGE, Failure
from api.cli.printing import document, progress
from api.cli.quota import read_signals
from api.cli.service import Service, segment
from api.cli.writing import records
from api.demo.checks import check_line, check_quota, check_report, check_totals, check_verdicts
from api.demo.customers import demo_customers
from api.demo.day import bodies, demo_day, make_day
from api.demo.findings import Findings
from api.demo.posting import CONNECTIONS, post_all
from api.demo.prices import demo_catalog
from api.demo.server import running_server
from api.demo.telling import show_findings, show_step
from api.frames import ARROW

CHECKED_LINES = 3


def tell(*, events: int, seed: int, keep: Path | None, as_json: bool) -> bool:
    """Run the demonstration, print it, and say whether every check passed."""
    if keep is not None and keep.exists():
        raise Failure(f"{keep} is there already. Say another --keep.", USAGE)
    customers = demo_customers(seed)
    findings = Findings(events, seed, demo_day(datetime.now(UTC)), customers, demo_catalog(events))
    with _directory(keep) as data, running_server(data) as url, httpx2.Client(base_url=url, timeout=600) as client:
        _live_through(findings, client, url, quiet=as_json)
    if as_json:
        document(findings.as_json())
    else:
        show_findings(findings, keep)
    return findings.ok


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with TemporaryDirectory(prefix="tallystick-demo-") as directory:
        yield Path(directory) / "data"


def _live_through(findings: Findings, client: httpx2.Client, url: str, *, quiet: bool) -> None:
    service = Service(client)
    show_step(f"server: {url}, on an empty data directory", quiet=quiet)
    _set_up(service, findings)
    kept = f"{len(findings.catalog['prices'])} prices, {len(findings.customers)} customers"
    show_step(f"catalog and customers: {kept} on {len(findings.catalog['plans'])} plans", quiet=quiet)
    day = make_day(findings.events, findings.seed, findings.customers, findings.day)
    _post(findings, client, day, quiet=quiet)
    show_step(
        f"usage: {findings.events:,} events of {findings.day} in {findings.post_seconds:.1f} s, "
        f"{findings.events_per_second:,} events/s, each durable and counted once",
        quiet=quiet,
    )
    started = time.monotonic()
    with progress(f"rating {findings.month}", quiet=quiet):
        findings.run = service.answer("POST", "/v1/rating-runs", json={"period": str(findings.month)}).json()
    findings.rate_seconds = time.monotonic() - started
    show_step(
        f"rated {findings.month}: {findings.run['report']['lines']:,} charge lines in {findings.rate_seconds:.2f} s",
        quiet=quiet,
    )
    _read_back(service, findings, day)


def _set_up(service: Service, findings: Findings) -> None:
    service.answer("PUT", "/v1/catalog", json=findings.catalog)
    service.answer("POST", "/v1/customers", json=[customer.as_json() for customer in findings.customers])
    subscriptions = [customer.subscription(findings.month) for customer in findings.customers]
    service.answer("POST", "/v1/subscriptions", json=subscriptions)


def _post(findings: Findings, client: httpx2.Client, day: pl.DataFrame, *, quiet: bool) -> None:
    started = time.monotonic()
    with progress(f"posting over {CONNECTIONS} connections", quiet=quiet) as bar:

        def on_answer(answered: int) -> None:
            rate = answered / (time.monotonic() - started)
            bar.advance(answered / findings.events, f"{answered:,} events, {rate:,.0f}/s")

        findings.verdicts = post_all(client, bodies(day, findings.seed), on_answer)
    findings.post_seconds = time.monotonic() - started
    findings.resent = post_all(client, islice(bodies(day.head(1_000), findings.seed), 1), lambda _: None)


def _read_back(service: Service, findings: Findings, day: pl.DataFrame) -> None:
    """What a person would look at next, and the checks of it."""
    path = f"/v1/rating-runs/{segment(findings.run['id'])}/lines"
    lines = pl.read_ipc_stream(service.answer("GET", path, headers={"Accept": ARROW}).content)
    largest = lines.sort("rounded_amount", "line", descending=[True, False])
    of_tokens = records(largest.filter(pl.col("price").str.ends_with("/input_tokens")).head(CHECKED_LINES))
    findings.lines = records(largest.head(10))
    findings.explained = service.get(f"/v1/charge-lines/{segment(of_tokens[0]['line'])}/explain")
    findings.signals = [signal for signal in read_signals(service, 0) if signal["type"] == "quota.exhausted"]
    by_key = {customer.key: customer for customer in findings.customers}
    findings.checks = [
        *check_verdicts(findings.events, findings.verdicts, findings.resent),
        *check_totals(lines, findings.run["report"]),
        *check_report(day, findings.customers, findings.run["report"]),
        *(check for line in of_tokens for check in check_line(day, by_key[line["customer"]], line)),
        *check_quota(day, findings.customers, findings.limits(), findings.signals),
    ]
