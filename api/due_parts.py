"""What a run of what is due posts, part by part: see closing.py for what that is, and parts.py for the parts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from api.history import Known
from api.parts import Parts, Span
from api.rating_inputs import Gathered, RatingInputs
from api.skipping import rated_but
from rating.catalog.closing import Closing
from rating.catalog.model import Catalog
from rating.core.book import PriceBook
from rating.core.credits.run_ledger import run_ledger
from rating.core.lines import CHARGE_LINE, ordered
from rating.core.restating import posted
from rating.core.service_periods import AGAIN, Due, service_periods
from rating.line_table import LineTable
from store.runs import Run

OWNED_AGAIN = pl.Schema({"customer": pl.String(), **AGAIN})
"""One row is a billing period that was closed and is rated again, and whose it is."""

LEFT = pl.Schema({**OWNED_AGAIN, "falls_due": pl.Boolean()})
"""One row is a billing period of a subscription that was billed to a customer who does not have it any more: it falls
due now for the one who has it, or is rated again. What was billed of it is looked at with the customer who paid it, so
that the lines of a part are those of its customers."""


@dataclass(frozen=True)
class Close:
    """What is closed: what is `due`, by a catalog and its `rule`, as it is `known`, behind the close `last`."""

    due: Due
    catalog: Catalog
    book: PriceBook
    known: Known
    last: Run | None
    run: str  # the run that closes it

    @property
    def document(self) -> str:
        """The run that has what is restated, where that is a document of its own."""
        return f"{self.run}_restated"

    @property
    def rule(self) -> Closing:
        return self.catalog.closing


@dataclass(frozen=True)
class Billed:
    """What `runs` have billed."""

    line_table: LineTable
    runs: Sequence[str]

    def lines(self, keys: pl.DataFrame, span: Span) -> pl.DataFrame:
        """CHARGE_LINE of some billing periods (AGAIN) of the customers of a part."""
        if keys.is_empty() or not self.runs:
            return CHARGE_LINE.to_frame()
        begins = pl.col("period_start").is_between(keys["period_start"].min(), keys["period_start"].max())
        lines = (
            self.line_table.scan(self.runs)
            .filter(begins, span.filter())
            .join(keys.lazy(), on=AGAIN.names(), how="semi")
        )
        return lines.select(CHARGE_LINE.names()).collect(engine="streaming")

    def periods_of(self, concerned: pl.DataFrame) -> pl.DataFrame:
        """OWNED_AGAIN of customers: their billing periods that end behind `since`."""
        lines = self.line_table.scan(self.runs).join(concerned.lazy(), on="customer", validate="m:1")
        later = lines.filter(pl.col("period_end") > pl.col("since"))
        return later.select(OWNED_AGAIN.names()).unique().collect(engine="streaming")

    def left(self, subscriptions: pl.DataFrame, keys: pl.DataFrame, due: Due) -> pl.DataFrame:
        """LEFT by customer, of what is `due` of `subscriptions` (SUBSCRIPTION) and of the `keys` (AGAIN) that are rated
        again."""
        first, owned = keys["period_start"].min(), ["subscription", "customer"]
        may_be_looked_at = pl.col("period_end") > due.after  # of what falls due some was billed in advance
        if isinstance(first, datetime):
            may_be_looked_at |= pl.col("period_start") >= first
        billed = self.line_table.scan(self.runs).filter(may_be_looked_at).select(OWNED_AGAIN.names())
        others = billed.unique().join(subscriptions.lazy().select(owned), on=owned, how="anti")
        left = others.collect(engine="streaming")
        now = subscriptions.join(left, on="subscription", how="semi")
        fallen_due = service_periods(now, due).select(*AGAIN, falls_due=pl.lit(True)).unique()
        found = left.join(fallen_due, on=AGAIN.names(), how="left", validate="m:1").join(
            keys.with_columns(is_again=pl.lit(True)), on=AGAIN.names(), how="left", validate="m:1"
        )
        looked_at = found.filter(pl.any_horizontal(pl.col("falls_due", "is_again").is_not_null()))
        return looked_at.with_columns(pl.col("falls_due").fill_null(False)).select(LEFT.names()).sort("customer")


@dataclass(frozen=True)
class Posting:
    """What a part of a run posts: CHARGE_LINE of what fell due, and of what closed periods are not any more as they
    were billed. `ledger` is CREDIT_ENTRY, `unpriced` UNPRICED, `skipped` who could not be rated, and why."""

    new: pl.DataFrame
    restated: pl.DataFrame
    ledger: pl.DataFrame
    unpriced: pl.DataFrame
    closed: int = 0  # billing periods that ended
    again: int = 0  # billing periods that were rated again
    skipped: list[dict[str, Any]] = field(default_factory=list)
    next_due: datetime | None = None  # of these customers

    def lines(self, late: str) -> pl.DataFrame:
        """Those of the run, in LINE_ORDER: both, unless what is restated is a document of its own (Closing.late)."""
        own = [self.new] if late == "document" else [self.new, self.restated]
        return ordered(pl.concat(own))


@dataclass(frozen=True)
class DueParts:
    """The parts of a run of what is due. `keys` is OWNED_AGAIN by customer, `again` the inputs by which they are rated
    again, null where none is; `earlier` is what was billed before, `left` (LEFT by customer) to whom it is not now."""

    close: Close
    gathered: Gathered
    spans: list[Span]
    parts: Parts
    again: Parts | None
    keys: pl.DataFrame
    earlier: Billed
    left: pl.DataFrame

    def posting(self, span: Span) -> Posting:
        """What is posted of the customers of one part."""
        inputs, due = self.parts.of(span), self.close.due
        made = rated_but(inputs, self.close.catalog)
        served = service_periods(inputs.subscriptions, due)
        fallen_due = served.select(AGAIN.names()).unique()
        new = posted(made.rated.lines, self._billed(fallen_due, span, falls_due=True))
        again, restated = self._restated(span, fallen_due)
        closed = served.filter(pl.col("bills") == "all").select(AGAIN.names()).unique().height
        ledger = run_ledger(made.rated.burnt, inputs.credits.grants, str(self.gathered.credited))
        following = _next_due(inputs, due)
        return Posting(new, restated, ledger, made.rated.unpriced, closed, again, made.skipped, following)

    def _restated(self, span: Span, fallen_due: pl.DataFrame) -> tuple[int, pl.DataFrame]:
        """How many closed periods were rated again, and CHARGE_LINE of what they are not any more as they were
        billed."""
        keys = span.rows(self.keys).select(AGAIN.names()).join(fallen_due, on=AGAIN.names(), how="anti")
        billed = self._billed(keys, span, falls_due=False)
        if self.again is None or keys.is_empty():
            return 0, posted(CHARGE_LINE.to_frame(), billed)
        due = replace(self.close.due, after=self.close.due.until, again=keys)
        inputs = replace(self.again.of(span), due=due)
        lines = rated_but(inputs, self.close.catalog).rated.lines
        return keys.height, posted(lines, billed)

    def _billed(self, keys: pl.DataFrame, span: Span, *, falls_due: bool) -> pl.DataFrame:
        """CHARGE_LINE of what the customers of a part were billed of `keys` (AGAIN), and of periods that are LEFT."""
        left = span.rows(self.left).filter(pl.col("falls_due") == falls_due).select(AGAIN.names())
        return self.earlier.lines(pl.concat([keys, left]).unique(), span)


def _next_due(inputs: RatingInputs, due: Due) -> datetime:
    """When the next billing period ends or begins; a month later where none does until then."""
    after, until = due.until, due.until + timedelta(days=31)
    served = service_periods(inputs.subscriptions, replace(due, after=after, until=until))
    begins = pl.when(pl.col("from") > after).then("from")  # what is owed in advance; null where it began before
    closes = pl.when(pl.col("closes_at") > after).then("closes_at").otherwise("period_end")
    ends = pl.when(closes <= until).then(pl.min_horizontal(closes, begins))
    found = served.select(ends.otherwise(begins).min()).item() if served.height else until
    assert isinstance(found, datetime)
    return found
