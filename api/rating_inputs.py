"""Everything that a month is rated from, gathered in one place: for runs, previews and questions alike.

A month opens with the credits that the month before has left. What these are, the ledger of its newest run says, of
those that began after it had ended everywhere; where there is none, the month before is rated here for the customers
whom that concerns, and if need be the months before it, back to the first grant.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import polars as pl

from api.history import Known, Opened
from ingest.contents import View
from ingest.log import UsageLog
from ingest.more_usage import MoreUsage
from ingest.recent_usage import RecentUsage
from rating.catalog import Catalog, compile_catalog, parse_catalog
from rating.core.book import PriceBook
from rating.core.credits.bills import NO_CREDITS, Credits
from rating.core.credits.months import Granted, burnt_before, credits_of, opened
from rating.core.credits.run_ledger import closing_balances, ledger_totals, run_ledger
from rating.core.credits.schema import BALANCE
from rating.core.periods import Month
from rating.core.rating import Rated, RatedPart, rate, rate_part, usage_bounds
from rating.core.service_periods import Due, month_ended, service_periods
from rating.core.subjects import Usage
from rating.core.subscriptions import is_variant
from rating.ledger_table import LedgerTable
from rating.run import json_rows
from rating.run_table import LinesDamaged
from store import Store
from store.runs import Run

_Records = TypeVar("_Records")
_FIRST_ZONE = ZoneInfo("Etc/GMT-14")  # no month ends earlier
_LAST_ZONE = ZoneInfo("Etc/GMT+12")  # no month ends later
_TICK = timedelta(microseconds=1)
FEW_CUSTOMERS = 1_000
_DIGESTED_TOGETHER = 1_000_000


@dataclass(frozen=True)
class Accounts:
    """Who pays, as a run sees it: schemas SUBJECT and SUBSCRIPTION."""

    subjects: pl.DataFrame
    subscriptions: pl.DataFrame

    def report(self) -> dict[str, Any]:
        """Counts, and a digest that tells whether two runs saw the same customers and subscriptions."""
        heights = {"subjects": self.subjects.height, "subscriptions": self.subscriptions.height}
        return {**heights, "digest": _digest(self.subjects, self.subscriptions)}

    def of(self, customers: pl.Series) -> "Accounts":
        """Those of some customers only."""
        own = pl.col("customer").is_in(customers.unique().implode())
        return Accounts(self.subjects.filter(own), self.subscriptions.filter(own))


@dataclass(frozen=True)
class Records:
    """What the database has to say of customers, and the price book of what plans grant."""

    accounts: Accounts
    granted: Granted

    def of(self, customers: pl.Series) -> "Records":
        """Those of some customers only."""
        return Records(self.accounts.of(customers), _of(self.granted, customers))


@dataclass(frozen=True)
class RatingInputs:
    """The arguments of `rate`, by their names."""

    usage: Usage
    subjects: pl.DataFrame
    subscriptions: pl.DataFrame
    book: PriceBook
    due: Month | Due
    credits: Credits = NO_CREDITS

    @property
    def month(self) -> Month:
        """The calendar month, where one is rated."""
        assert isinstance(self.due, Month)
        return self.due

    def arguments(self) -> dict[str, Any]:
        """For `rate(**inputs.arguments())`, and for what takes the same arguments."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def rated(self) -> Rated:
        """Raises AmountOverflow."""
        return rate(**self.arguments())

    def of(self, customers: pl.Series) -> "RatingInputs":
        """The inputs of some customers only."""
        own = pl.col("customer").is_in(customers.unique().implode())
        return replace(
            self,
            subjects=self.subjects.filter(own),
            subscriptions=self.subscriptions.filter(own),
            credits=self.credits.of(customers),
        )


@dataclass(frozen=True)
class Gathered:
    """The inputs, and what they are of: the accounts, the state of the log and of the records, the ledgers before.
    `served` are the service periods where some customers are rated; null where all are, who would fill the memory."""

    inputs: RatingInputs
    accounts: Accounts
    table_version: int
    last_sequence: int
    last_change: int
    backfills: tuple[str, ...]
    opened: Opened
    credited: Month | None  # the month whose credits pay; null where none ends
    served: pl.DataFrame | None = None

    def rated_part(self) -> RatedPart:
        """The lines alone, where some customers are rated. Raises AmountOverflow."""
        return rate_part(**self.inputs.arguments(), served=self.served)

    def ledger(self, rated: Rated) -> pl.DataFrame:
        """CREDIT_ENTRY of what came of the inputs."""
        return run_ledger(rated.burnt, self.inputs.credits.grants, str(self.credited))

    def credits_report(self, ledger: pl.DataFrame) -> dict[str, Any]:
        """What was granted, a digest that tells whether two runs saw the same, and the totals of the `ledger`."""
        credits = self.inputs.credits
        frames = (credits.grants, credits.opening, credits.resets, credits.returns)
        return {
            "grants": credits.grants.height,
            "digest": _digest(*(frame for frame in frames if frame is not None)),
            "month": None if self.credited is None else str(self.credited),
            "opened_by": self.opened.run,
            "rated_before": list(self.opened.months),
            "entries": ledger.height,
            "totals": json_rows(ledger_totals(ledger)),
        }


