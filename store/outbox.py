"""Recording what was raised: a signal and all that comes with it in one transaction, each once.

A signal that is there already was raised before: nothing that comes with it is done again. So finding the same
crossings after a restart reopens no level, and suspends nobody whom a person has let go on since.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine, delete, insert, select

from rating.core.quota.seam import CustomerState
from store.customer_states import Because, Obey, begin_states, end_states, states_in_force, states_of_account
from store.database import reading, writing
from store.quota_tables import open_levels
from store.signals import Signal, insert_signals, unknown_signals


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
    """There is room again: the levels of the account are closed, and the states that they led to end."""

    account: Account
    because: Because


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

    def open_levels(self, now: datetime) -> list[str]:
        """The keys of levels that were raised and not restored; those that went with their window are forgotten."""
        over = delete(open_levels).where(open_levels.c.kind != "exhausted", open_levels.c.window_end <= now)
        with writing(self.engine) as connection:
            connection.execute(over)
        with reading(self.engine) as connection:
            return list(connection.scalars(select(open_levels.c.key).order_by(open_levels.c.key)))


def _consequences(connection: Connection, raised: Raised, now: datetime) -> list[Signal]:
    """Do what comes with a signal; the signals of that."""
    signal, found = raised.signal, []
    if raised.opens is not None:
        of_signal = {"customer": signal.customer, "signal": signal.id}
        account = {name: getattr(signal, name) for name in Account._fields}
        connection.execute(insert(open_levels).values(**vars(raised.opens), **of_signal, **account))
    if raised.restores is not None:
        account = raised.restores.account._asdict()
        connection.execute(delete(open_levels).where(*(open_levels.c[name] == v for name, v in account.items())))
        found += end_states(connection, states_of_account(connection, **account), now, raised.restores.because)
    return [*found, *begin_states(connection, raised.begins, now)]
