"""What the parts of a run come to together: totals, digest and report, the same as if it had been made in one part."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import polars as pl

from api.due_parts import Posting
from api.rating_inputs import Gathered
from rating.core.book import PriceBook
from rating.core.credits.run_ledger import LEDGER_TOTAL, ledger_totals
from rating.core.credits.schema import CREDIT_ENTRY
from rating.core.lines import LINE_SUMS, sums_of, totals_of_sums
from rating.core.money import grouped_sum
from rating.core.rating import UNPRICED, uncharged, unpriced_of_parts
from rating.run import json_rows, report_of

_FRAMES = {"sums": LINE_SUMS, "restated": LINE_SUMS, "unpriced": UNPRICED, "credits": LEDGER_TOTAL}


@dataclass(frozen=True)
class PartSums:
    """What one part of a run came to, beside its lines: small enough to be recorded with the run."""

    lines: int
    adjustments: int
    entries: int  # of the ledger
    closed: int
    again: int
    skipped: list[dict[str, Any]]
    next_due: str | None
    sums: pl.DataFrame  # LINE_SUMS
    restated: pl.DataFrame  # the same of a document of its own
    unpriced: pl.DataFrame  # UNPRICED
    credits: pl.DataFrame  # LEDGER_TOTAL

    @classmethod
    def of(cls, posting: Posting, lines: pl.DataFrame, document: pl.DataFrame) -> "PartSums":
        """Of a part with these `lines` and those of its `document`."""
        return cls(
            lines.height,
            lines.filter(pl.col("kind") == "adjustment").height,
            posting.ledger.height,
            posting.closed,
            posting.again,
            posting.skipped,
            posting.next_due.isoformat() if posting.next_due else None,
            sums_of(lines),
            sums_of(document),
            posting.unpriced,
            ledger_totals(posting.ledger),
        )

    def record(self) -> dict[str, Any]:
        """In JSON values."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: _rows(value) if name in _FRAMES else value for name, value in values.items()}

    @classmethod
    def recorded(cls, record: dict[str, Any]) -> "PartSums":
        """The way back."""
        frames = {name: _frame(record[name], schema) for name, schema in _FRAMES.items()}
        return cls(**{**record, **frames})


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.cast(pl.String).to_dicts()


def _frame(rows: list[dict[str, Any]], schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(schema, pl.String)).cast(schema)


def run_report(parts: Sequence[PartSums], gathered: Gathered, book: PriceBook) -> dict[str, Any]:
    """The report of a run; with the backfills that its usage has, if there are any."""
    inputs = gathered.inputs
    unsubscribed, unmetered = uncharged(inputs.usage, inputs.subjects, inputs.subscriptions, inputs.book, inputs.due)
    totals = totals_of_sums([part.sums for part in parts], book)
    unpriced = unpriced_of_parts([part.unpriced for part in parts])
    credits = {
        **gathered.credits_report(CREDIT_ENTRY.to_frame()),
        "entries": sum(part.entries for part in parts),
        "totals": json_rows(_credits([part.credits for part in parts])),
    }
    return {
        **report_of(sum(part.lines for part in parts), totals, unpriced, unsubscribed, unmetered),
        "accounts": gathered.accounts.report(),
        "credits": credits,
        **({"backfills": list(gathered.backfills)} if gathered.backfills else {}),
    }


def due_report(parts: Sequence[PartSums], gathered: Gathered, book: PriceBook) -> dict[str, Any]:
    """The same of a run of what is due: besides, what it closed, and who was left out."""
    skipped = [one for part in parts for one in part.skipped]
    return {
        **run_report(parts, gathered, book),
        "periods": {"closed": sum(part.closed for part in parts), "rated_again": sum(part.again for part in parts)},
        "adjustments": sum(part.adjustments for part in parts),
        "skipped": sorted(skipped, key=lambda one: str(one["customer"])),
        "next_due": min(datetime.fromisoformat(part.next_due) for part in parts if part.next_due).isoformat(),
    }


def document_report(parts: Sequence[PartSums], book: PriceBook) -> dict[str, Any]:
    """The report of a document of what was restated."""
    sums = [part.restated for part in parts]
    return {
        "lines": sum(part["lines"].sum() for part in sums),
        "totals": json_rows(totals_of_sums(sums, book)),
    }


def _credits(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    amounts = [name for name in LEDGER_TOTAL if name != "unit"]
    summed = grouped_sum(pl.concat([LEDGER_TOTAL.to_frame(), *parts]).lazy(), ["unit"], amounts)
    return summed.select(LEDGER_TOTAL.names()).cast(LEDGER_TOTAL).sort("unit").collect()
