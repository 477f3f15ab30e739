"""Prepaid credits of customers: what was granted, voided and refunded. What plans grant is in the catalog."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, Row, Table, insert, select, update

from rating.core.credits.schema import GRANT, RETURN
from rating.core.schema import AMOUNT
from store.changes import Now, record_change, versions_at
from store.database import reading, writing
from store.errors import CreditVoided, IdTaken, NotFound
from store.tables import credit_grants, credit_refunds, customer_versions, customers


@dataclass(frozen=True)
class Grant:
    """One grant as it was recorded. `meters` and `prices` are its scope, empty for all; prices may end in `*`.
    `features` were asked for, and their meters are among `meters`; `given` is the whole of what was asked for."""

    id: str
    customer: str
    subscription: str | None
    kind: str
    unit: str
    amount: Decimal
    priority: int
    created_at: datetime
    effective_at: datetime
    expires_at: datetime | None
    voided_at: datetime | None
    features: Sequence[str]
    meters: Sequence[str]
    prices: Sequence[str]
    increment: Decimal | None
    factor: Decimal | None
    recurs_every: str | None
    recurs_from: datetime | None
    rollover_minimum: Decimal | None
    rollover_maximum: Decimal | None
    cost_basis: Decimal | None
    given: dict[str, Any]


@dataclass(frozen=True)
class RefundPart:
    """What one grant gets back: `amount`, for `covered` of what was paid; of `event` (a sequence) where units paid."""

    grant: str
    event: int | None
    amount: Decimal
    covered: Decimal


@dataclass(frozen=True)
class Refund:
    """`amount` is what of the line is refunded, `run` the run whose ledger said who had paid."""

    id: str
    customer: str
    line: str
    unit: str
    amount: Decimal
    run: str
    refunded_at: datetime
    parts: Sequence[RefundPart]
    given: dict[str, Any]


@dataclass(frozen=True)
class CreditRecords:
    engine: Engine
    now: Now

    def add(self, grant: Grant) -> Grant:
        """Record a grant; one that is there already with the same `given` is answered as it is. Raises IdTaken."""
        with writing(self.engine) as connection:
            row = connection.execute(select(credit_grants).where(credit_grants.c.id == grant.id)).one_or_none()
            if row is None:
                change = record_change(connection, self.now())
                connection.execute(insert(credit_grants).values(change=change, **_texts(vars(grant))))
                return grant
        found = _grant(row)
        if (found.customer, found.given) != (grant.customer, grant.given):
            raise IdTaken([f"grant {grant.id!r} is there already, and is another one; take another id"])
        return found

    def void(self, key: str, *, at: datetime, is_asked: bool) -> Grant:
        """Take what is left of a grant at `at`. A grant that is voided stays as it is; raises CreditVoided when another
        instant is asked for explicitly, and NotFound."""
        with writing(self.engine) as connection:
            found = self._get(connection, key)
            if found.voided_at is None:
                change = record_change(connection, self.now())
                voided = update(credit_grants).where(credit_grants.c.id == key)
                connection.execute(voided.values(voided_at=at, void_change=change))
                return self._get(connection, key)
        if is_asked and found.voided_at != at:
            raise CreditVoided([f"grant {key!r} was voided at {found.voided_at.isoformat()} already"])
        return found

    def get(self, key: str) -> Grant:
        """Raises NotFound."""
        with reading(self.engine) as connection:
            return self._get(connection, key)

    def of_customer(self, customer: str) -> list[Grant]:
        """The grants recorded for a customer, by id."""
        query = select(credit_grants).where(credit_grants.c.customer == customer).order_by(credit_grants.c.id)
        with reading(self.engine) as connection:
            return [_grant(row) for row in connection.execute(query)]

    def grants_frame(
        self, prices: Collection[str], change: int | None = None, of: Collection[str] | None = None
    ) -> pl.DataFrame:
        """GRANT of all grants, by id; as of now, or of `change`; `of` a few customers if given. `prices` are those that
        there are: the patterns of the scopes mean some of them."""
        query = _of(select(credit_grants).order_by(credit_grants.c.id), credit_grants, of)
        if change is not None:
            query = query.where(credit_grants.c.change <= change)
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        if not rows:
            return GRANT.to_frame()
        meant: dict[tuple[str, ...], list[str] | None] = {(): None}
        for patterns in {tuple(row.prices) for row in rows} - {()}:
            meant[patterns] = sorted({p for pattern in patterns for p in prices if means(pattern, p)})
        found = [
            {
                **row._mapping,
                "grant": row.id,
                "meters": row.meters or None,
                "prices": meant[tuple(row.prices)],
                "voided_at": row.voided_at if change is None or (row.void_change or 0) <= change else None,
            }
            for row in rows
        ]
        return _frame(found, GRANT)

    def owners_frame(self, change: int | None = None, of: Collection[str] | None = None) -> pl.DataFrame:
        """`customer` and `time_zone` of each customer with grants; as of now, or of `change`; `of` a few customers if
        given."""
        known = customers if change is None else versions_at(customer_versions, change)
        query = select(known.c.key, known.c.time_zone).join(credit_grants, credit_grants.c.customer == known.c.key)
        query = _of(query, credit_grants, of)
        if change is not None:
            query = query.where(credit_grants.c.change <= change)
        with reading(self.engine) as connection:
            rows = [tuple(row) for row in connection.execute(query.distinct().order_by(known.c.key))]
        return pl.DataFrame(rows, schema={"customer": pl.String, "time_zone": pl.String}, orient="row")

    def add_refund(self, refund: Refund) -> Refund:
        """Record a refund; one that is there already with the same `given` is answered as it is. Raises IdTaken."""
        with writing(self.engine) as connection:
            known = self._refund(connection, refund.id)
            if known is None:
                values = {**_texts(vars(refund)), "parts": [_texts(vars(part)) for part in refund.parts]}
                change = record_change(connection, self.now())
                connection.execute(insert(credit_refunds).values(change=change, **values))
                return refund
        return _same(known, refund.given)

    def refund(self, key: str, given: dict[str, Any]) -> Refund | None:
        """The refund with this id, if there is one. Raises IdTaken when something else was asked for then."""
        with reading(self.engine) as connection:
            known = self._refund(connection, key)
        return None if known is None else _same(known, given)

    def refunds_of_line(self, line: str) -> list[Refund]:
        """What was refunded of a charge line, the oldest first."""
        query = select(credit_refunds).where(credit_refunds.c.line == line)
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(credit_refunds.c.refunded_at, credit_refunds.c.id))
            return [_refund(row) for row in rows]

    def returns_frame(self, change: int | None = None, of: Collection[str] | None = None) -> pl.DataFrame:
        """RETURN of all refunds, as of now or of `change`: one row for each refund and grant; `of` a few customers if
        given."""
        query = _of(select(credit_refunds).order_by(credit_refunds.c.id), credit_refunds, of)
        if change is not None:
            query = query.where(credit_refunds.c.change <= change)
        with reading(self.engine) as connection:
            refunds = [_refund(row) for row in connection.execute(query)]
        if not refunds:
            return RETURN.to_frame()
        parts = [
            {
                "refund": refund.id,
                "customer": refund.customer,
                "grant": part.grant,
                "at": refund.refunded_at,
                "amount": format(part.amount, "f"),
            }
            for refund in refunds
            for part in refund.parts
            if part.amount > 0
        ]
        summed = _frame(parts, RETURN).group_by("refund", "customer", "grant", "at").agg(pl.col("amount").sum())
        return summed.select(RETURN.names()).cast(RETURN).sort("refund", "grant")

    def _get(self, connection: Connection, key: str) -> Grant:
        row = connection.execute(select(credit_grants).where(credit_grants.c.id == key)).one_or_none()
        if row is None:
            raise NotFound("grant", key)
        return _grant(row)

    def _refund(self, connection: Connection, key: str) -> Refund | None:
        row = connection.execute(select(credit_refunds).where(credit_refunds.c.id == key)).one_or_none()
        return None if row is None else _refund(row)


def _of(query: Any, table: Table, customers: Collection[str] | None) -> Any:
    """A query of a table with a column `customer`, of a few customers if given."""
    return query if customers is None else query.where(table.c.customer.in_(customers))


def means(pattern: str, price: str) -> bool:
    """Whether a scope's pattern holds a price: a trailing `*` stands for every price whose key begins so."""
    return price.startswith(pattern[:-1]) if pattern.endswith("*") else price == pattern


