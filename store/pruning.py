"""Letting go of what was told long ago: signals, what was delivered of them, what was given up, and the log of tries.

Each step is one short transaction over a bounded number of rows. Nothing goes that somebody still waits for, or that
says that a crossing was raised already: a signal of a window that is open, or was until lately, stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, select

from store.database import reading, writing
from store.quota_tables import webhook_attempts, webhook_deliveries, webhook_endpoints
from store.tables import signals
from store.webhooks import DeliveryState

FOUND_AGAIN = timedelta(days=3)
"""A start finds the crossings of windows that ended a little before: longer than it looks back."""


@dataclass(frozen=True)
class Pruned:
    """How many signals were let go, and the sequence to go on behind; null: it was the last page."""

    count: int
    behind: int | None


@dataclass(frozen=True)
class Pruning:
    engine: Engine

    def first_since(self, at: datetime) -> int:
        """The sequence of the first signal raised at `at` or later; where there is none, that of the newest, which
        always stays."""
        later = select(signals.c.sequence).where(signals.c.raised_at >= at).order_by(signals.c.sequence).limit(1)
        with reading(self.engine) as connection:
            newest = connection.scalar(select(func.max(signals.c.sequence))) or 0
            return connection.scalar(later) or newest

    def deliveries(self, state: DeliveryState, before: int, until: datetime, limit: int) -> int:
        """Let go deliveries in `state` of signals in front of sequence `before`, delivered before `until` or never: how
        many."""
        of = webhook_deliveries.c
        is_old = of.delivered_at.is_(None) | (of.delivered_at < until)
        count = 0
        with writing(self.engine) as connection:
            for endpoint in list(connection.scalars(select(webhook_endpoints.c.id))):
                found = select(of.signal).where(of.endpoint == endpoint, of.signal < before, of.state == state, is_old)
                some = list(connection.scalars(found.limit(limit - count)))
                connection.execute(delete(webhook_deliveries).where(of.endpoint == endpoint, of.signal.in_(some)))
                count += len(some)
                if count >= limit:
                    break
        return count

    def attempts(self, until: datetime, limit: int) -> int:
        """Let go tries of before `until`, the oldest first: how many."""
        of = webhook_attempts.c
        with writing(self.engine) as connection:
            oldest = connection.execute(select(of.sequence, of.at).order_by(of.sequence).limit(limit)).all()
            old = [sequence for sequence, at in oldest if at < until]
            connection.execute(delete(webhook_attempts).where(of.sequence.in_(old)))
        return len(old)

    def signals(self, behind: int, before: int, now: datetime, limit: int) -> Pruned:
        """Let go of a page of signals behind `behind` and in front of `before`: those that nothing needs any more."""
        of = signals.c
        with writing(self.engine) as connection:
            cursor = connection.scalar(select(func.min(webhook_endpoints.c.cursor)))
            last = before - 1 if cursor is None else min(before - 1, cursor)
            page = select(of.sequence, of.type, of.data).where(of.sequence > behind, of.sequence <= last)
            rows = connection.execute(page.order_by(of.sequence).limit(limit)).all()
            needed = _delivered(connection, [row.sequence for row in rows])
            going = [row.sequence for row in rows if row.sequence not in needed and _is_over(row.type, row.data, now)]
            connection.execute(delete(signals).where(of.sequence.in_(going)))
        return Pruned(len(going), rows[-1].sequence if len(rows) == limit else None)


def _delivered(connection: Connection, sequences: Sequence[int]) -> set[int]:
    """Those of which there are deliveries."""
    if not sequences:
        return set()
    of = webhook_deliveries.c
    endpoints = list(connection.scalars(select(webhook_endpoints.c.id)))
    between = of.signal.between(sequences[0], sequences[-1])
    return set(connection.scalars(select(of.signal).where(of.endpoint.in_(endpoints), between)))


def _is_over(type: str, data: Mapping[str, Any], now: datetime) -> bool:
    """Whether what a signal says cannot be found again, which would raise it again."""
    if type.startswith("customer."):
        return True
    end = data.get("expires_at") if type.startswith("grant.") else data.get("window_end")
    return end is not None and datetime.fromisoformat(end) + FOUND_AGAIN < now
