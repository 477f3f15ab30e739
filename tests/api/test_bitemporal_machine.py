"""Any order of customers, subscriptions, credits, usage, corrections, backfills and catalogs: every answer that was
given is given again as of its instant, and every run is made again to its digest, with merges and restarts in between.

What is compared with is what the engine answered at the time, so nothing here knows how the history is kept.
"""

import atexit
import gc
import json
import shutil
import tempfile
from contextlib import closing, suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from api.engine import Engine
from api.settings import Settings
from api.usage import UsageQuery
from ingest.backfill_range import BackfillRange
from store.credits import Grant
from store.customers import Customer
from store.errors import StoreError
from store.runs import Run
from store.subscriptions import Subscription
from tests.api.bitemporal import Ticking
from tests.api.conftest import CATALOG, NOW, event
from tests.conftest import PROFILE

BATCH = "application/cloudevents-batch+json"
CUSTOMERS, SUBJECTS = ("acme", "beta"), ("a", "b", "c")
ZONES, PLANS = ("UTC", "Asia/Tokyo", "America/New_York"), ("pro", "free")
DAYS = ("2026-09-30T23:00:00Z", "2026-10-01T00:30:00Z", "2026-10-10T10:00:00Z", "2026-10-14T23:59:59Z")
STARTS = [datetime(2026, month, day, tzinfo=UTC) for month, day in ((1, 1), (10, 1), (10, 10))]
RANGES = [
    BackfillRange(datetime(2026, 9, 30, tzinfo=UTC), datetime(2026, 10, 2, tzinfo=UTC)),
    BackfillRange(datetime(2026, 10, 10, tzinfo=UTC), datetime(2026, 10, 15, tzinfo=UTC), subjects=("a",)),
]
QUERIES = [
    UsageQuery("tokens", group_by=("customer", "model")),
    UsageQuery("tokens", group_by=("subject",), window="day"),
    UsageQuery("requests", customer="acme"),
]
customers, subjects, days = st.sampled_from(CUSTOMERS), st.sampled_from(SUBJECTS), st.sampled_from(DAYS)
amounts = st.integers(0, 5_000)


def catalog(unit_amount: str) -> bytes:
    document: dict[str, Any] = json.loads(json.dumps(CATALOG))
    document["prices"]["tokens/big"]["versions"][0]["tiers"][0]["unit_amount"] = unit_amount
    return orjson.dumps(document)


@cache
def first_directory() -> Path:
    """A data directory with two customers: made once, copied for each example."""
    directory = Path(tempfile.mkdtemp(prefix="tallystick-bitemporal-"))
    atexit.register(shutil.rmtree, directory)
    with closing(Engine.open(Settings(data=directory), now=Ticking(datetime(2026, 9, 1, tzinfo=UTC)))) as engine:
        engine.apply_catalog(catalog("2.50"), format="json")
        engine.put_customers([_customer("acme", {"a"}, "UTC"), _customer("beta", {"b"}, "UTC")])
        engine.put_subscriptions([Subscription(key, key, "pro", STARTS[0]) for key in CUSTOMERS])
    return directory


def _customer(key: str, subjects: set[str], zone: str) -> Customer:
    return Customer(key, key, zone, NOW, tuple(sorted(subjects)))