_DECIMALS = ("amount", "increment", "factor", "rollover_minimum", "rollover_maximum", "cost_basis", "covered")


def _texts(values: dict[str, Any]) -> dict[str, Any]:
    return {name: format(value, "f") if isinstance(value, Decimal) else value for name, value in values.items()}


def _decimals(values: dict[str, Any]) -> dict[str, Any]:
    return {n: Decimal(v) if n in _DECIMALS and v is not None else v for n, v in values.items()}


def _grant(row: Row[Any]) -> Grant:
    return Grant(**_decimals(_given_by(row)))


def _refund(row: Row[Any]) -> Refund:
    values = _decimals(_given_by(row))
    return Refund(**{**values, "parts": [RefundPart(**_decimals(part)) for part in values["parts"]]})


def _given_by(row: Row[Any]) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name not in ("change", "void_change")}


def _same(known: Refund, given: dict[str, Any]) -> Refund:
    if known.given != given:
        raise IdTaken([f"refund {known.id!r} is there already, and is another one; take another id"])
    return known


def _frame(rows: Sequence[dict[str, Any]], schema: pl.Schema) -> pl.DataFrame:
    """The rows in `schema`; decimals come as text, and are read exactly."""
    read = {name: pl.String() if dtype == AMOUNT else dtype for name, dtype in schema.items()}
    columns = {name: [row[name] for row in rows] for name in schema}
    return pl.DataFrame(columns, schema=read).cast(schema)
