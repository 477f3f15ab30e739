"""Frames of credits from mappings, as the oracle reads them; what a mapping does not name is null."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from rating.core.credits.schema import GRANT

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
USUAL = {
    "customer": "acme", "kind": "grant", "unit": "USD", "priority": 1, "created_at": OCTOBER, "effective_at": OCTOBER,
}  # fmt: skip
"""What a grant of a worked case is unless it says otherwise."""


def frame(schema: pl.Schema, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    whole = [{name: row.get(name) for name in schema} for row in rows]
    return pl.DataFrame(whole, schema=schema, orient="row")


def grant_rows(given: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Grants as worked cases write them, with numbers as text."""
    numbers = [name for name, dtype in GRANT.items() if isinstance(dtype, pl.Decimal)]
    return [{**USUAL, **grant, **{name: Decimal(grant[name]) for name in numbers if name in grant}} for grant in given]
