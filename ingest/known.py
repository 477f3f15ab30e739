"""What the log held earlier, as a view of what it holds now.

Events are never removed and keep their sequences, whatever file they are in. So an earlier state is the newer one up to
a sequence, with the corrections up to there and the backfills that counted then; no old version of the table is needed.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import polars as pl

from ingest.backfill_shown import NUMBER_BITS, ShownBackfill
from ingest.contents import View
from ingest.scanning import Asked, own_frames
from rating.core.schema import USAGE_EVENT

_RECEIVED = pl.Schema({name: USAGE_EVENT[name] for name in ("sequence", "received_at")})


def as_known(view: View, last_sequence: int, backfills: Sequence[ShownBackfill]) -> View:
    """`view` as it was when `last_sequence` was the newest event, and `backfills` those that counted.

    Its table and frames may hold later events: `UsageLog.scan` leaves them out.
    """
    assert last_sequence <= view.last_sequence
    return replace(
        view,
        table=replace(view.table, files=view.table.files.filter(pl.col("first_sequence") <= last_sequence)),
        frames=tuple(f for f in view.frames if f.height and f["sequence"][0] <= last_sequence),
        last_sequence=last_sequence,
        corrected=view.corrected.up_to(last_sequence),
        backfills=tuple(sorted(backfills, key=lambda backfill: backfill.number)),
    )


def up_to_last(frame: pl.LazyFrame, view: View) -> pl.LazyFrame:
    """The events of `view` without those behind its `last_sequence`, which only an earlier state has."""
    newest = [view.table.last_sequence, *(int(f["sequence"][-1]) for f in view.frames if f.height)]
    if max(newest) <= view.last_sequence:
        return frame
    is_staged = pl.col("sequence") >= 1 << NUMBER_BITS
    return frame.filter((pl.col("sequence") <= view.last_sequence) | is_staged)


def last_sequence_at(view: View, instant: datetime) -> int:
    """The newest sequence of which all up to it were received by `instant`.

    All that was acknowledged by then is among them: an event is received before it gets its sequence.
    """
    frames = own_frames(replace(view, backfills=()), Asked(_RECEIVED, {}), with_corrected=True)
    received = pl.concat([_RECEIVED.to_frame(eager=False), *frames])
    later = received.filter(pl.col("received_at") > instant).select(pl.col("sequence").min())
    first_later: int | None = later.collect(engine="streaming").item()
    return view.last_sequence if first_later is None else first_later - 1
