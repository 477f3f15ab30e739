"""The facade that HTTP and the command line drive: one data directory, opened whole, and the order of every step."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

import polars as pl

from api.access.access import Access
from api.access.audit import about, nothing_changes
from api.anomalies import AnomalyWatch
from api.backfill_preview import Preview, preview
from api.backfills import BackfillService
from api.checks import Checked, CheckService
from api.consuming import ConsumeService
from api.credits import CreditService
from api.current_charges import CurrentCharges, CurrentChargesService
from api.exports import Exports
from api.history import History
from api.in_force import InForce, compiled
from api.lease_events import LeaseEvents
from api.leases import LeaseService
from api.operating.snapshots import SnapshotService
from api.quota import QuotaService
from api.quota_records import QuotaInputs, QuotaRecords
from api.rated_events import RatedEvents
from api.rating import Closing, RatingService
from api.settings import Settings
from api.shadow import Shadowing
from api.signalling import Signalling
from api.simulation import Asked, Simulated, Simulations
from api.subscriptions import SubscriptionService, Timeline
from api.usage import UsageQuery, about_customers, asked_subjects, problems_of, usage_of
from api.verification import Verification
from ingest.correction_judge import CorrectionEffect
from ingest.log import UsageLog
from rating.catalog import Catalog, Change, compile_catalog, diff, parse_catalog
from rating.catalog.reading import Format
from rating.core.book import PriceBook
from rating.core.quota.seam import LevelChange
from rating.core.schema import SUBJECT
from rating.core.usage_history import HistoryRule
from rating.disk import Disk
from rating.ledger_table import LedgerTable
from rating.line_table import LineTable
from rating.quota_terms import QuotaTerms
from rating.run_table import RunTable
from store import open_store
from store.customers import Customer, refuse
from store.errors import NotFound, PlanInUse, Refused
from store.runs import Run
from store.signals import ALL, RecordedSignal, Selection
from store.subscription_changes import AskedChange, SubscriptionChange
from store.subscriptions import Subscription

PRIVATE_DIRECTORY = 0o700  # a new data directory: usage, secrets and bills are for the user of the server alone
Now = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class CatalogApplied:
    """`applied` is false for a dry run, and for the version that was in force already."""

    version: str
    previous: str | None
    applied: bool
    changes: list[Change]


class Engine:
    """One open data directory. Every method may be called from any thread."""

    def __init__(self, settings: Settings, *, now: Now, holder: Mapping[str, str]) -> None:
        """`Engine.open` is the way in. The log comes first: only the holder of its lock may migrate the store."""
        self.settings = settings
        self.now = now
        self._changing = Lock()  # catalog, customers and subscriptions are checked against each other
        self.quota = QuotaService(self._terms, self._log_since, self._crossed, now)
        self.anomalies = AnomalyWatch(self._book, lambda: self.log, self.quota, self._crossed, now)
        self.log = UsageLog.open(
            settings.data,
            properties={},
            now=now,
            limits=settings.ingest_limits(),
            on_admitted=self._admitted,
            on_corrected=self._corrected,
            holder=holder,
        )
        try:
            self._open_records()
        except BaseException:
            self.log.close()
            raise

    def _open_records(self) -> None:
        """The relational store and the line table; what a stopped process left behind is put right."""
        self.store = open_store(self.settings.database, on_failed=self.log.fail, now=self.now)
        try:
            self.access = Access(self.store, self.settings, self.now)
            self.audit = self.access.audit
            self._in_force = compiled(self.store.catalogs.current())
            self.log.declare(self._in_force.catalog.declared_properties() if self._in_force else {})
            line_table = LineTable(self.settings.data / "lines", disk=Disk())
            ledger_table = LedgerTable(self.settings.data / "credits", disk=Disk())
            self.store.runs.interrupt_running(now=self.now())
            part_max = self.settings.part_subscriptions_max
            self.rating = RatingService(self.store, self.log, line_table, ledger_table, self.now, part_max)
            self.history = History(self.store, self.log, lambda records: self.backfills.counted(records))
            self.rated_events = RatedEvents(self.store, self.log, self.rating, self.history)
            self.verification = Verification(self.store, self.rating, self.history)
            self.simulations = Simulations(self.rating.sources)
            self.exports = Exports(self.store)
            self.shadow = Shadowing(self.store, self.now)
            self.checks = CheckService(self.rating.sources, self.log, self.now)
            self.charges = CurrentChargesService(self.store, self.rating.sources, self.now)
            self.credits = CreditService(self.store, self.rating, self.now)
            self.subscriptions = SubscriptionService(self.store, self.now)
            self.quota_records = QuotaRecords(self.store, self.quota, self._quota_inputs, self.now)
            self.signalling = Signalling(self.store, self.quota, self.settings, self.now, self.quota.led_to)
            self.consuming = ConsumeService(self.log, self.quota, self.now)
            events = LeaseEvents(self.log, self.quota, lambda feature: self.in_force.meter_of(feature))
            open_max = self.settings.leases_open_max
            self.leases = LeaseService(self.store.leases, events, self.quota, self.now, open_max=open_max)
            self._open_backfills([line_table, ledger_table])
        except BaseException:
            self.store.close()
            raise

    def _open_backfills(self, tables: Sequence[RunTable]) -> None:
        """Backfills, and what is begun when all else is open; `tables` are those of runs."""
        self.backfills = BackfillService(
            self.store,
            self.log,
            self.settings.data,
            self.now,
            open_max=self.settings.open_backfills_max,
            disk=Disk(),
            on_changed=self._backfilled,
        )
        try:
            self.snapshots = SnapshotService(
                self.store, self.log, self.backfills, tables, self.settings.data, self.now, disk=Disk()
            )
            self.signalling.load()
            self.quota.refresh()  # a crossing that was journaled but not recorded is found now
            self.leases.open()
            self.signalling.outbox.start()
            self.anomalies.start()
        except BaseException:
            self.backfills.close()
            raise

    @classmethod
    def open(cls, settings: Settings, *, now: Now = utc_now, url: str | None = None) -> "Engine":
        """Open the data directory of `settings`, made when it is not there; `url` tells others who holds it.

        Raises DataDirectoryLocked when another process does, JournalDamaged, BackfillDamaged and
        DatabaseDamaged.
        """
        is_new = not settings.data.exists()
        Disk().make_directory(settings.data.absolute())
        if is_new:
            settings.data.chmod(PRIVATE_DIRECTORY)
        holder = {"pid": str(os.getpid()), **({"url": url} if url else {})}
        return cls(settings, now=now, holder=holder)

    def close(self) -> None:
        """Write what is in memory and let the next process in."""
        self.leases.close()
        self.charges.close()
        self.backfills.close()
        self.log.close()
        self.anomalies.close()
        self.signalling.close()
        self.access.close()
        self.store.close()

    @property
    def in_force(self) -> InForce:
        """Raises Refused before the first catalog."""
        if self._in_force is None:
            raise Refused(["no catalog is in force; apply one first"])
        return self._in_force

    def apply_catalog(self, document: str | bytes, *, format: Format | None, dry_run: bool = False) -> CatalogApplied:
        """Bring a catalog into force as a whole, or say what would change.

        Raises CatalogInvalid, PlanInUse and PropertyConflict; then the catalog in force stays.
        """
        catalog = parse_catalog(document, format=format)
        compiled = InForce(catalog, compile_catalog(catalog))
        with self._changing:
            before = self._in_force.catalog if self._in_force else None
            changes = diff(before, catalog)
            self._refuse_dropped(catalog)
            about(after={"version": catalog.version}) if not dry_run else nothing_changes()
            applied = not dry_run and self._bring_into_force(compiled)
        return CatalogApplied(catalog.version, before.version if before else None, applied, changes)

    def _refuse_dropped(self, catalog: Catalog) -> None:
        used, now = self.store.subscriptions, self.now()
        plans = sorted(used.plans_in_use(now=now) - set(catalog.plans))
        if plans:
            raise PlanInUse(f"plan {p!r} has running subscriptions; end them before the plan goes" for p in plans)
        prices = sorted(used.prices_in_use(now=now) - set(catalog.prices))
        if prices:
            raise PlanInUse(
                f"price {p!r} stands in for another on running subscriptions; end that first" for p in prices
            )

    def _bring_into_force(self, compiled: InForce) -> bool:
        catalog = compiled.catalog
        self.log.declare(catalog.declared_properties())
        self.backfills.declare(catalog.declared_properties())
        document = catalog.canonical_json().decode()
        applied = self.store.catalogs.apply(catalog.version, document, now=self.now())
        self._in_force = compiled
        self.quota.terms_changed()
        return applied

    def switch_to_shadow(self, at: datetime) -> CatalogApplied:
        """Bring the catalog into force that goes over to the one beside it at an instant. See api/shadow.py."""
        catalog = self.shadow.to_switch(self.in_force.catalog, at)
        applied = self.apply_catalog(catalog.canonical_json(), format="json")
        self.store.shadows.end()
        return applied

    def read_catalog(self, version: str | None) -> Catalog:
        """A version that was in force once, or the one that is. Raises NotFound."""
        if version is not None:
            return parse_catalog(self.store.catalogs.document(version), format="json")
        if self._in_force is None:
            raise NotFound("catalog", "current")
        return self._in_force.catalog

    def put_customers(self, customers: Sequence[Customer]) -> None:
        """Add or replace customers, all or none. Raises Refused and SubjectTaken."""
        self.store.customers.put(customers)
        self.quota.terms_changed()

    def put_subscriptions(self, subscriptions: Sequence[Subscription]) -> None:
        """Add or replace subscriptions, all or none. Raises Refused."""
        with self._changing:
            plans = self._in_force.catalog.plans if self._in_force else {}
            self.store.subscriptions.put(subscriptions, plans=plans.keys())
        self.quota.terms_changed()

    def change_subscription(self, key: str, asked: Sequence[AskedChange]) -> list[SubscriptionChange]:
        """Record changes of a subscription, all or none. Raises NotFound, IdTaken, Refused."""
        with self._changing:
            recorded = self.subscriptions.add(key, asked, self.in_force.catalog)
        self.quota.terms_changed()
        return recorded

    def subscription_changes(
        self, key: str, as_of: datetime | None, *, after: int, limit: int
    ) -> list[SubscriptionChange]:
        """As of now, or as they were known at an instant. Raises NotFound, Refused, NotReproducible."""
        refuse(self._in_the_future(as_of))
        return self.subscriptions.changes(key, as_of, after=after, limit=limit)

    def subscription_timeline(self, key: str, as_of: datetime | None) -> Timeline:
        """The same of what holds when."""
        refuse(self._in_the_future(as_of))
        return self.subscriptions.timeline(key, as_of)

    def usage(self, query: UsageQuery, as_of: datetime | None = None) -> pl.DataFrame:
        """See api/usage.py; as of now, or as it was known at an instant. Raises NotFound for an unknown meter, Refused
        for what makes no sense, NotReproducible for an instant of which not all is kept."""
        refuse([*problems_of(query), *self._in_the_future(as_of)])
        in_force = self.in_force if as_of is None else self._in_force_at(as_of)
        meter = in_force.meter(query.meter)
        subjects = self._subjects(as_of) if about_customers(query) else SUBJECT.to_frame()
        snapshot = self.log.scan(
            start=query.start,
            end=query.end,
            subjects=asked_subjects(query, subjects),
            view=None if as_of is None else self.history.view_at(as_of),
            properties=in_force.catalog.declared_properties(),
        )
        return usage_of(query, meter, snapshot.usage, subjects)

    def _subjects(self, as_of: datetime | None) -> pl.DataFrame:
        return self.store.customers.subjects_frame(None if as_of is None else self.store.changes.at(as_of))

    def _in_force_at(self, instant: datetime) -> InForce:
        """The catalog that was in force at an instant. Raises Refused before the first."""
        version = self.store.catalogs.version_at(instant)
        found = None if version is None else compiled(self.store.catalogs.document(version))
        if found is None:
            raise Refused([f"no catalog was in force at {instant.isoformat()}; ask for a later instant"])
        return found

    def _in_the_future(self, as_of: datetime | None) -> list[str]:
        if as_of is None or as_of <= self.now():
            return []
        return [f"`as_of` {as_of.isoformat()} is in the future: what will be known then is not known"]

    def preview_backfill(self, key: str) -> Preview:
        """See api/backfill_preview.py. Raises NotFound, BackfillNotOpen, AmountOverflow."""
        compared = self.backfills.compare(key)
        return preview(compared, self.rating.sources, self._in_force.book if self._in_force else None)

    def rate(self, period: str, as_of: datetime | None = None) -> Run:
        """Rate a month with the catalog in force; with all that was known at an instant, if given. See
        RatingService.run; raises Refused and NotReproducible for an instant besides."""
        if as_of is None:
            return self.rating.run(period, self.in_force.book)
        refuse(self._in_the_future(as_of))
        in_force = self._in_force_at(as_of)
        known = self.history.at(as_of, in_force.catalog.declared_properties())
        return self.rating.run(period, in_force.book, known)

    def close_due(self, until: datetime | None, since: datetime | None, *, draft: bool = False) -> list[Run]:
        """Close what is due, by the catalog in force: up to an instant, else up to its grace before now. See
        RatingService.close."""
        return self.rating.close(self.in_force.catalog, self._closing(until, since, draft), self.history)

    def dry_close(self, until: datetime | None, since: datetime | None) -> list[dict[str, Any]]:
        """What `close_due` would post first; nothing is recorded."""
        return self.rating.dry_close(self.in_force.catalog, self._closing(until, since, True), self.history)

    def finalize(self, run_id: str) -> Run:
        """Make a draft of what was due final. Raises NotFound and Refused."""
        return self.rating.finalize(run_id)

    def _closing(self, until: datetime | None, since: datetime | None, draft: bool) -> Closing:
        refuse(self._in_the_future(until))
        grace = timedelta(hours=self.in_force.catalog.closing.grace_hours)
        return Closing(until or self.now() - grace, since, draft)

    def current_charges(self, customer: str) -> CurrentCharges:
        """What a customer's open billing periods come to, by the catalog in force. Raises NotFound, Refused before the
        first catalog, AmountOverflow."""
        return self.charges.of_customer(customer, self.in_force.book)

    def simulate(self, asked: Asked) -> Simulated:
        """History by another catalog beside the one in force. See api/simulation.py."""
        return self.simulations.simulate(asked, self.in_force.catalog, self.in_force.book)

    def check(self, period: str, rule: HistoryRule) -> Checked:
        """What leaks in a month, by the catalog in force. See api/checks.py."""
        return self.checks.check(period, self.in_force.book, rule)

    @property
    def failure(self) -> str | None:
        """Why no event is taken any more: the disk failed, and this process must be started again."""
        failure: str | None = self.log.status()["failure"]
        return failure

    def signals(self, after: int, limit: int, selected: Selection = ALL) -> list[RecordedSignal]:
        """The signals behind sequence `after`, of every limit that is reached as of now."""
        self.quota.refresh()
        self.signalling.outbox.record()
        return self.store.signals.after(after, limit=limit, selected=selected)

    def status(self) -> dict[str, Any]:
        """What a person wants to know first; `ready` is whether events can be taken."""
        log = self.log.status()
        return {
            "ready": log["failure"] is None,
            "data": str(self.settings.data.absolute()),
            "database": self.store.engine.dialect.name,
            "catalog": self._in_force.catalog.version if self._in_force else None,
            "customers": self.store.customers.count(),
            "signals": self.store.signals.last_sequence(),
            "webhooks": self.signalling.status(),
            "log": log,
            "backfills": self.backfills.status(),
            "leases": self.leases.status(),
        }

    def _terms(self) -> QuotaTerms | None:
        if self._in_force is None:
            return None
        return QuotaTerms(
            self._in_force.book,
            self.store.customers.payers_frame(),
            self.store.subscriptions.subscriptions_frame(),
            self.store.quota_grants.frame(),
            self.store.quota_overrides.frame(),
            self.store.customers.family_frame(),
        )

    def _quota_inputs(self) -> QuotaInputs:
        catalog, terms = self.in_force.catalog, self._terms()
        assert terms is not None, "a catalog is in force"
        return QuotaInputs(catalog, terms, self.log.scan().frame)

    def _log_since(self, since: datetime | None, subjects: Collection[str] | None) -> tuple[pl.LazyFrame, int]:
        snapshot = self.log.scan(start=since, subjects=subjects)
        is_used = subjects is None or self.log.numbers_of(subjects).height
        return snapshot.frame if is_used else snapshot.frame.clear(), snapshot.last_sequence

    def _book(self) -> PriceBook | None:
        return self._in_force.book if self._in_force else None

    def _admitted(self, events: pl.DataFrame) -> None:
        self.quota.count(events)
        self.anomalies.put(events)

    def _corrected(self, effect: CorrectionEffect) -> None:
        self.quota.correct(effect)
        self.anomalies.changed()

    def _backfilled(self) -> None:
        self.quota.usage_changed()
        self.anomalies.changed()

    def _crossed(self, changes: Sequence[LevelChange]) -> None:
        self.signalling.outbox.put(changes)
