"""Answers of the database as frames, for millions of rows: column by column, and past the objects that SQLAlchemy makes
of rows and values, which cost more than all else together."""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
from sqlalchemy import Connection, Select, type_coerce
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType

from rating.core.schema import INSTANT

ROWS = 5_000  # made a frame at once: few enough to stay in the cache of a core
_INSTANT_TEXT = "%Y-%m-%d %H:%M:%S%.6f"  # how SQLite has it, in UTC


def read_frame(connection: Connection, query: Select[*tuple[Any, ...]], schema: pl.Schema) -> pl.DataFrame:
    """The rows of a query in `schema`, which names its columns in their order; decimal numbers are text in tables."""
    as_read = {name: _as_read(dtype, connection.dialect.name) for name, dtype in schema.items()}
    texts = [name for name, dtype in schema.items() if dtype == INSTANT and as_read[name] == pl.String()]
    instants = [pl.col(name).str.to_datetime(_INSTANT_TEXT, time_unit="us", time_zone="UTC") for name in texts]
    parts = [
        pl.DataFrame(dict(zip(as_read, zip(*rows, strict=True), strict=True)), schema=as_read)
        .with_columns(instants)
        .cast(schema)
        for rows in _parts(connection, query)
    ]
    return pl.concat(parts) if parts else schema.to_frame()


def _as_read(dtype: pl.DataType, dialect: str) -> pl.DataType:
    is_text = isinstance(dtype, pl.Decimal) or (dtype == INSTANT and dialect == "sqlite")
    return pl.String() if is_text else dtype


def _parts(connection: Connection, query: Select[*tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    """The rows as the driver gives them."""
    columns = (type_coerce(column, NullType()).label(column.key) for column in query.selected_columns)
    result = connection.execute(query.with_only_columns(*columns, maintain_column_froms=True))
    dbapi = connection.dialect.dbapi
    assert result.cursor is not None
    assert dbapi is not None
    try:
        while rows := result.cursor.fetchmany(ROWS):
            yield rows
    except dbapi.Error as error:
        raise DBAPIError.instance(str(query), None, error, dbapi.Error) from error
    finally:
        result.close()