@dataclass(frozen=True)
class RatingSources:
    """Where the inputs of a run lie."""

    store: Store
    log: UsageLog
    ledgers: LedgerTable
    plans: Mapping[str, str] = field(default_factory=dict)  # by which plan those of a plan are rated
    recent: RecentUsage | MoreUsage | None = None  # where the usage of a few customers is looked up, if given
    tried: Catalog | None = None  # a catalog that was never in force

    def gather(
        self,
        due: Month | Due,
        book: PriceBook,
        *,
        view: View | None = None,
        customers: Collection[str] | None = None,
        known: Known | None = None,
        records: Records | None = None,
    ) -> Gathered:
        """What a month is rated from, or what is `due`, as of now or as it was `known`: of all customers or of some;
        with the events of `view`, if given, and the `records` of these customers that were known then, where they have
        been read.

        Raises AmountOverflow, and LinesDamaged for a ledger before.
        """
        known = known or Known(view or self.log.view(), self.store.changes.last())
        records = records or self.records(book, known.change, customers)
        return self._gather(due, book, known, records.accounts, records.granted, is_part=customers is not None)

    def records(self, book: PriceBook, change: int, of: Collection[str] | None = None) -> Records:
        """As of `change`, of all customers or `of` some."""
        few = _few(of)
        found = self._read(lambda c: Records(self._accounts(c, few), self._granted(book, c, few)), change)
        return found if of is None or few is not None else found.of(pl.Series(list(of), dtype=pl.String))

    def accounts(self, change: int | None = None, of: Collection[str] | None = None) -> Accounts:
        """As of `change`, the newest unless given; `of` some customers, or of more."""
        newest = self.store.changes.last() if change is None else change
        return self._read(lambda c: self._accounts(c, _few(of)), newest)

    def _accounts(self, change: int | None, of: Collection[str] | None) -> Accounts:
        subjects = self.store.customers.subjects_frame(change, of)
        subscriptions = self.store.subscriptions.subscriptions_frame(change, of)
        if self.plans:
            subscriptions = subscriptions.with_columns(pl.col("plan").replace(dict(self.plans)))
        return Accounts(subjects, subscriptions)

    def final_run(self, month: Month, *, by: datetime | None = None) -> Run | None:
        """The newest run of `month` that is done and began after the month had ended everywhere, if there is one; of
        those that had ended `by` an instant."""
        found = self.store.runs.newest_done(str(month), since=month_over(month), by=by)
        return found if found is not None and "credits" in (found.report or {}) else None

    def ledger(self, run: Run) -> pl.LazyFrame:
        """STORED_ENTRY of a run that is done. Raises LinesDamaged when it is not what was stored."""
        stored, expected = self.ledgers.count(run.id), ((run.report or {}).get("credits") or {}).get("entries", 0)
        if stored != expected:
            raise LinesDamaged(
                f"run {run.id} has {stored} entries of credits, and {expected} were stored; rate it again"
            )
        return self.ledgers.rows(run.id)

    def _granted(self, book: PriceBook, change: int | None, of: Collection[str] | None) -> Granted:
        credits = self.store.credits
        grants = credits.grants_frame(book.prices["price"].to_list(), change, of)
        return Granted(grants, credits.owners_frame(change, of), book.credits, credits.returns_frame(change, of))

    def _read(self, read: Callable[[int | None], _Records], change: int) -> _Records:
        """What `read` gives as of `change`: where that is the newest, as it is now, unless another comes in between."""
        if change == self.store.changes.last():
            found = read(None)
            if change == self.store.changes.last():
                return found
        return read(change)

    def _gather(
        self, due: Month | Due, book: PriceBook, known: Known, accounts: Accounts, granted: Granted, *, is_part: bool
    ) -> Gathered:
        book = self.with_variants(book, accounts.subscriptions)
        month, credits, origin = self._credits_of_due(due, book, known, accounts, granted)
        served = service_periods(accounts.subscriptions, due)
        start, end = usage_bounds(accounts.subscriptions, book, due, served)
        subjects = accounts.subjects["subject"] if is_part else None
        scan = self.log.scan if self.recent is None else self.recent.scan
        snapshot = scan(start=start, end=end, view=known.view, subjects=subjects, properties=known.properties)
        inputs = RatingInputs(snapshot.usage, accounts.subjects, accounts.subscriptions, book, due, credits)
        return Gathered(
            inputs,
            accounts,
            snapshot.table_version,
            snapshot.last_sequence,
            known.change,
            snapshot.backfills,
            origin,
            month,
            served if is_part else None,
        )

    def with_variants(self, book: PriceBook, subscriptions: pl.DataFrame) -> PriceBook:
        """The book with the plans of subscriptions on which prices are replaced by others."""
        variants = subscriptions.filter(is_variant())["plan"].unique().sort()
        if variants.is_empty():
            return book
        if self.tried is not None and self.tried.version == book.version:
            return compile_catalog(self.tried, variants)
        return compile_catalog(parse_catalog(self.store.catalogs.document(book.version), format="json"), variants)

    def _credits_of_due(
        self, due: Month | Due, book: PriceBook, known: Known, accounts: Accounts, granted: Granted
    ) -> tuple[Month | None, Credits, Opened]:
        """The credits of the month; of what is due those of the customers whose month ends then."""
        if isinstance(due, Month):
            return due, *self._credits(due, book, known, accounts, granted)
        month, zones = month_ended(due, accounts.subscriptions["time_zone"])
        if month is None:
            return None, NO_CREDITS, Opened()
        theirs = accounts.subscriptions.filter(pl.col("time_zone").is_in(zones))["customer"]
        return month, *self._credits(month, book, known, accounts.of(theirs), _of(granted, theirs))

    def _credits(
        self, month: Month, book: PriceBook, known: Known, accounts: Accounts, granted: Granted
    ) -> tuple[Credits, Opened]:
        if granted.stored.is_empty() and granted.plans.is_empty():
            return NO_CREDITS, Opened()
        credits = credits_of(granted, accounts.subscriptions, month)
        if credits.grants.is_empty():
            return NO_CREDITS, Opened()
        asked = burnt_before(credits, accounts.subscriptions)
        if asked.is_empty():
            return opened(credits, BALANCE.to_frame()), Opened()
        before = month.before()
        run = self._opening_run(before, known)
        if run is not None:
            ledger, origin = self._ledger_of(before, run), Opened(run.id)
        else:
            own, theirs = accounts.of(asked["customer"]), _of(granted, asked["customer"])
            gathered = self._gather(before, book, known, own, theirs, is_part=True)
            ledger = gathered.ledger(gathered.inputs.rated())
            origin = replace(gathered.opened, months=(*gathered.opened.months, str(before)))
        closing = closing_balances(ledger).join(asked, on="grant", how="semi")
        return opened(credits, closing), origin

    def _ledger_of(self, month: Month, run: Run) -> pl.DataFrame:
        """CREDIT_ENTRY that close `month`: of the run, or, where that has closed what became due, of all that have."""
        runs = [run] if run.due_until is None else self._closing(month, until=run.due_until)
        entries = pl.concat([self.ledger(one).filter(pl.col("period") == str(month)) for one in runs])
        return entries.collect()

    def _closing(self, month: Month, until: datetime | None = None) -> list[Run]:
        """The runs that closed billing periods of which `month` was the last in some time zone, the newest first."""
        first, last = month.next().start(_FIRST_ZONE), month_over(month)
        runs = self.store.runs.closing(after=first - _TICK, until=min(last, until) if until else last)
        return [run for run in runs if run.kind == "final" and run.report and run.report.get("credits")]

    def _opening_run(self, month: Month, known: Known) -> Run | None:
        """The run whose ledger closes `month`, of several the newest; null where the month is rated to know."""
        if known.opened is None:
            closing = [run for run in self._closing(month) if known.by is None or _had_ended(run, known.by)]
            return closing[0] if closing else self.final_run(month, by=known.by)
        if known.opened.run is None or str(month) in known.opened.months:
            return None
        return self.store.runs.get(known.opened.run)


def _had_ended(run: Run, by: datetime) -> bool:
    return run.finished_at is not None and run.finished_at <= by


def month_over(month: Month) -> datetime:
    """The instant from which on `month` is over everywhere."""
    return month.bounds(_LAST_ZONE)[1]


def _few(customers: Collection[str] | None) -> Collection[str] | None:
    """The customers to ask the database for; null where all of them are read sooner."""
    return None if customers is None or len(customers) > FEW_CUSTOMERS else list(customers)


def _of(granted: Granted, customers: pl.Series) -> Granted:
    own = pl.col("customer").is_in(customers.unique().implode())
    parts = {name: getattr(granted, name).filter(own) for name in ("stored", "owners", "returns")}
    return replace(granted, **parts)


def _digest(*frames: pl.DataFrame) -> str:
    hasher = hashlib.sha256()
    for frame in frames:
        nested = [pl.col(name).list.join("\n") for name, dtype in frame.schema.items() if dtype.is_nested()]
        shown = frame.with_columns(nested)
        hasher.update(shown.clear().write_csv().encode())
        for rows in shown.iter_slices(_DIGESTED_TOGETHER):
            hasher.update(rows.write_csv(include_header=False).encode())
    return hasher.hexdigest()
