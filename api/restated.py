"""Whose closed billing periods may have become others since the last run that closed something: by usage that came
late, was corrected or replaced, by changes of accounts, or by prices that were changed for the past.

Too many are no harm: what is rated again and has not changed posts nothing. Too few would be: so wherever it is not
plain who is concerned, all are.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from api.history import Known
from api.rating_inputs import Accounts
from ingest.contents import View
from ingest.correction_lookup import find_sequences
from ingest.log import UsageLog
from rating.catalog import parse_catalog
from rating.catalog.backdated import same_before
from rating.core.schema import INSTANT, SUBJECT_NUMBER
from rating.core.subjects import with_names
from store import Store
from store.backfills import Backfill
from store.runs import Run

CONCERNED = pl.Schema({"customer": pl.String(), "since": INSTANT})
"""One row is a customer, and from when on what was closed may be another now."""


@dataclass(frozen=True)
class Since:
    """What is looked at: all after the run `last`, up to what is `known`, about billing periods on [`start`, `end`)."""

    last: Run
    known: Known
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Restated:
    """Finds who is concerned."""

    store: Store
    log: UsageLog

    def concerned(self, since: Since, accounts: Accounts, catalog_version: str) -> pl.DataFrame:
        """CONCERNED; `accounts` as they are known."""
        if self._is_repriced(since, catalog_version):
            return _every(accounts.subscriptions, since.start)
        parts = [self._with_changed_accounts(since), self._with_late_usage(since, accounts.subjects)]
        parts += [_of_backfill(backfill, accounts.subjects) for backfill in self._other_backfills(since)]
        earliest = pl.max_horizontal(pl.col("since").min(), pl.lit(since.start, dtype=INSTANT))
        return pl.concat(parts).group_by("customer").agg(since=earliest).select(CONCERNED.names()).sort("customer")

    def _is_repriced(self, since: Since, version: str) -> bool:
        """Whether the catalog charges what was closed otherwise than the one by which it was."""
        if since.last.catalog_version == version:
            return False
        old, new = (
            parse_catalog(self.store.catalogs.document(one), format="json")
            for one in (since.last.catalog_version, version)
        )
        return not same_before(old, new, since.end)

    def _with_changed_accounts(self, since: Since) -> pl.DataFrame:
        """The customers whose accounts have changed, and those whom the last run left out."""
        changed = self.store.changes.changed_customers(since.last.last_change or 0)
        left_out = {one["customer"] for one in (since.last.report or {}).get("skipped", [])}
        rows = [(customer, since.start) for customer in sorted(changed | left_out)]
        return pl.DataFrame(rows, schema=CONCERNED, orient="row")

    def _with_late_usage(self, since: Since, subjects: pl.DataFrame) -> pl.DataFrame:
        """By events that came since, and by events that were corrected since."""
        newer = pl.col("sequence") > since.last.last_sequence
        late = self.log.scan(start=since.start, end=since.end, view=since.known.view, properties={})
        came = late.frame.filter(newer).group_by(SUBJECT_NUMBER).agg(since=pl.col("time").min())
        named = with_names(came, late.subjects).select("subject", "since").collect()
        both = pl.concat([named, _corrected_since(since.known.view, since.last.last_sequence)])
        return both.join(subjects, on="subject").select(CONCERNED.names()).filter(pl.col("since") < since.end)

    def _other_backfills(self, since: Since) -> list[Backfill]:
        """Those that counted then and not any more, and those that count only now."""
        then = set((since.last.report or {}).get("backfills", []))
        now = {backfill.id for backfill in since.known.view.backfills}
        return [self.store.backfills.get(key) for key in sorted(then ^ now)]


def _corrected_since(view: View, sequence: int) -> pl.DataFrame:
    """`subject` and time (`since`) of the events that were corrected behind `sequence`, and of what corrects them."""
    rows = view.corrected.rows.filter(pl.col("sequence") > sequence)
    wanted = pl.concat([rows["sequence"], rows["corrects"]]).unique().sort()
    return find_sequences(view, wanted, {}).select("subject", since=pl.col("time"))


def _of_backfill(backfill: Backfill, subjects: pl.DataFrame) -> pl.DataFrame:
    own = pl.col("subject").is_in(backfill.subjects) if backfill.subjects else pl.lit(True)
    return _every(subjects.filter(own), backfill.range_start)


def _every(owners: pl.DataFrame, start: datetime) -> pl.DataFrame:
    since = pl.lit(start, dtype=INSTANT)
    return owners.select("customer", since=since).unique().sort("customer").select(CONCERNED.names())
