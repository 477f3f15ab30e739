"""From what a log holds at one moment to frames: the table and the events behind it, less what corrections and
backfills hide, and what backfills show instead."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from itertools import chain

import polars as pl

from ingest.backfill_shown import ShownBackfill
from ingest.contents import View
from ingest.lift import lift
from ingest.usage_table import TableSnapshot, have_hidden, in_buckets, within, without
from rating.core.schema import SUBJECT_NUMBER, PropertyType, property_column

Span = tuple[datetime | None, datetime | None]


@dataclass(frozen=True)
class Asked:
    """Which events, in which columns: those of `days` (both included, null is open) and `buckets` (null is all), and of
    `span`: [start, end), null is open."""

    schema: pl.Schema
    properties: Mapping[str, PropertyType]
    days: tuple[date | None, date | None] = (None, None)
    buckets: Collection[int] | None = None
    span: Span = (None, None)

    def of_span(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The events of `frame` that are in the span."""
        return within(frame, *self.span)

    @property
    def days_are_whole(self) -> bool:
        """Whether every event of the days is in the span: their files need no look at times."""
        return all(instant is None or instant == _midnight(instant) for instant in self.span)


def frames_of(view: View, asked: Asked) -> list[pl.LazyFrame]:
    """Frames that together hold the events that count, each once."""
    staged = [staged_frames(b, view.backfills, asked, view.corrected.hidden) for b in view.backfills]
    return [*own_frames(view, asked), *chain.from_iterable(staged)]


def own_frames(view: View, asked: Asked, *, with_corrected: bool = False) -> list[pl.LazyFrame]:
    """The events of the log itself, without those that corrections (unless `with_corrected`) and backfills hide. Files
    that no backfill touches are read as if there was none."""
    corrected = None if with_corrected else view.corrected.hidden_with(view.backfills)
    behind = _behind_table(view.frames, view.table.buckets, asked, corrected)
    if not view.backfills:
        return [*_of_table(view.table, asked, corrected), *behind]
    is_hidden = pl.any_horizontal(backfill.hides() for backfill in view.backfills)
    is_touched = view.table.files.select(pl.any_horizontal(b.touches() for b in view.backfills)).to_series()
    touched = replace(view.table, files=view.table.files.filter(is_touched))
    untouched = replace(view.table, files=view.table.files.filter(~is_touched))
    frames = [*_of_table(touched, asked, corrected), *behind]
    return [*_of_table(untouched, asked, corrected), *(frame.filter(~is_hidden) for frame in frames)]


def staged_frames(
    backfill: ShownBackfill, backfills: Sequence[ShownBackfill], asked: Asked, corrected: pl.Series | None = None
) -> list[pl.LazyFrame]:
    """What one of `backfills` shows, without what later ones hide, and without what is `corrected`: sequences among the
    events of all logs, ascending."""
    hidden = None if corrected is None else backfill.own_sequences(corrected)
    later = [b.range.matches() for b in backfills if b.number > backfill.number and b.range.overlaps(backfill.range)]
    behind = _behind_table(backfill.frames, backfill.table.buckets, asked, hidden)
    in_table = _of_table(backfill.table, asked, hidden)
    if SUBJECT_NUMBER in asked.schema:
        in_table = [frame.with_columns(backfill.subject_number()) for frame in in_table]
    frames = [frame.filter(backfill.shows()) for frame in [*in_table, *behind]]
    shown = [frame.filter(~pl.any_horizontal(later)) if later else frame for frame in frames]
    return [frame.with_columns(backfill.numbered()) for frame in shown]


def _of_table(table: TableSnapshot, asked: Asked, hidden: pl.Series | None) -> list[pl.LazyFrame]:
    frames = table.scan(asked.schema, asked.properties, asked.days, asked.buckets, hidden)
    return frames if asked.days_are_whole else [asked.of_span(frame) for frame in frames]


def _behind_table(
    frames: Sequence[pl.DataFrame], buckets: int, asked: Asked, hidden: pl.Series | None
) -> list[pl.LazyFrame]:
    behind = [_complete(frame, asked.properties).select(asked.schema.names()).lazy() for frame in frames]
    if hidden is not None and len(hidden):
        ends = [(frame["sequence"][0], frame["sequence"][-1]) for frame in frames]
        has_hidden = have_hidden(hidden, *zip(*ends, strict=True)) if ends else []
        behind = [without(f, hidden) if has else f for f, has in zip(behind, has_hidden, strict=True)]
    return [asked.of_span(in_buckets(frame, asked.buckets, buckets)) for frame in behind]


def _complete(frame: pl.DataFrame, properties: Mapping[str, PropertyType]) -> pl.DataFrame:
    late = {name: kind for name, kind in properties.items() if property_column(name) not in frame.columns}
    return lift(frame, late) if late else frame


def _midnight(instant: datetime) -> datetime:
    """The beginning of its day in UTC, by which the table is cut."""
    return datetime.combine(instant.astimezone(UTC).date(), time(), UTC)
