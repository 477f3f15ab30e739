"""Recording what was raised: a signal and all that comes with it in one transaction, each once.

A signal that is there already was raised before: nothing that comes with it is done again. So finding the same
crossings after a restart reopens no level, and suspends nobody whom a person has let go on since.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine, delete, insert, select

from rating.core.quota.seam import CustomerState, LevelName
from store.customer_states import Because, Obey, begin_states, end_states, states_in_force, states_of_account
from store.database import reading, upsert, writing
from store.quota_tables import level_arms, open_levels
from store.signals import SIGNAL_COLUMNS, RecordedSignal, Signal, insert_signals, unknown_signals
from store.tables import signals


class Account(NamedTuple):
    """Whose quota of what."""

    scope: str
    owner: str
    feature: str


@dataclass(frozen=True)
class OpenLevel:
    """A level that was raised: it goes again when the quota is restored, or silently with its window."""

    key: str
    kind: str
    window_end: datetime | None


@dataclass(frozen=True)
class Restored:
    """There is room again: the levels of the account are closed, and the states that they led to end. With `kind` only
    those of that kind. `again` are the levels that are another crossing when they are reached again in their window."""

    account: Account
    because: Because
    kind: str | None = None
    again: tuple[LevelName, ...] = ()
    window_end: datetime | None = None


@dataclass(frozen=True)
class Raised:
    """A signal and what comes with it."""

    signal: Signal
    opens: OpenLevel | None = None
    restores: Restored | None = None
    begins: tuple[CustomerState, ...] = ()


@dataclass(frozen=True)
class OutboxRecords:
    engine: Engine

    def record(self, raised: Sequence[Raised], now: datetime, obey: Obey) -> None:
        """Record those that are not there yet, in their order; `obey` is told of states where one begins or ends."""
        by_id = {each.signal.id: each for each in reversed(raised)}
        with writing(self.engine) as connection:
            new = [by_id[signal.id] for signal in unknown_signals(connection, [each.signal for each in raised])]
            told, count = list[Signal](), 0
            for each in new:
                if each.restores is not None:  # what it ends may have begun by one of these
                    insert_signals(connection, told)
                    told.clear()
                more = _consequences(connection, each, now)
                told += [each.signal, *more]
                count += len(more)
            insert_signals(connection, told)
            if count:
                obey(states_in_force(connection))

    def open_levels(self, now: datetime) -> list[RecordedSignal]:
        """The signals of levels that were raised and not restored, the oldest first; those that went with their window
        are forgotten."""
        over = open_levels.c.kind.not_in(_TOLD) & (open_levels.c.window_end <= now)
        gone = open_levels.c.signal.not_in(select(signals.c.id))
        with writing(self.engine) as connection:
            connection.execute(delete(open_levels).where(over | gone))
        query = select(*SIGNAL_COLUMNS).join(open_levels, open_levels.c.signal == signals.c.id)
        with reading(self.engine) as connection:
            return [RecordedSignal(**row) for row in connection.execute(query.order_by(signals.c.sequence)).mappings()]

    def arms(self, now: datetime) -> dict[LevelName, int]:
        """How often levels were restored in windows that are not over; those of others are forgotten."""
        with writing(self.engine) as connection:
            connection.execute(delete(level_arms).where(level_arms.c.window_end <= now))
        with reading(self.engine) as connection:
            return {
                LevelName(row.scope, row.owner, row.feature, _instant(row.window), row.level): row.arm
                for row in connection.execute(select(level_arms))
            }


_TOLD = ("exhausted", "negative")
"""The kinds of levels whose end is told."""


def _consequences(connection: Connection, raised: Raised, now: datetime) -> list[Signal]:
    """Do what comes with a signal; the signals of that."""
    signal, found = raised.signal, []
    if raised.opens is not None:
        of_signal = {"customer": signal.customer, "signal": signal.id}
        account = {name: getattr(signal, name) for name in Account._fields}
        connection.execute(insert(open_levels).values(**vars(raised.opens), **of_signal, **account))
    if raised.restores is not None:
        account = raised.restores.account._asdict()
        kind = raised.restores.kind
        closed = [open_levels.c[name] == value for name, value in account.items()]
        closed += [] if kind is None else [open_levels.c.kind == kind]
        connection.execute(delete(open_levels).where(*closed))
        for name in raised.restores.again:
            _rearm(connection, name, raised.restores.window_end)
        of_type = None if kind is None else f"quota.{kind}"
        ending = states_of_account(connection, **account, of_type=of_type)
        found += end_states(connection, ending, now, raised.restores.because)
    return [*found, *begin_states(connection, raised.begins, now)]


def _rearm(connection: Connection, name: LevelName, window_end: datetime | None) -> None:
    window = "" if name.window_start is None else name.window_start.isoformat()
    key = {"scope": name.scope, "owner": name.owner, "feature": name.feature, "window": window, "level": name.level}
    is_it = [level_arms.c[column] == value for column, value in key.items()]
    arm = connection.scalar(select(level_arms.c.arm).where(*is_it)) or 0
    upsert(connection, level_arms, [{**key, "arm": arm + 1, "window_end": window_end}])


def _instant(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
