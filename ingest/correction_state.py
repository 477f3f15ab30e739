"""Which events are corrected, by which others: what a scan leaves out. Kept in memory beside the table snapshot.

An event that was corrected, and a void, are rows of journal and usage table as any other, for audit; only their
sequences are known here, and what corrects what (docs/decisions/0010).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

import polars as pl

from ingest.usage_table import TableSnapshot

VOID, REPLACE = "void", "replace"
CHUNKS_MAX = 64

_ROW = pl.Schema(
    {
        "sequence": pl.Int64(),
        "corrects": pl.Int64(),  # a sequence
        "correction": pl.String(),  # void | replace
        "source": pl.String(),
        "id": pl.String(),
    }
)


@dataclass(frozen=True)
class Corrector:
    """The event that corrects another."""

    source: str
    id: str
    correction: str


@dataclass(frozen=True)
class Corrected:
    """`rows` has one row a correction, in the order of acceptance. `hidden` are the sequences, ascending, of the events
    that are corrected and of the voids."""

    rows: pl.DataFrame
    hidden: pl.Series

    def with_more(self, events: pl.DataFrame) -> "Corrected":
        """With newly accepted corrections, as they are stored."""
        more = events.select(_ROW.names())
        rows = self.rows.vstack(more)
        rows = rows.rechunk() if rows.n_chunks() > CHUNKS_MAX else rows
        return Corrected(rows, pl.concat([self.hidden, _hidden_by(more)]).sort())

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
    return Corrected(rows, _hidden_by(rows).sort())


def _hidden_by(rows: pl.DataFrame) -> pl.Series:
    voids = rows.filter(pl.col("correction") == VOID)["sequence"]
    return pl.concat([rows["corrects"].alias("sequence"), voids])
