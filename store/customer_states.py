"""States of customers that checks obey: suspended, restricted, overage; begun by a policy or by a person, and why.

Beginning and ending one is a signal too, in the same transaction: whoever reads the outbox knows every state.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Select, insert, select, update

from rating.core.money import plain
from rating.core.quota.seam import CustomerState
from store.changes import Now, record_change
from store.database import reading, writing
from store.errors import IdTaken, NotFound
from store.quota_tables import customer_states
from store.signals import Signal, insert_signals
from store.tables import customers, signals

Because = Literal["until", "asked", "reset", "top_up", "plan_change", "correction"]
"""Why a state has ended: its time was over, somebody asked for it, or what had led to it is over."""


@dataclass(frozen=True)
class RecordedState(CustomerState):
    """A state with its end."""

    ended_at: datetime | None = None
    ended_because: str | None = None


Obey = Callable[[Sequence[CustomerState]], None]
"""Let checks obey these states, all that are in force. It is called before they are committed, so that who reads of a
state finds it obeyed; where the commit fails, those in force before are to be obeyed again."""


@dataclass(frozen=True)
class CustomerStates:
    engine: Engine
    now: Now

    def begin(self, state: CustomerState, obey: Obey) -> RecordedState:
        """Record a state that somebody asked for; the same again is answered as it is. Raises NotFound and IdTaken."""
        with writing(self.engine) as connection:
            found = _get(connection, state.id)
            if found is None:
                if connection.scalar(select(customers.c.key).where(customers.c.key == state.customer)) is None:
                    raise NotFound("customer", state.customer)
                insert_signals(connection, begin_states(connection, [state], self.now()))
                obey(states_in_force(connection))
                return RecordedState(**_values(state))
        if _asked(found) != _asked(state):
            raise IdTaken([f"state {state.id!r} is there already, and is another one; take another id"])
        return found

    def end(self, customer: str, key: str, obey: Obey) -> RecordedState:
        """End a state because somebody asks for it; one that has ended stays as it is. Raises NotFound."""
        with writing(self.engine) as connection:
            found = _get(connection, key)
            if found is None or found.customer != customer:
                raise NotFound(f"state of customer {customer!r} called", key)
            if found.ended_at is None:
                insert_signals(connection, end_states(connection, [found], self.now(), "asked"))
                obey(states_in_force(connection))
        return self.get(key)

    def end_due(self, obey: Obey) -> int:
        """End the states whose time is over: how many."""
        due = _in_force().where(customer_states.c.until <= self.now())
        with reading(self.engine) as connection:
            if connection.execute(due.limit(1)).one_or_none() is None:
                return 0
        with writing(self.engine) as connection:
            found = _states(connection, due)
            insert_signals(connection, end_states(connection, found, self.now(), "until"))
            obey(states_in_force(connection))
        return len(found)

    def get(self, key: str) -> RecordedState:
        """Raises NotFound."""
        with reading(self.engine) as connection:
            found = _get(connection, key)
        if found is None:
            raise NotFound("state", key)
        return found

    def in_force(self) -> list[RecordedState]:
        """The states of all customers that have not ended, the newest first."""
        with reading(self.engine) as connection:
            return states_in_force(connection)

    def of_customer(self, customer: str, *, after: str | None, limit: int) -> list[RecordedState]:
        """The states of a customer by id, also those that have ended. Raises NotFound."""
        query = _select().where(customer_states.c.customer == customer).order_by(customer_states.c.id).limit(limit)
        if after is not None:
            query = query.where(customer_states.c.id > after)
        with reading(self.engine) as connection:
            if connection.scalar(select(customers.c.key).where(customers.c.key == customer)) is None:
                raise NotFound("customer", customer)
            return _states(connection, query)


def begin_states(connection: Connection, states: Sequence[CustomerState], now: datetime) -> list[Signal]:
    """Record states in this transaction: the signals that say so, to be inserted."""
    if not states:
        return []
    change = record_change(connection, now)
    rows = [{**_values(state), "features": list(state.features), "change": change} for state in states]
    connection.execute(insert(customer_states), rows)
    return [_signal(_BEGUN[state.state], state, now, {}) for state in states]


def end_states(
    connection: Connection, states: Sequence[RecordedState], now: datetime, because: Because
) -> list[Signal]:
    """End states in this transaction: the signals that say so, to be inserted."""
    if not states:
        return []
    change = record_change(connection, now)
    ended = update(customer_states).where(customer_states.c.id.in_([state.id for state in states]))
    connection.execute(ended.values(ended_at=now, ended_because=because, change=change))
    return [_signal("customer.resumed", state, now, {"because": because}) for state in states]


def states_in_force(connection: Connection) -> list[RecordedState]:
    """The states of all customers that have not ended, the newest first."""
    return _states(connection, _in_force().order_by(customer_states.c.since.desc(), customer_states.c.id))


def states_of_account(
    connection: Connection, scope: str, owner: str, feature: str, of_type: str | None = None
) -> list[RecordedState]:
    """The states in force that a signal of this quota (and type) led to, and that last until it is restored."""
    led = select(signals.c.id).where(signals.c.scope == scope, signals.c.owner == owner, signals.c.feature == feature)
    if of_type is not None:
        led = led.where(signals.c.type == of_type)
    ends = customer_states.c.until.is_not(None)
    return _states(connection, _in_force().where(customer_states.c.signal.in_(led), ends))


_BEGUN = {"suspended": "customer.suspended", "restricted": "customer.restricted", "overage": "customer.overage"}
_COLUMNS = [customer_states.c[field.name] for field in fields(RecordedState)]


def _signal(type: str, state: CustomerState, now: datetime, more: dict[str, Any]) -> Signal:
    key = hashlib.sha256(json.dumps([type, state.id]).encode()).hexdigest()[:32]
    data = {
        "state": state.state,
        "state_id": state.id,
        "features": list(state.features),
        "plan": state.plan,
        "amount": None if state.amount is None else plain(state.amount),
        "reason": state.reason,
        "since": state.since.isoformat(),
        "until": None if state.until is None else state.until.isoformat(),
        "signal": state.signal,
        **more,
    }
    return Signal(f"sig_{key}", type, state.customer, now, data)


def _values(state: CustomerState) -> dict[str, Any]:
    return {field.name: getattr(state, field.name) for field in fields(CustomerState)}


def _asked(state: CustomerState) -> dict[str, Any]:
    return {name: value for name, value in _values(state).items() if name != "since"}


def _select() -> Select[Any]:
    return select(*_COLUMNS)


def _in_force() -> Select[Any]:
    return _select().where(customer_states.c.ended_at.is_(None))


def _get(connection: Connection, key: str) -> RecordedState | None:
    return next(iter(_states(connection, _select().where(customer_states.c.id == key))), None)


def _states(connection: Connection, query: Select[Any]) -> list[RecordedState]:
    rows: Iterable[Any] = connection.execute(query).mappings()
    return [RecordedState(**{**row, "features": tuple(row["features"])}) for row in rows]