class Bitemporal(RuleBasedStateMachine):
    """`told` are answers with their instants and queries, `runs` are those that are done, with their instants. There is
    a run from the beginning, so that every example has one to make again."""

    @initialize()
    def open(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tallystick-state-"))
        self.clock = Ticking(NOW)
        self.told: list[tuple[datetime, UsageQuery, pl.DataFrame]] = []
        self.runs: list[tuple[datetime, Run]] = []
        self.sent: list[str] = []
        self.committed: list[str] = []
        self.numbers = iter(range(10**6))
        shutil.copytree(first_directory(), self.directory / "data")
        self._open()
        for subject in SUBJECTS:
            self.post(subject, DAYS[2], 700, 2)
        self.rate()

    def teardown(self) -> None:
        """At the end every run is made again, and every answer given again: of files that hold what came later too."""
        for subject in SUBJECTS:
            self.post(subject, DAYS[2], 1_000, 1)
        self.merge()
        for at, run in self.runs:
            self._same_run(at, run)
        for told in self.told:
            self._same_answer(*told)
        self.engine.close()
        shutil.rmtree(self.directory)
        gc.collect()

    @rule(key=customers, owned=st.sets(subjects), zone=st.sampled_from(ZONES))
    def put_customer(self, key: str, owned: set[str], zone: str) -> None:
        with suppress(StoreError):  # a subject of the other customer
            self.engine.put_customers([_customer(key, owned, zone)])

    @rule(key=customers, plan=st.sampled_from(PLANS), start=st.sampled_from(STARTS), ends=st.booleans())
    def put_subscription(self, key: str, plan: str, start: datetime, ends: bool) -> None:
        end = datetime(2026, 10, 12, tzinfo=UTC) if ends else None
        self.engine.put_subscriptions([Subscription(key, key, plan, start, end)])

    @rule(subject=subjects, day=days, amount=amounts, again=st.integers(1, 3))
    def post(self, subject: str, day: str, amount: int, again: int) -> None:
        events = [self._event(subject, day, amount + i) for i in range(again)]
        self.engine.log.submit(orjson.dumps(events), BATCH).result(30)
        self.sent += [one["id"] for one in events]

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 10**6), amount=st.one_of(st.none(), amounts))
    def correct(self, which: int, amount: int | None) -> None:
        """Void or replace; of what was corrected, or is behind a backfill, it is refused."""
        number = next(self.numbers)
        target = {"source": "gateway", "id": self.sent[which % len(self.sent)]}
        body: dict[str, Any] = {"corrects": target, "source": "desk", "id": f"c{number}", "reason": "a test"}
        given = {"action": "void"} if amount is None else {"action": "replace", "data": self._data(amount)}
        self.engine.log.corrections.submit(orjson.dumps([{**body, **given}]), "application/json").result(30)

    @rule(wanted=st.sampled_from(RANGES), staged=st.lists(amounts, max_size=2), during=st.booleans())
    def backfill(self, wanted: BackfillRange, staged: list[int], during: bool) -> None:
        opened = self.engine.backfills.open(wanted)
        day = wanted.start.isoformat()
        events = [self._event("a", day, amount) for amount in staged]
        if events:
            self.engine.backfills.staged(opened.id).submit(orjson.dumps(events), BATCH).result(30)
        if during:
            self.post("a", day, 3, 1)
        self.engine.backfills.commit(opened.id)
        self.sent += [one["id"] for one in events]
        self.committed.append(opened.id)

    @precondition(lambda self: self.committed)
    @rule()
    def revert(self) -> None:
        self.engine.backfills.revert(self.committed.pop())

    @rule(unit_amount=st.sampled_from(("2.50", "9", "0.1")))
    def apply_catalog(self, unit_amount: str) -> None:
        self.engine.apply_catalog(catalog(unit_amount), format="json")

    @rule(key=customers, amount=st.integers(1, 40), void=st.booleans())
    def grant(self, key: str, amount: int, void: bool) -> None:
        grant_id = f"g{next(self.numbers)}"
        self.engine.store.credits.add(_grant(grant_id, key, amount, self.clock()))
        if void:
            self.engine.store.credits.void(grant_id, at=self.clock(), is_asked=False)

    @rule()
    def rate(self) -> None:
        run = self.engine.rate("2026-10")
        self.runs.append((self.clock(), run))

    @rule(query=st.sampled_from(QUERIES))
    def ask(self, query: UsageQuery) -> None:
        self.told.append((self.clock(), query, self.engine.usage(query)))

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 10**6))
    def verify(self, which: int) -> None:
        self._same_run(*self.runs[which % len(self.runs)])

    @rule()
    def merge(self) -> None:
        self.engine.log.flush()
        self.engine.log.maintain()

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self._open()

    def _open(self) -> None:
        self.engine = Engine.open(Settings(data=self.directory / "data"), now=self.clock)

    def _event(self, subject: str, day: str, amount: int) -> dict[str, Any]:
        return event(f"e{next(self.numbers)}", subject=subject, time=day, data=self._data(amount))

    def _data(self, amount: int) -> dict[str, Any]:
        return {"model": "big" if amount % 3 else "small", "input_tokens": amount}

    def _same_run(self, at: datetime, run: Run) -> None:
        found = self.engine.verification.verify(run.id)
        assert (found.result, found.reason, found.notes) == ("equal", None, [])
        assert found.rerated == run.digest
        shares = [amount for part in self.engine.rated_events.of_run(run.id) for amount in part["amount"]]
        lines = self.engine.rating.lines(run.id).collect()
        assert sum(shares, Decimal(0)) == sum(lines["amount"], Decimal(0))
        assert self.engine.rate("2026-10", at).digest == run.digest

    def _same_answer(self, at: datetime, query: UsageQuery, told: pl.DataFrame) -> None:
        assert self.engine.usage(query, at).equals(told)


def _grant(key: str, customer: str, amount: int, now: datetime) -> Grant:
    return Grant(
        id=key,
        customer=customer,
        subscription=None,
        kind="grant",
        unit="USD",
        amount=Decimal(amount),
        priority=0,
        created_at=now,
        effective_at=datetime(2026, 10, 1, tzinfo=UTC),
        expires_at=None,
        voided_at=None,
        features=[],
        meters=[],
        prices=[],
        increment=None,
        factor=None,
        recurs_every=None,
        recurs_from=None,
        rollover_minimum=None,
        rollover_maximum=None,
        cost_basis=None,
        given={},
    )


TestBitemporal = Bitemporal.TestCase
TestBitemporal.settings = settings(max_examples=200 if PROFILE == "long" else 12, stateful_step_count=20)
