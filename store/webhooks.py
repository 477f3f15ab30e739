"""Webhook endpoints, and how far each signal is on its way to each of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Select, and_, delete, func, insert, select, update

from store.changes import Now
from store.database import reading, upsert, writing
from store.errors import NotFound, Refused
from store.quota_tables import webhook_attempts, webhook_deliveries, webhook_endpoints
from store.signals import ALL, Selection
from store.tables import signals

ENDPOINTS_MAX = 100
ATTEMPTS_KEPT = 100_000
_TRIMMED = 1_000  # so many more are kept before the oldest go
_LOOKED_AT = 10_000  # signals that one transaction turns into deliveries

EndpointState = Literal["active", "paused", "disabled"]
DeliveryState = Literal["waiting", "delivered", "dead"]


@dataclass(frozen=True)
class Endpoint:
    """Where signals go. Signals up to sequence `cursor` have become deliveries. `secret_before` signs too, until its
    instant, while a receiver changes over to `secret`."""

    id: str
    url: str
    types: tuple[str, ...]
    customers: tuple[str, ...]
    secret: str
    secret_before: str | None
    secret_before_until: datetime | None
    state: EndpointState
    reason: str | None
    cursor: int
    created_at: datetime

    @property
    def selected(self) -> Selection:
        return Selection(self.types, self.customers)

    def secrets(self, now: datetime) -> list[str]:
        """Those that sign at `now`, the newest first."""
        has_two = self.secret_before_until is not None and now < self.secret_before_until
        return [self.secret, self.secret_before] if has_two and self.secret_before is not None else [self.secret]


@dataclass(frozen=True)
class Delivery:
    """One signal (its sequence) on its way to one endpoint."""

    endpoint: str
    signal: int
    customer: str
    state: DeliveryState
    attempts: int
    next_at: datetime | None
    last_status: int | None
    last_error: str | None
    delivered_at: datetime | None


@dataclass(frozen=True)
class Attempt:
    """One try. `status` is what the receiver answered, null where it did not; then `error` says why."""

    endpoint: str
    signal: int
    at: datetime
    status: int | None
    error: str | None
    milliseconds: int


@dataclass(frozen=True)
class Standing:
    """How many signals wait for an endpoint as deliveries, how many behind its cursor, and how many were given up; when
    the oldest that waits was raised."""

    endpoint: str
    state: EndpointState
    waiting: int
    dead: int
    behind: int
    oldest_at: datetime | None = None


@dataclass(frozen=True)
class FannedOut:
    """New deliveries of an endpoint, in order, and how far its cursor is now."""

    deliveries: list[Delivery]
    cursor: int


@dataclass(frozen=True)
class Replayed:
    """How many deliveries were made again, and the sequence to go on from where there was no room for all."""

    replayed: int
    next: int | None


@dataclass(frozen=True)
class Webhooks:
    engine: Engine
    now: Now

    def add(self, endpoint: Endpoint) -> None:
        """Raises Refused when there are as many as may be."""
        with writing(self.engine) as connection:
            if (connection.scalar(select(func.count()).select_from(webhook_endpoints)) or 0) >= ENDPOINTS_MAX:
                raise Refused([f"there are {ENDPOINTS_MAX} webhook endpoints; delete one that is not needed"])
            newest = connection.scalar(select(func.max(signals.c.sequence))) or 0
            connection.execute(insert(webhook_endpoints).values(**{**_values(endpoint), "cursor": newest}))

    def get(self, key: str) -> Endpoint:
        """Raises NotFound."""
        with reading(self.engine) as connection:
            return _get(connection, key)

    def all(self) -> list[Endpoint]:
        """By id; there are ENDPOINTS_MAX at most."""
        with reading(self.engine) as connection:
            return [_endpoint(row) for row in connection.execute(_endpoints().order_by(webhook_endpoints.c.id))]

    def change(self, key: str, **values: Any) -> Endpoint:
        """Set some columns of an endpoint. Raises NotFound."""
        known = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        with writing(self.engine) as connection:
            changed = replace(_get(connection, key), **values)
            if known:
                connection.execute(update(webhook_endpoints).where(webhook_endpoints.c.id == key).values(**known))
        return changed

    def remove(self, key: str) -> None:
        """With what was on its way, and the log of it. Raises NotFound."""
        with writing(self.engine) as connection:
            _get(connection, key)
            for table in (webhook_attempts, webhook_deliveries):
                connection.execute(delete(table).where(table.c.endpoint == key))
            connection.execute(delete(webhook_endpoints).where(webhook_endpoints.c.id == key))

    def fan_out(self, rooms: Mapping[str, int]) -> dict[str, FannedOut]:
        """Turn signals behind the cursors of endpoints into deliveries, for each no more than its room; all in one
        transaction. Endpoints that are gone or not active are left out."""
        with writing(self.engine) as connection:
            found = ((key, _find(connection, key), room) for key, room in rooms.items())
            return {
                key: _fan_out(connection, endpoint, room, self.now())
                for key, endpoint, room in found
                if endpoint is not None and endpoint.state == "active"
            }

    def waiting(self, key: str) -> list[Delivery]:
        """What is on its way to an endpoint, oldest first."""
        with reading(self.engine) as connection:
            return _deliveries(connection, _of(key, "waiting").order_by(webhook_deliveries.c.signal))

    def deliveries(self, key: str, state: str | None, *, after: int, limit: int) -> list[Delivery]:
        """Deliveries to an endpoint behind sequence `after`. Raises NotFound."""
        query = _of(key, state).where(webhook_deliveries.c.signal > after)
        with reading(self.engine) as connection:
            _get(connection, key)
            return _deliveries(connection, query.order_by(webhook_deliveries.c.signal).limit(limit))

    def attempts(self, key: str, sequences: Collection[int]) -> list[Attempt]:
        """The tries of deliveries that are still in the log, oldest first."""
        columns = [webhook_attempts.c[field.name] for field in fields(Attempt)]
        query = select(*columns).where(webhook_attempts.c.endpoint == key, webhook_attempts.c.signal.in_(sequences))
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(webhook_attempts.c.sequence)).mappings()
            return [Attempt(**row) for row in rows]

    def mark(self, deliveries: Sequence[Delivery], attempts: Sequence[Attempt]) -> None:
        """Note what became of deliveries, all in one transaction: of one that is there twice, the last. Those of
        endpoints that are gone are left out."""
        last = {(each.endpoint, each.signal): each for each in deliveries}
        with writing(self.engine) as connection:
            there = set(connection.scalars(select(webhook_endpoints.c.id)))
            upsert(connection, webhook_deliveries, [vars(each) for each in last.values() if each.endpoint in there])
            tried = [vars(attempt) for attempt in attempts if attempt.endpoint in there]
            if tried:
                connection.execute(insert(webhook_attempts), tried)
                _trim(connection)

    def disable(self, key: str, reason: str) -> None:
        """Send nothing more to an endpoint until somebody makes it active again; what waits goes on waiting."""
        with writing(self.engine) as connection:
            at = update(webhook_endpoints).where(webhook_endpoints.c.id == key)
            connection.execute(at.values(state="disabled", reason=reason))

    def replay(self, key: str, after: int, until: int | None, waiting_max: int) -> Replayed:
        """Deliver the signals of an endpoint in (`after`, `until`] again, also those of before it was there. Raises
        NotFound."""
        with writing(self.engine) as connection:
            endpoint = _get(connection, key)
            last = endpoint.cursor if until is None else min(until, endpoint.cursor)
            room = max(waiting_max - _count(connection, key, "waiting"), 0)
            found = [row for row in _signals_behind(connection, after, room + 1, endpoint.selected) if row[0] <= last]
            made = [_new(key, sequence, customer, self.now()) for sequence, _, customer in found[:room]]
            upsert(connection, webhook_deliveries, [vars(delivery) for delivery in made])
        return Replayed(len(made), (made[-1].signal if made else after) if len(found) > room else None)

    def replay_dead(self, key: str, waiting_max: int) -> Replayed:
        """Try again what was given up, oldest first. Raises NotFound."""
        with writing(self.engine) as connection:
            _get(connection, key)
            room = max(waiting_max - _count(connection, key, "waiting"), 0)
            query = _of(key, "dead").order_by(webhook_deliveries.c.signal).limit(room + 1)
            found = _deliveries(connection, query)
            made = [_new(key, delivery.signal, delivery.customer, self.now()) for delivery in found[:room]]
            upsert(connection, webhook_deliveries, [vars(delivery) for delivery in made])
        return Replayed(len(made), (made[-1].signal if made else 0) if len(found) > room else None)

    def standing(self) -> list[Standing]:
        """How far each endpoint is, by id."""
        counts = select(webhook_deliveries.c.endpoint, webhook_deliveries.c.state, func.count())
        counts = counts.where(webhook_deliveries.c.state.in_(("waiting", "dead")))
        endpoint = webhook_endpoints.c
        behind = select(func.count()).select_from(signals).where(signals.c.sequence > endpoint.cursor).scalar_subquery()
        since = select(func.min(signals.c.raised_at)).where(signals.c.sequence > endpoint.cursor).scalar_subquery()
        oldest = select(webhook_deliveries.c.endpoint, func.min(signals.c.raised_at).label("raised_at"))
        oldest = oldest.join(signals, signals.c.sequence == webhook_deliveries.c.signal)
        oldest = oldest.where(webhook_deliveries.c.state == "waiting").group_by(webhook_deliveries.c.endpoint)
        query = select(endpoint.id, endpoint.state, behind, since).order_by(endpoint.id)
        with reading(self.engine) as connection:
            grouped = connection.execute(counts.group_by(webhook_deliveries.c.endpoint, webhook_deliveries.c.state))
            of = {(key, state): count for key, state, count in grouped}
            raised = {row.endpoint: row.raised_at for row in connection.execute(oldest)}
            return [
                Standing(key, state, of.get((key, "waiting"), 0), of.get((key, "dead"), 0), count, raised.get(key, at))
                for key, state, count, at in connection.execute(query)
            ]


def _values(endpoint: Endpoint) -> dict[str, Any]:
    return {**vars(endpoint), "types": list(endpoint.types), "customers": list(endpoint.customers)}


def _endpoints() -> Select[Any]:
    return select(*(webhook_endpoints.c[field.name] for field in fields(Endpoint)))


def _endpoint(row: Any) -> Endpoint:
    return Endpoint(**{**row._mapping, "types": tuple(row.types), "customers": tuple(row.customers)})


def _find(connection: Connection, key: str) -> Endpoint | None:
    row = connection.execute(_endpoints().where(webhook_endpoints.c.id == key)).one_or_none()
    return None if row is None else _endpoint(row)


def _get(connection: Connection, key: str) -> Endpoint:
    found = _find(connection, key)
    if found is None:
        raise NotFound("webhook endpoint", key)
    return found


def _new(endpoint: str, sequence: int, customer: str, now: datetime) -> Delivery:
    return Delivery(endpoint, sequence, customer, "waiting", 0, now, None, None, None)


def _of(endpoint: str, state: str | None) -> Select[Any]:
    columns = [webhook_deliveries.c[field.name] for field in fields(Delivery)]
    query = select(*columns).where(webhook_deliveries.c.endpoint == endpoint)
    return query if state is None else query.where(webhook_deliveries.c.state == state)


def _fan_out(connection: Connection, endpoint: Endpoint, room: int, now: datetime) -> FannedOut:
    found = _signals_behind(connection, endpoint.cursor, min(room, _LOOKED_AT))
    if not found:
        return FannedOut([], endpoint.cursor)
    chosen = [(number, customer) for number, type, customer in found if endpoint.selected.holds(type, customer)]
    made = [_new(endpoint.id, number, customer, now) for number, customer in chosen]
    cursor = found[-1][0]
    connection.execute(update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint.id).values(cursor=cursor))
    if made:
        connection.execute(insert(webhook_deliveries), [vars(delivery) for delivery in made])
    return FannedOut(made, cursor)


def _deliveries(connection: Connection, query: Select[Any]) -> list[Delivery]:
    return [Delivery(**row) for row in connection.execute(query).mappings()]


def _count(connection: Connection, endpoint: str, state: DeliveryState) -> int:
    is_one = and_(webhook_deliveries.c.endpoint == endpoint, webhook_deliveries.c.state == state)
    return connection.scalar(select(func.count()).select_from(webhook_deliveries).where(is_one)) or 0


def _signals_behind(
    connection: Connection, sequence: int, limit: int, selected: Selection = ALL
) -> list[tuple[int, str, str]]:
    """Sequence, type and customer of signals, oldest first."""
    query = select(signals.c.sequence, signals.c.type, signals.c.customer).where(signals.c.sequence > sequence)
    if selected.types:
        query = query.where(signals.c.type.in_(selected.types))
    if selected.customers:
        query = query.where(signals.c.customer.in_(selected.customers))
    return [tuple(row) for row in connection.execute(query.order_by(signals.c.sequence).limit(limit))]


def _trim(connection: Connection) -> None:
    """Keep the newest attempts."""
    newest, oldest = connection.execute(
        select(func.max(webhook_attempts.c.sequence), func.min(webhook_attempts.c.sequence))
    ).one()
    if newest - oldest >= ATTEMPTS_KEPT + _TRIMMED:
        connection.execute(delete(webhook_attempts).where(webhook_attempts.c.sequence <= newest - ATTEMPTS_KEPT))
