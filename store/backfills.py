"""The record of backfills: what each replaces, and whether it counts. Its events are in the data directory."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Engine, func, insert, or_, select, tuple_, update

from store.database import reading, writing
from store.errors import NotFound
from store.tables import backfills

BackfillState = Literal["open", "committed", "reverted", "dropped"]


@dataclass(frozen=True)
class Backfill:
    """It replaces the events of [`range_start`, `range_end`), of `types` and `subjects` where these name any, that were
    accepted up to `opened_sequence`. `number` is its place among all commits, `staged_events` how many it had then;
    `ended_at` is when it was dropped or reverted."""

    id: str
    state: BackfillState
    range_start: datetime
    range_end: datetime
    types: list[str]
    subjects: list[str]
    opened_at: datetime
    opened_sequence: int
    number: int | None = None
    staged_events: int | None = None
    committed_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True)
class Backfills:
    engine: Engine

    def add(self, backfill: Backfill) -> None:
        """Record one that is open."""
        with writing(self.engine) as connection:
            connection.execute(insert(backfills).values(**vars(backfill)))

    def commit(self, key: str, *, number: int, staged_events: int, now: datetime) -> None:
        """Record that an open one counts from now on."""
        self._move(key, "open", state="committed", number=number, staged_events=staged_events, committed_at=now)

    def revert(self, key: str, *, now: datetime) -> None:
        """Record that a committed one does not count any more."""
        self._move(key, "committed", state="reverted", ended_at=now)

    def drop(self, key: str, *, now: datetime) -> None:
        """Record that an open one will never count."""
        self._move(key, "open", state="dropped", ended_at=now)

    def get(self, key: str) -> Backfill:
        """Raises NotFound."""
        with reading(self.engine) as connection:
            row = connection.execute(select(backfills).where(backfills.c.id == key)).one_or_none()
        if row is None:
            raise NotFound("backfill", key)
        return Backfill(*row)

    def in_states(self, states: Collection[BackfillState]) -> list[Backfill]:
        """In the order of their commits; those without one behind, in the order in which they were opened."""
        query = select(backfills).where(backfills.c.state.in_(states))
        with reading(self.engine) as connection:
            found = [Backfill(*row) for row in connection.execute(query)]
        return sorted(found, key=lambda b: (b.number is None, b.number or 0, b.opened_at, b.id))

    def committed_at(self, instant: datetime) -> list[Backfill]:
        """Those that counted at `instant`, in the order of their commits."""
        counted = select(backfills).where(
            backfills.c.committed_at <= instant, or_(backfills.c.ended_at.is_(None), backfills.c.ended_at > instant)
        )
        with reading(self.engine) as connection:
            return [Backfill(*row) for row in connection.execute(counted.order_by(backfills.c.number))]

    def page(self, *, state: BackfillState | None, after: str | None, limit: int) -> list[Backfill]:
        """From the newest to the oldest, those behind backfill `after`; of one state if given."""
        order = tuple_(backfills.c.opened_at, backfills.c.id)
        query = select(backfills).order_by(backfills.c.opened_at.desc(), backfills.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(backfills.c.state == state)
        if after is not None:
            last = self.get(after)
            query = query.where(order < tuple_(last.opened_at, last.id))
        with reading(self.engine) as connection:
            return [Backfill(*row) for row in connection.execute(query)]

    def next_number(self) -> int:
        """The number of the next commit: above all that there ever were."""
        with reading(self.engine) as connection:
            newest = connection.execute(select(func.max(backfills.c.number))).scalar_one()
        return (newest or 0) + 1

    def _move(self, key: str, before: BackfillState, **changes: Any) -> None:
        fitting = update(backfills).where(backfills.c.id == key, backfills.c.state == before)
        with writing(self.engine) as connection:
            changed = connection.execute(fitting.values(changes)).rowcount
        assert changed == 1, f"backfill {key} is not {before}"
