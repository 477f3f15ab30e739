"""The outbox of signals: recorded once per crossing, read in order by a sequence that never goes back."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select

from store.database import insert_new, reading, writing
from store.tables import signals


@dataclass(frozen=True)
class Signal:
    """Something that happened to a customer. `id` is derived from what crossed: the same crossing, the same id."""

    id: str
    type: str
    customer: str
    raised_at: datetime
    data: dict[str, Any]


@dataclass(frozen=True)
class RecordedSignal(Signal):
    sequence: int


@dataclass(frozen=True)
class Signals:
    engine: Engine

    def record(self, given: Sequence[Signal]) -> None:
        """Append those that are not there yet; recording a signal again changes nothing."""
        with writing(self.engine) as connection:
            insert_new(connection, signals, [vars(signal) for signal in given], unique="id")

    def after(self, sequence: int, *, limit: int) -> list[RecordedSignal]:
        """The signals behind `sequence` (0: from the first), oldest first."""
        columns = [signals.c[field.name] for field in fields(RecordedSignal)]
        query = select(*columns).where(signals.c.sequence > sequence).order_by(signals.c.sequence).limit(limit)
        with reading(self.engine) as connection:
            return [RecordedSignal(**row) for row in connection.execute(query).mappings()]

    def last_sequence(self) -> int:
        with reading(self.engine) as connection:
            return connection.scalar(select(func.max(signals.c.sequence))) or 0
