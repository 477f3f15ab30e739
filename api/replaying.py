"""Rejections are sent again where they were sent before: into the log, or into a backfill that is open."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from api.engine import Engine
from ingest.rejections import Rejection
from ingest.rejections_replay import ReplayedAgain, replay
from ingest.verdicts import EventVerdict
from store.errors import BackfillNotOpen, NotFound

NOT_OPEN = "backfill_not_open"


def replay_where_sent(
    engine: Engine, rejections: Sequence[Rejection], corrections: Mapping[int, bytes]
) -> list[ReplayedAgain]:
    """What became of each, in the order of the backfills. Those of a backfill that takes no events are refused again.

    Raises as `replay`, and what keeps an open backfill from taking events.
    """
    ordered = sorted(rejections, key=lambda rejection: (rejection.backfill or "", rejection.sequence))
    done: list[ReplayedAgain] = []
    for backfill, group in groupby(ordered, key=lambda rejection: rejection.backfill):
        part = list(group)
        try:
            log = engine.log if backfill is None else engine.backfills.staged(backfill)
        except (BackfillNotOpen, NotFound) as error:
            done += [_refused(rejection, str(error)) for rejection in part]
        else:
            done += replay(log, part, corrections, engine.log.limits)
    return done


def _refused(rejection: Rejection, why: str) -> ReplayedAgain:
    event = EventVerdict(rejection.index, rejection.source, rejection.id, NOT_OPEN, why)
    return ReplayedAgain(rejection, "rejected", event)
