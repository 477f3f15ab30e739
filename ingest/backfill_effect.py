"""What a backfill changes: how many events, and when they happened."""

from dataclasses import dataclass, replace

import polars as pl

from ingest.backfill_resolution import Resolution
from ingest.backfill_shown import ShownBackfill
from ingest.contents import View
from ingest.scanning import Asked, own_frames, staged_frames
from rating.core.schema import USAGE_EVENT

_QUARTER = "15m"  # the offsets of all time zones are multiples of it
_READ = pl.Schema({name: USAGE_EVENT[name] for name in ("type", "subject", "time", "sequence")})


@dataclass(frozen=True)
class Effect:
    """Numbers of events. `replaced` count without the backfill and do not with it; `staged` are those that it shows.

    `arrived_since` are in the range, came after the backfill was opened, and count with it too; `superseded` came then
    as well but are staged too, or correct an event that is replaced: they are among the replaced. `refused` are staged
    events that do not count because their identity stands outside the range. `quarters` are the quarters of an hour in
    which any is replaced or staged.
    """

    replaced: int
    staged: int
    arrived_since: int
    superseded: int
    refused: int
    quarters: pl.Series


def effect_of(backfill: ShownBackfill, resolution: Resolution, base: View) -> Effect:
    """The effect of a resolved backfill on `base`, a state without it."""
    asked = Asked(_READ, {})
    corrected = base.corrected.hidden
    own = _concatenated(own_frames(base, asked))
    with_it = _concatenated(own_frames(replace(base, backfills=(*base.backfills, backfill)), asked))
    others = _concatenated(
        [frame for b in base.backfills for frame in staged_frames(b, base.backfills, asked, corrected)]
    )
    replaced = pl.concat([own.filter(backfill.hides()), others.filter(backfill.range.matches())])
    staged = _concatenated(staged_frames(backfill, (), asked, corrected))
    is_later = (pl.col("sequence") > backfill.opened_sequence) & backfill.range.matches()
    parts = [_by_quarter(replaced), _by_quarter(staged), with_it.filter(is_later).select(n=pl.len())]
    replaced_at, staged_at, arrived = pl.collect_all(parts)
    return Effect(
        replaced=int(replaced_at["events"].sum()),
        staged=int(staged_at["events"].sum()),
        arrived_since=int(arrived["n"][0]),
        superseded=resolution.hidden.height,
        refused=resolution.refused.height,
        quarters=pl.concat([replaced_at["time"], staged_at["time"]]).unique().sort(),
    )


def _concatenated(frames: list[pl.LazyFrame]) -> pl.LazyFrame:
    return pl.concat([_READ.to_frame().lazy(), *(frame.select(_READ.names()) for frame in frames)])


def _by_quarter(events: pl.LazyFrame) -> pl.LazyFrame:
    return events.group_by(pl.col("time").dt.truncate(_QUARTER)).agg(events=pl.len())
