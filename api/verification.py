"""Whether a run that is done can be made again: rated from its recorded inputs, and held against what it recorded.

The inputs are the catalog version of the run, the events up to its last sequence with the corrections and backfills
that it saw, accounts and credits as of its last change, and the ledger that opened its month. None of them changes
later. So what differs has one of three causes: other code, damage, or a run from before accounts were kept.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import polars as pl

from api.history import History
from api.parts import EVERYONE
from api.rating import RatingService
from api.rating_inputs import Gathered
from ingest.errors import IngestError
from rating.catalog import CatalogInvalid, compile_catalog, parse_catalog
from rating.core.difference import PART, difference, parts_of
from rating.core.line_digest import digest
from rating.core.lines import CHARGE_LINE
from rating.core.money import AmountOverflow
from rating.core.periods import parse_month
from rating.run import code_version
from rating.run_table import LinesDamaged
from store import Store
from store.customers import refuse
from store.errors import NotReproducible
from store.runs import Run

Result: TypeAlias = Literal["equal", "different", "unknown"]

CHANGE = pl.Schema({"customer": pl.String(), **PART})
"""One row is a part of charge lines that the re-rated run has more or less of than the stored one."""

_CANNOT = (NotReproducible, LinesDamaged, CatalogInvalid, AmountOverflow, IngestError)


@dataclass(frozen=True)
class Verified:
    """`rerated` is the digest of what came of the inputs now, null when the run cannot be made again; `reason` says
    why, or what differs. `gone` and `new` are ids of lines that only the stored or only the re-rated run has as they
    are, `changes` is CHANGE. `notes` say what else is different, and need not matter."""

    run: Run
    result: Result
    code_version: str
    rerated: str | None = None
    reason: str | None = None
    notes: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    changes: pl.DataFrame = field(default_factory=lambda: CHANGE.to_frame())


@dataclass(frozen=True)
class Made:
    """What comes of the inputs of a run: CHARGE_LINE and CREDIT_ENTRY."""

    gathered: Gathered
    lines: pl.DataFrame
    ledger: pl.DataFrame
    digest: str


class Verification:
    """For any number of threads; nothing is written."""

    def __init__(self, store: Store, rating: RatingService, history: History) -> None:
        self._store, self._rating, self._history = store, rating, history

    def verify(self, run_id: str) -> Verified:
        """Raises NotFound, and Refused for a run that is not done."""
        run = self._store.runs.get(run_id)
        refuse([] if run.status == "done" else [f"run {run_id} is {run.status}: there is nothing to verify"])
        notes = _notes(run)
        try:
            made = self._made_again(run)
        except _CANNOT as error:
            return Verified(run, "unknown", code_version(), reason=str(error), notes=notes)
        notes += _other_inputs(run, made.gathered, made.ledger)
        try:
            return self._compared(run, made, notes)
        except LinesDamaged as error:
            which = "the same" if made.digest == run.digest else "other"
            reason = f"{error}; {which} lines come of its inputs"
            return Verified(run, "different", code_version(), made.digest, reason, notes)

    def _compared(self, run: Run, made: Made, notes: list[str]) -> Verified:
        """Raises LinesDamaged."""
        stored = self._rating.lines(run.id).drop("run").collect()
        kept = self._rating.sources.ledger(run).drop("run").collect()
        wrong = {
            "other charge lines come of its inputs": made.digest != run.digest,
            "the stored charge lines are not those of the recorded digest": digest(stored) != run.digest,
            "another ledger of credits comes of its inputs": not kept.sort("entry").equals(made.ledger.sort("entry")),
        }
        if not any(wrong.values()):
            return Verified(run, "equal", code_version(), made.digest, notes=notes)
        if run.last_change is None and _accounts_differ(run, made.gathered):
            reason = "it is from before the history of accounts began, and they were changed in between"
            return Verified(run, "unknown", code_version(), made.digest, reason, notes)
        reason = "; ".join(what for what, is_so in wrong.items() if is_so)
        gone, new = _only_in(stored, made.lines), _only_in(made.lines, stored)
        changes = _changes(made.lines, stored)
        return Verified(run, "different", code_version(), made.digest, reason, notes, gone, new, changes)

    def _made_again(self, run: Run) -> Made:
        if run.due_until is not None:
            return self._closed_again(run)
        catalog = parse_catalog(self._store.catalogs.document(run.catalog_version), format="json")
        known = self._history.of_run(run, catalog.declared_properties())
        gathered = self._rating.sources.gather(parse_month(run.period), compile_catalog(catalog), known=known)
        rated = gathered.inputs.rated()
        return Made(gathered, rated.lines, gathered.ledger(rated), rated.digest)

    def _closed_again(self, run: Run) -> Made:
        close = self._rating.due.close_of(run, self._history)
        prepared = self._rating.due.prepare(close)
        posting = prepared.posting(EVERYONE)
        if run.kind == "restatement":
            lines, ledger = posting.restated, posting.ledger.clear()
        else:
            lines, ledger = posting.lines(close.rule.late), posting.ledger
        return Made(prepared.gathered, lines, ledger, digest(lines))


def _notes(run: Run) -> list[str]:
    if run.code_version == code_version():
        return []
    return [f"it was rated by other code ({run.code_version})"]


def _other_inputs(run: Run, gathered: Gathered, ledger: pl.DataFrame) -> list[str]:
    """Which inputs have another digest than the run recorded."""
    credits = (run.report or {}).get("credits") or {}
    known = credits.get("digest")
    others = ["its customers and subscriptions"] if _accounts_differ(run, gathered) else []
    if known is not None and known != gathered.credits_report(ledger)["digest"]:
        others.append("its grants of credits")
    return [f"{name} have another digest than it recorded" for name in others]


def _accounts_differ(run: Run, gathered: Gathered) -> bool:
    known = ((run.report or {}).get("accounts") or {}).get("digest")
    return known is not None and known != gathered.accounts.report()["digest"]


def _only_in(some: pl.DataFrame, others: pl.DataFrame) -> list[str]:
    """The ids of the lines of `some` that `others` do not have, or not as they are."""
    own, theirs = (lines.select("line", content=_content()) for lines in (some, others))
    found = own.join(theirs, on=["line", "content"], how="anti")["line"].sort()
    return list(found)


def _content() -> pl.Expr:
    return pl.struct(CHARGE_LINE.names()).struct.json_encode()


def _changes(now: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """CHANGE, the largest amounts first."""
    owners = pl.concat([lines.select("subscription", "customer") for lines in (now, stored)]).unique("subscription")
    changed = difference(parts_of(now), parts_of(stored))
    owned = changed.join(owners, on="subscription", how="left", validate="m:1").select(CHANGE.names())
    return owned.sort(pl.col("amount").abs(), descending=True, maintain_order=True)
