"""The outbox of signals: recorded once per crossing, read in order by a sequence that never goes back."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from store.database import chunks, insert_new, reading, writing
from store.quota_tables import signal_cursors
from store.tables import signals


@dataclass(frozen=True)
class Signal:
    """Something that happened to a customer. `id` is derived from what happened: the same crossing, the same id. Of a
    quota, `scope` and `owner` are whose."""

    id: str
    type: str
    customer: str
    raised_at: datetime
    data: dict[str, Any]
    feature: str | None = None
    scope: str | None = None
    owner: str | None = None


@dataclass(frozen=True, kw_only=True)
class RecordedSignal(Signal):
    sequence: int


@dataclass(frozen=True)
class Selection:
    """Which signals: of these types and customers; empty is all."""

    types: Collection[str] = ()
    customers: Collection[str] = ()

    def holds(self, type: str, customer: str) -> bool:
        """Whether a signal is among them."""
        return (not self.types or type in self.types) and (not self.customers or customer in self.customers)


ALL = Selection()


@dataclass(frozen=True)
class Signals:
    engine: Engine

    def after(self, sequence: int, *, limit: int, selected: Selection = ALL) -> list[RecordedSignal]:
        """The selected signals behind `sequence` (0: from the first), oldest first."""
        query = select(*SIGNAL_COLUMNS).where(signals.c.sequence > sequence).order_by(signals.c.sequence).limit(limit)
        if selected.types:
            query = query.where(signals.c.type.in_(selected.types))
        if selected.customers:
            query = query.where(signals.c.customer.in_(selected.customers))
        with reading(self.engine) as connection:
            return [RecordedSignal(**row) for row in connection.execute(query).mappings()]

    def numbered(self, sequences: Sequence[int]) -> list[RecordedSignal]:
        """The signals with these sequences, oldest first."""
        query = select(*SIGNAL_COLUMNS).where(signals.c.sequence.in_(sequences)).order_by(signals.c.sequence)
        with reading(self.engine) as connection:
            return [RecordedSignal(**row) for row in connection.execute(query).mappings()]

    def cursor(self, name: str) -> int:
        """How far signals were passed on by a way out; one that is new begins behind the newest."""
        with writing(self.engine) as connection:
            found = connection.scalar(select(signal_cursors.c.cursor).where(signal_cursors.c.name == name))
            if found is None:
                found = connection.scalar(select(func.max(signals.c.sequence))) or 0
                connection.execute(insert(signal_cursors).values(name=name, cursor=found))
        return found

    def passed_on(self, name: str, cursor: int) -> None:
        """Note how far."""
        with writing(self.engine) as connection:
            connection.execute(update(signal_cursors).where(signal_cursors.c.name == name).values(cursor=cursor))

    def last_sequence(self) -> int:
        with reading(self.engine) as connection:
            return connection.scalar(select(func.max(signals.c.sequence))) or 0


SIGNAL_COLUMNS = [signals.c[field.name] for field in fields(RecordedSignal)]


def insert_signals(connection: Connection, given: Sequence[Signal]) -> None:
    """Append those that are not there yet, in this transaction."""
    insert_new(connection, signals, [vars(signal) for signal in given], unique="id")


def unknown_signals(connection: Connection, given: Sequence[Signal]) -> Iterator[Signal]:
    """Those that are not there yet, each once."""
    ids = [signal.id for signal in given]
    queries = (select(signals.c.id).where(signals.c.id.in_(some)) for some in chunks(ids))
    known = {found for query in queries for found in connection.scalars(query)}
    for signal in given:
        if signal.id not in known:
            known.add(signal.id)
            yield signal
