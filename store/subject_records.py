"""Where the database keeps the name of a subject of usage: in columns of its own, and in JSON under certain keys.

One list says it, for whoever exports what is known of a subject and for whoever erases it.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import JSON, Column, Connection, Engine, Table, select, update

from store.access_tables import audit_log
from store.columns import metadata
from store.database import reading, sqlite_path, writing
from store.quota_tables import leases, open_levels, quota_overrides
from store.tables import signals, subject_versions, subjects

SUBJECT_COLUMNS = (subjects.c.subject, subject_versions.c.subject, quota_overrides.c.subject, leases.c.subject)
OWNER_TABLES = (signals, open_levels)
"""Their `owner` is a subject where their `scope` says so."""
SUBJECT_SCOPE = "key"
JSON_KEYS = ("subject", "subjects", "owner")


def records_of(engine: Engine, subject: str) -> dict[str, list[dict[str, Any]]]:
    """Every row that names the subject, by table; values as JSON has them."""
    with reading(engine) as connection:
        found = {
            table.name: [_plain(row) for row in _rows(connection, table) if _names(table, row, subject)]
            for table in metadata.sorted_tables
            if _may_name(table)
        }
    return {table: rows for table, rows in found.items() if rows}


def rename_subject(engine: Engine, subject: str, pseudonym: str) -> dict[str, int]:
    """Put `pseudonym` in the place of the subject's name, in one transaction; how many rows it changed, by table."""
    changed: dict[str, int] = {}
    with writing(engine) as connection:
        for table in metadata.sorted_tables:
            if _may_name(table):
                rows = [row for row in _rows(connection, table) if _names(table, row, subject)]
                for row in rows:
                    _rename(connection, table, row, subject, pseudonym)
                if rows:
                    changed[table.name] = len(rows)
    return changed


def forget_in_audit_log(engine: Engine, subject: str) -> int:
    """Let go what was before and after changes where the name stands in it, and of all changes of events, which may say
    anything; in how many entries. The chain of the log is over digests, and holds."""
    name = orjson.dumps(subject).decode()[1:-1]
    cleared = 0
    with writing(engine) as connection:
        for content in (audit_log.c.before, audit_log.c.after):
            may_name = content.contains(name, autoescape=True) | audit_log.c.action.startswith("events.")
            named = update(audit_log).where(content.is_not(None), may_name)
            cleared += connection.execute(named.values({content: None})).rowcount
    return cleared


def forget_what_was_deleted(engine: Engine) -> None:
    """Leave nothing of older rows in a SQLite file. Another database sees to that by itself, at its own time."""
    if sqlite_path(engine) is None:
        return
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.close()


def _may_name(table: Table) -> bool:
    return table in OWNER_TABLES or any(column.table is table for column in SUBJECT_COLUMNS) or bool(_json(table))


def _json(table: Table) -> list[Column[Any]]:
    return [column for column in table.columns if isinstance(column.type, JSON)]


def _rows(connection: Connection, table: Table) -> Iterator[dict[str, Any]]:
    yield from [dict(row) for row in connection.execute(select(table)).mappings()]


def _columns_that_name(table: Table, row: dict[str, Any], subject: str) -> list[str]:
    named = [column.name for column in SUBJECT_COLUMNS if column.table is table]
    if table in OWNER_TABLES and row["scope"] == SUBJECT_SCOPE:
        named.append("owner")
    return [name for name in named if row[name] == subject]


def _names(table: Table, row: dict[str, Any], subject: str) -> bool:
    is_in_json = any(renamed(row[column.name], subject, "") != row[column.name] for column in _json(table))
    return is_in_json or bool(_columns_that_name(table, row, subject))


def _rename(connection: Connection, table: Table, row: dict[str, Any], subject: str, pseudonym: str) -> None:
    values = dict.fromkeys(_columns_that_name(table, row, subject), pseudonym)
    values |= {column.name: renamed(row[column.name], subject, pseudonym) for column in _json(table)}
    same = [column == row[column.name] for column in table.primary_key]
    connection.execute(update(table).where(*same).values(values))


def renamed(value: Any, subject: str, pseudonym: str, key: str = "") -> Any:
    """A JSON value with `pseudonym` where the subject stands under one of JSON_KEYS."""
    if isinstance(value, dict):
        return {name: renamed(item, subject, pseudonym, name) for name, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, subject, pseudonym, key) for item in value]
    return pseudonym if key in JSON_KEYS and value == subject else value


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, (Decimal, datetime)) else value for name, value in row.items()}
