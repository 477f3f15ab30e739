"""Which events are corrected, by which others: what a scan leaves out. Kept in memory beside the table snapshot.

An event that was corrected, and a void, are rows of journal and usage table as any other, for audit; only their
sequences are known here, and what corrects what (docs/decisions/0010).

The event may be one of a backfill: it is named by its sequence among the events of all logs, and the correction counts
for as long as the backfill does, and no longer (docs/decisions/0011).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from ingest.backfill_shown import NUMBER_BITS, ShownBackfill
from ingest.usage_table import TableSnapshot

VOID, REPLACE = "void", "replace"
CHUNKS_MAX = 64
ENDED = "has ended with the backfill of the event that it corrects"
"""Why a correction does not count any more; it continues the sentence of a message."""

_ROW = pl.Schema(
    {
        "sequence": pl.Int64(),
        "corrects": pl.Int64(),  # a sequence; of an event of a backfill that among the events of all logs
        "correction": pl.String(),  # void | replace
        "source": pl.String(),
        "id": pl.String(),
    }
)
_OF_BACKFILL = pl.Schema({"sequence": pl.Int64(), "number": pl.Int64()})


@dataclass(frozen=True)
class Corrector:
    """The event that corrects another."""

    source: str
    id: str
    correction: str


@dataclass(frozen=True)
class Corrected:
    """`rows` has one row a correction, in the order of acceptance. `hidden` are the sequences, ascending, of the events
    that are corrected and of the voids. `of_backfills` has one row for each of the corrections that correct an event of
    a backfill, or such a correction: `sequence`, and the `number` of the backfill."""

    rows: pl.DataFrame
    hidden: pl.Series
    of_backfills: pl.DataFrame

    def with_more(self, events: pl.DataFrame) -> "Corrected":
        """With newly accepted corrections, as they are stored."""
        more = events.select(_ROW.names())
        rows = self.rows.vstack(more)
        rows = rows.rechunk() if rows.n_chunks() > CHUNKS_MAX else rows
        hidden = pl.concat([self.hidden, _hidden_by(more)]).sort()
        return Corrected(rows, hidden, _of_backfills(more, self.of_backfills))

    def up_to(self, last_sequence: int) -> "Corrected":
        """As it was when `last_sequence` was the newest event."""
        then = pl.col("sequence") <= last_sequence
        rows = self.rows.filter(then)
        return Corrected(rows, _hidden_by(rows).sort(), self.of_backfills.filter(then))

    def hidden_with(self, backfills: Sequence[ShownBackfill]) -> pl.Series:
        """`hidden`, and the corrections that have ended with their backfills: those of none of `backfills`."""
        ended = self.ended(backfills)
        return pl.concat([self.hidden, ended]).sort() if len(ended) else self.hidden

    def ended(self, backfills: Sequence[ShownBackfill]) -> pl.Series:
        """The sequences of the corrections that have ended with their backfills."""
        return self.of_backfills.filter(~pl.col("number").is_in([backfill.number for backfill in backfills]))[
            "sequence"
        ]

    def of_backfill(self, number: int) -> pl.DataFrame:
        """Those of `rows` that count only as long as the backfill with this number, oldest first."""
        sequences = self.of_backfills.filter(pl.col("number") == number)["sequence"]
        return self.rows.filter(pl.col("sequence").is_in(sequences.implode()))

    def correctors(self, sequences: Collection[int]) -> dict[int, Corrector]:
        """What corrects the events of `sequences`; those that nothing corrects are left out."""
        found = self.rows.filter(pl.col("corrects").is_in(list(sequences)))
        return {
            sequence: Corrector(source, key, correction)
            for sequence, source, key, correction in found.select("corrects", "source", "id", "correction").iter_rows()
        }


def corrected_in(table: TableSnapshot, tail: Iterable[pl.DataFrame]) -> Corrected:
    """The corrections of the table, of which only the files that have any are read, and of the records behind it."""
    files = table.files.filter("has_corrections")
    part = replace(table, files=files)
    stored = [frame.filter(pl.col("correction").is_not_null()) for frame in part.scan(_ROW, {})]
    behind = [frame.select(_ROW.names()).lazy() for frame in tail if "correction" in frame.columns]
    rows = pl.concat([_ROW.to_frame().lazy(), *stored, *behind]).sort("sequence").collect()
    return Corrected(rows, _hidden_by(rows).sort(), _of_backfills(rows, _OF_BACKFILL.to_frame()))


def _hidden_by(rows: pl.DataFrame) -> pl.Series:
    voids = rows.filter(pl.col("correction") == VOID)["sequence"]
    return pl.concat([rows["corrects"].alias("sequence"), voids])


def _of_backfills(more: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """`known` with the newer corrections that are of backfills too. A replacement may itself be corrected, so these are
    followed one by one; there are few, and mostly none."""
    if known.is_empty() and not (more["corrects"] >= 1 << NUMBER_BITS).any():
        return known
    numbers: dict[int, int] = dict(known.iter_rows())
    for sequence, corrects in more.select("sequence", "corrects").iter_rows():
        number = corrects >> NUMBER_BITS or numbers.get(corrects, 0)
        if number:
            numbers[sequence] = number
    return pl.DataFrame(list(numbers.items()), _OF_BACKFILL, orient="row")
