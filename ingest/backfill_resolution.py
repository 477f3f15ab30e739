"""Which staged events count, and which events that came since hide behind them: so that no identity counts twice.

A staged event counts where nothing else of its identity can count as long as it does: whatever has that identity is in
the range, or is hidden by another committed backfill whose range overlaps: that one is reverted after this one. Of an
event that was accepted after the backfill was opened, the staged one counts instead (`hidden`). Where an identity
stands elsewhere it is a conflict as everywhere: the first stands, and the staged event is `refused`. What was put in
the place of an event of the range, after the opening, is hidden with it.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import xxhash

from ingest.backfill_shown import ShownBackfill, no_sequences
from ingest.contents import View
from ingest.correction_lookup import find_sequences, replacements_in
from ingest.errors import BackfillDamaged
from ingest.scanning import Asked, own_frames, staged_frames
from ingest.schema import IDENTITY_COLUMNS
from rating.core.schema import USAGE_EVENT
from rating.delta import is_as_written
from rating.disk import Disk

NAMED = pl.Schema({name: USAGE_EVENT[name] for name in (*IDENTITY_COLUMNS, "time", "sequence")})
"""One row is one event, by identity; `sequence` is that of the log it is in."""

_RANGED = pl.Schema({**NAMED, "type": pl.String(), "subject": pl.String()})
_FILE = "resolution"
_KIND = "kind"

Knows = Callable[[pl.DataFrame], np.ndarray]


@dataclass(frozen=True)
class Resolution:
    """Events of the main log that are hidden, and staged events that are refused: NAMED. It looked at the main log up
    to `last_sequence`."""

    hidden: pl.DataFrame
    refused: pl.DataFrame
    last_sequence: int

    def applied(self, backfill: ShownBackfill) -> ShownBackfill:
        """The backfill as it is to be shown."""
        return replace(backfill, hidden=self.hidden["sequence"].sort(), refused=self.refused["sequence"].sort())


def resolve(backfill: ShownBackfill, knows: Knows, view_of: Callable[[], View]) -> Resolution:
    """Compare the staged events with those that count. `knows` tells which identities the main log has accepted so far,
    `view_of` gives its state: it is asked after `knows`, so that whatever was known is in it."""
    staged = _staged(backfill)
    known = staged.filter(pl.Series(knows(staged)))
    view = view_of()
    hidden = arrived(backfill, view, staged, backfill.opened_sequence)
    refused = known
    for part in (hidden, _settled(backfill, view, known)) if known.height else ():
        refused = refused.join(part, on=IDENTITY_COLUMNS, how="anti")
    refused = pl.concat([refused, *_elsewhere(backfill, view, staged)]).unique("sequence").sort("sequence")
    return Resolution(hidden, refused, view.last_sequence)


def resolved_until_now(backfill: ShownBackfill, resolution: Resolution, view: View) -> Resolution:
    """The same with what was accepted since; for a moment in which nothing is."""
    since = arrived(backfill, view, None, resolution.last_sequence)
    late = _semi(since, _staged(backfill)) if since.height else since
    hidden = pl.concat([resolution.hidden, late])
    replacing = replacements_in(view, backfill, hidden["sequence"]).select(NAMED.names())
    hidden = pl.concat([hidden, replacing]).unique("sequence")
    return replace(resolution, hidden=hidden, last_sequence=view.last_sequence)


def arrived(backfill: ShownBackfill, view: View, staged: pl.DataFrame | None, after: int) -> pl.DataFrame:
    """The events of the main log behind sequence `after`, corrected or not: those that are `staged` too, or all."""
    files = view.table.files.filter(pl.col("last_sequence") > after)
    recent = replace(view, table=replace(view.table, files=files), backfills=())
    frames = own_frames(recent, Asked(NAMED, {}), with_corrected=True)
    return _collected(frames, pl.col("sequence") > after, staged)


def save(disk: Disk, directory: Path, resolution: Resolution) -> None:
    """Keep the resolution in the directory of its backfill, in the place of an earlier one. Durable on return."""
    kinds = (("hidden", resolution.hidden), ("refused", resolution.refused))
    rows = pl.concat(frame.with_columns(pl.lit(kind).alias(_KIND)) for kind, frame in kinds)
    content = _parquet(rows)
    path = directory / f"{_FILE}-{xxhash.xxh3_64_hexdigest(content)}.parquet"
    disk.publish(path, [content])
    for other in directory.glob(f"{_FILE}-*"):
        if other != path:
            disk.unlink(other)


def load(directory: Path) -> Resolution:
    """What `save` has kept. Raises BackfillDamaged."""
    paths = list(directory.glob(f"{_FILE}-*.parquet"))
    if len(paths) != 1 or not is_as_written(paths[0]):
        raise BackfillDamaged(directory, f"{_FILE}-*.parquet is missing or not what was written")
    rows = pl.read_parquet(paths[0], hive_partitioning=False)
    hidden, refused = (rows.filter(pl.col(_KIND) == kind).drop(_KIND) for kind in ("hidden", "refused"))
    return Resolution(hidden, refused, 0)


def _staged(backfill: ShownBackfill) -> pl.DataFrame:
    """All staged events, with their own sequences."""
    bare = replace(backfill, number=0, refused=backfill.refused.clear())
    return _collected(staged_frames(bare, (), Asked(NAMED, {})), pl.lit(True), None)


def _settled(backfill: ShownBackfill, view: View, known: pl.DataFrame) -> pl.DataFrame:
    """Of the `known` identities those whose events of the main log cannot count while the backfill does."""
    over = _overlapping(backfill, view)
    first, last = zip(*(b.range.days() for b in (backfill, *over)), strict=True)
    asked = Asked(_RANGED, {}, (min(first), max(last)))
    frames = own_frames(replace(view, backfills=()), asked, with_corrected=True)
    in_time = _collected(frames, pl.any_horizontal(backfill.range.matches(), *(b.hides() for b in over)), known)
    hidden = pl.concat([no_sequences(), *(b.hidden for b in over)])
    return pl.concat([in_time, find_sequences(view, hidden, {}).select(NAMED.names())])


def _elsewhere(backfill: ShownBackfill, view: View, staged: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The staged events whose identities other backfills have, in events that may count beside them."""
    over = _overlapping(backfill, view)
    for other in view.backfills:
        later = (b.range.matches() for b in over if b.number > other.number)
        is_settled = pl.any_horizontal(backfill.range.matches(), *later)
        found = _collected(staged_frames(other, (), Asked(_RANGED, {})), ~is_settled, staged)
        yield _semi(staged, found)


def _overlapping(backfill: ShownBackfill, view: View) -> list[ShownBackfill]:
    """The committed backfills that are only reverted when this one is."""
    return [other for other in view.backfills if other.range.overlaps(backfill.range)]


def _collected(frames: list[pl.LazyFrame], wanted: pl.Expr, among: pl.DataFrame | None) -> pl.DataFrame:
    chosen = (frame.filter(wanted).select(NAMED.names()) for frame in frames)
    events = pl.concat([NAMED.to_frame().lazy(), *chosen])
    return (events if among is None else events.join(among.lazy(), on=IDENTITY_COLUMNS, how="semi")).collect()


def _semi(events: pl.DataFrame, among: pl.DataFrame) -> pl.DataFrame:
    return events.join(among, on=IDENTITY_COLUMNS, how="semi")


def _parquet(rows: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    rows.write_parquet(content)
    return content.getvalue()
