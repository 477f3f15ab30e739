"""A backfill as `scan` and admission see it: what it hides, what it shows instead, which identities it has.

Nothing here changes after it was made; which backfills are shown is in the log's contents, swapped whole.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ingest.backfill_range import BackfillRange
from ingest.identity import BodyHash, IdentityHash
from ingest.identity_index import filter as bits
from ingest.identity_index.records import Records
from ingest.identity_index.run import Run
from ingest.schema import DAY, IDENTITY_COLUMNS, stored_schema
from ingest.usage_table import TableSnapshot
from rating.core.schema import SUBJECT_NUMBER, PropertyType

NUMBER_BITS = 40


def no_sequences() -> pl.Series:
    return pl.Series("sequence", [], dtype=pl.Int64)


def no_subject_numbers() -> pl.Series:
    return pl.Series(SUBJECT_NUMBER, [], dtype=pl.Int64)


@dataclass(frozen=True)
class ShownBackfill:
    """A staged log, and what it replaces of the main one.

    It hides all events of `range` that the main log accepted up to `opened_sequence`, those of backfills with a lower
    `number`, and of the main log the sequences `hidden`: events that came later, and are staged too. Of the staged
    events those with the sequences `refused` are not shown: their identities stand outside the range.
    `table` and `frames` are the staged events; `runs` their identities under the secret of the main log;
    `subject_numbers` has at the place of each subject number of `table` the one of the main log.
    """

    id: str
    number: int
    range: BackfillRange
    opened_sequence: int
    table: TableSnapshot
    frames: tuple[pl.DataFrame, ...] = ()
    hidden: pl.Series = field(default_factory=no_sequences)
    refused: pl.Series = field(default_factory=no_sequences)
    runs: tuple[Run, ...] = ()
    subject_numbers: pl.Series = field(default_factory=no_subject_numbers)

    def hides(self) -> pl.Expr:
        """Whether an event of the main log is hidden."""
        replaced = (pl.col("sequence") <= self.opened_sequence) & self.range.matches()
        return replaced | pl.col("sequence").is_in(self.hidden.implode()) if len(self.hidden) else replaced

    def touches(self) -> pl.Expr:
        """Whether a file of the main table (TABLE_FILE) may hold hidden events."""
        first, last = self.range.days()
        replaced = pl.col(DAY).is_between(first, last) & (pl.col("first_sequence") <= self.opened_sequence)
        if not len(self.hidden):
            return replaced
        lowest, highest = self.hidden.min(), self.hidden.max()
        return replaced | ((pl.col("last_sequence") >= lowest) & (pl.col("first_sequence") <= highest))

    def shows(self) -> pl.Expr:
        """Whether a staged event is shown."""
        return ~pl.col("sequence").is_in(self.refused.implode()) if len(self.refused) else pl.lit(True)

    def numbered(self) -> pl.Expr:
        """The sequence of a staged event among the events of all logs: unique, and behind those of the main log."""
        return pl.col("sequence") + (self.number << NUMBER_BITS)

    def own_sequences(self, numbered: pl.Series) -> pl.Series:
        """Of the sequences (ascending) among the events of all logs those of staged events, as these are numbered."""
        first, end = self.number << NUMBER_BITS, (self.number + 1) << NUMBER_BITS
        if numbered.is_empty() or numbered[-1] < first:
            return numbered.clear()
        return numbered.filter((numbered >= first) & (numbered < end)) - first

    def subject_number(self) -> pl.Expr:
        """The main log's number for the subject of an event of `table`."""
        return pl.lit(self.subject_numbers).gather(pl.col(SUBJECT_NUMBER)).alias(SUBJECT_NUMBER)

    def holds(self, asked: Records, first_masks: np.ndarray) -> tuple[np.ndarray, BodyHash]:
        """The rows of the asked identities that are staged here, and their fingerprints."""
        found = [run.find(asked, first_masks) for run in self.runs]
        rows = np.concatenate([rows for rows, _ in found]) if found else np.zeros(0, np.intp)
        prints = np.concatenate([prints for _, prints in found]) if found else np.zeros(0, np.int64)
        return rows, prints


def known_in(
    backfills: Sequence[ShownBackfill],
    identity: IdentityHash,
    fingerprint: BodyHash,
    known: np.ndarray,
    known_fingerprint: BodyHash,
) -> tuple[np.ndarray, BodyHash]:
    """What the main log knows of the identities of a group, and what committed backfills know besides.

    An event that the main log knows with the same body is asked for nowhere else: it was accepted, and is a duplicate.
    """
    rows = np.flatnonzero(~known | (known_fingerprint != fingerprint))
    if not len(rows):
        return known, known_fingerprint
    known, known_fingerprint = known.copy(), known_fingerprint.copy()
    asked = Records(identity[0][rows], identity[1][rows], np.zeros(len(rows), np.int64))
    masks = bits.first_masks(asked.low)
    for backfill in backfills:
        found, prints = backfill.holds(asked, masks)
        is_better = ~known[rows[found]] | (prints == fingerprint[rows[found]])
        known[rows[found]] = True
        known_fingerprint[rows[found][is_better]] = prints[is_better]
    return known, known_fingerprint


def find_in(backfill: ShownBackfill, wanted: pl.DataFrame, properties: Mapping[str, PropertyType]) -> pl.DataFrame:
    """The staged events with the identities of `wanted` (source, id), in the columns of `stored_schema` but the day."""
    return _found(backfill, properties, lambda frame: frame.join(wanted.lazy(), on=IDENTITY_COLUMNS, how="semi"))


def find_numbered(backfill: ShownBackfill, wanted: pl.Series, properties: Mapping[str, PropertyType]) -> pl.DataFrame:
    """The staged events with the sequences `wanted` among the events of all logs, which they have here too:
    `stored_schema(properties)`."""
    own = backfill.own_sequences(wanted.sort())
    if own.is_empty():
        return stored_schema(properties).to_frame()
    return as_of_all_logs(
        backfill, _found(backfill, properties, lambda frame: frame.filter(pl.col("sequence").is_in(own.implode())))
    )


def as_of_all_logs(backfill: ShownBackfill, staged: pl.DataFrame) -> pl.DataFrame:
    """What `find_in` gives, with sequences among the events of all logs and the day."""
    return staged.with_columns(backfill.numbered(), pl.col("time").dt.date().alias(DAY))


def _found(
    backfill: ShownBackfill,
    properties: Mapping[str, PropertyType],
    choose: Callable[[pl.LazyFrame], pl.LazyFrame],
) -> pl.DataFrame:
    schema = stored_schema(properties)
    del schema[DAY]
    frames = backfill.table.scan(schema, properties, backfill.range.days())
    return pl.concat([schema.to_frame().lazy(), *map(choose, frames)]).collect()
