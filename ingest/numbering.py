"""The number of its subject for every event that a scan shows and that is not in the usage table: the events of the
journal, and those of backfills, whose own logs number their subjects apart."""

from dataclasses import replace

from ingest.backfill_shown import ShownBackfill
from ingest.contents import View
from ingest.subjects import Subjects


def numbered(view: View, subjects: Subjects) -> View:
    """`view` with SUBJECT_NUMBER in all its frames. New subjects get a number; it lasts as long as the process."""
    numbers = subjects.numbers(view.frames)
    frames = tuple(frame.with_columns(number) for frame, number in zip(view.frames, numbers, strict=True))
    return replace(view, frames=frames, backfills=tuple(_numbered(backfill, subjects) for backfill in view.backfills))


def _numbered(backfill: ShownBackfill, subjects: Subjects) -> ShownBackfill:
    frames = tuple(frame.with_columns(subjects.assign(frame["subject"])) for frame in backfill.frames)
    return replace(backfill, frames=frames, subject_numbers=subjects.translation(backfill.id, backfill.table))
