"""A server with two months of a reseller's life in it, to look at in a browser: customers on plans, some of them near
their limits or beyond, refused events, signals on their way, last month rated and this one open."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import orjson

from api.cli.failing import UNAVAILABLE, USAGE, Failure
from api.cli.printing import progress
from api.cli.service import Service
from api.demo.customers import DemoCustomer, demo_customers
from api.demo.day import bodies
from api.demo.mistakes import mistaken_events
from api.demo.months import make_months
from api.demo.posting import JSON_BATCH, post_all
from api.demo.prices import Document, demo_catalog
from api.demo.receiver import running_receiver
from api.demo.server import running_server
from api.demo.telling import show_step
from rating.core.periods import month_of

MISTAKES = 60
TRICKLE_PER_SECOND = 25
_FEES = {
    "fee/starter": "5",
    "fee/team": "20",
    "fee/scale": "90",
    "europe/fee": "25",
}  # so that there is more to see than fees
_WEBHOOKS = {"TALLYSTICK_WEBHOOK_PRIVATE_ADDRESSES": "true", "TALLYSTICK_WEBHOOK_HTTP": "true"}


def serve_demo(*, events: int, seed: int, keep: Path | None, port: int) -> None:
    """Tell where the dashboard is, and send a few events a second until Ctrl-C (or SIGTERM)."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if keep is not None and keep.exists():
        raise Failure(f"{keep} is there already. Say another --keep.", USAGE)
    with TemporaryDirectory(prefix="tallystick-demo-") as directory:
        data = keep or Path(directory) / "data"
        try:
            with living_demo(data, events=events, seed=seed, port=port) as (url, client):
                show_step(f"the dashboard is open at {url}/   stop with Ctrl-C", quiet=False)
                trickle(client, demo_customers(seed))
        except KeyboardInterrupt:
            return
        except httpx2.TransportError as error:
            raise Failure(f"the server of the demonstration has ended: {error}", UNAVAILABLE) from error


@contextmanager
def living_demo(
    data: Path, *, events: int, seed: int = 2026, port: int = 0, quiet: bool = False
) -> Iterator[tuple[str, httpx2.Client]]:
    """The URL of a server that has lived through it, and a client of it."""
    now = datetime.now(UTC)
    with (
        running_receiver() as hook,
        running_server(data, port=port, environment=_WEBHOOKS) as url,
        httpx2.Client(base_url=url, timeout=600) as client,
    ):
        _live_through(client, hook, events, seed, now, quiet=quiet)
        yield url, client


def _live_through(client: httpx2.Client, hook: str, events: int, seed: int, now: datetime, *, quiet: bool) -> None:
    service, customers, month = Service(client), demo_customers(seed), month_of(now, "UTC")
    service.answer("PUT", "/v1/catalog", json=shown_catalog(events))
    service.answer("POST", "/v1/customers", json=[customer.as_json() for customer in customers])
    subscribed = [customer.subscription(month.before()) for customer in customers]
    service.answer("POST", "/v1/subscriptions", json=subscribed)
    service.answer("POST", "/v1/webhooks", json={"url": hook, "types": [], "customers": []})
    show_step(f"{len(customers)} customers on plans with limits", quiet=quiet)
    usage = make_months(events, seed, customers, now)
    with progress("posting two months of usage", quiet=quiet) as bar:
        post_all(client, bodies(usage, seed), lambda done: bar.advance(done / usage.height, f"{done:,} events"))
    client.post("/v1/events", content=mistaken_events(MISTAKES, customers, now), headers=JSON_BATCH)
    show_step(f"{usage.height:,} events, and {MISTAKES} that were refused", quiet=quiet)
    for period in (month.before(), month):
        service.answer("POST", "/v1/rating-runs", json={"period": str(period)})
    show_step(f"{month.before()} is rated, and {month} so far", quiet=quiet)


def shown_catalog(events: int) -> Document:
    """The catalog of the demonstration for a month of so many events; besides, a signal at 80 % of each limit, and a
    limit of tool calls a day."""
    catalog = demo_catalog(events)
    for plan in catalog["plans"].values():
        plan["entitlements"]["tokens"]["thresholds"] = ["80%"]
        plan["entitlements"]["tool_calls"] = {"limit": "400", "window": "day", "enforcement": "soft"}
    for price, fee in _FEES.items():
        catalog["prices"][price]["versions"] = [{"amount": fee}]
    catalog["features"]["tool_calls"] = {"meter": "tool_calls", "name": "Calls of tools"}
    return catalog


def trickle(client: httpx2.Client, customers: list[DemoCustomer], seconds: float | None = None) -> None:
    """Send TRICKLE_PER_SECOND events a second, for ever unless `seconds` are given."""
    began = time.monotonic()
    number = 0
    while seconds is None or time.monotonic() < began + seconds:
        at = datetime.now(UTC)
        wave = TRICKLE_PER_SECOND + round(TRICKLE_PER_SECOND * 0.6 * ((at.second % 20) / 10 - 1))
        events = [_now(number + place, customers, at) for place in range(wave)]
        client.post("/v1/events", content=orjson.dumps(events), headers=JSON_BATCH)
        number += wave
        time.sleep(1)


def _now(number: int, customers: list[DemoCustomer], at: datetime) -> Document:
    customer = customers[(number * 7919) % 97]
    return {
        "specversion": "1.0",
        "id": f"now-{at.timestamp():.3f}-{number}",
        "source": "gateway-live",
        "type": "llm.request",
        "subject": customer.subjects[0],
        "time": at.isoformat().replace("+00:00", "Z"),
        "data": {
            "provider": "openai",
            "model": "gpt-5",
            "input_tokens": 600 + number % 900,
            "output_tokens": 80 + number % 300,
        },
    }
