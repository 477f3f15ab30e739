"""Answers of the database as frames."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from sqlalchemy import func, insert, literal, select
from sqlalchemy.exc import OperationalError

from rating.core.schema import INSTANT, QUANTITY
from store import Store, open_store
from store.customers import Customer
from store.database import reading, writing
from store.frames import ROWS, read_frame
from store.tables import customers, subscriptions

AT = datetime(2, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
SCHEMA = pl.Schema({"key": pl.String(), "intervals": pl.Int64(), "at": INSTANT, "ends_at": INSTANT, "seats": QUANTITY})


def test_values_of_each_kind_come_as_they_were_put_in_more_parts_than_one(store: Store) -> None:
    store.customers.put([Customer("acme", "Acme", "UTC", AT, ())])
    seats, count = Decimal("123456789012345.000000001"), 2 * ROWS + 1
    terms = {"customer": "acme", "plan": "é\n\x01", "starts_at": AT, "intervals": 7, "seats": seats}
    with writing(store.engine) as connection:
        connection.execute(insert(subscriptions), [{"key": f"{n:06}", **terms} for n in range(count)])
    s = subscriptions.c
    query = select(s.key, s.intervals, s.starts_at.label("at"), s.ends_at, s.seats).order_by(s.key)
    with reading(store.engine) as connection:
        found = read_frame(connection, query, SCHEMA)
        nothing = read_frame(connection, query.where(s.key == "x"), SCHEMA)
        one = read_frame(
            connection, select(literal("x").label("x"), func.count()), pl.Schema({"x": pl.String(), "n": pl.Int64()})
        )
    assert found.schema == nothing.schema == SCHEMA
    assert (found.height, nothing.height, one.rows()) == (count, 0, [("x", 1)])
    assert found.row(-1) == (f"{count - 1:06}", 7, AT, None, seats)
    assert found.drop("key").unique().height == 1


def test_a_failure_in_the_middle_of_an_answer_is_one_of_the_database(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    store.customers.put([Customer(f"{n}", "", "UTC", AT, ()) for n in range(4 * ROWS)])
    called = []

    def stop() -> int:
        called.append(1)
        return int(len(called) > ROWS // 100)  # each 100 steps of SQLite: after the first part of the rows

    query, schema = select(customers.c.key), pl.Schema({"key": pl.String()})
    with reading(store.engine) as connection:
        raw: Any = connection.connection.driver_connection
        raw.set_progress_handler(stop, 100)
        with pytest.raises(OperationalError, match="interrupted"):
            read_frame(connection, query, schema)
        raw.set_progress_handler(None, 0)
    store.close()
