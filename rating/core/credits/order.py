"""In which order grants are burnt: by priority, the earliest expiry, creation, id, unless declared otherwise.

Expiries are compared to the whole second: two grants that expire within one second are equally near their end, and
the older one goes first. A grant that does not expire comes after all that do.
"""

from collections.abc import Sequence
from typing import Literal

import polars as pl

OrderKey = Literal["priority", "expires_at", "created_at", "effective_at", "cost_basis", "amount", "grant"]
DEFAULT_ORDER: tuple[OrderKey, ...] = ("priority", "expires_at", "created_at", "grant")


def in_order(grants: pl.DataFrame, order: Sequence[OrderKey] = DEFAULT_ORDER) -> pl.DataFrame:
    """GRANT rows, each customer's in the order in which they are burnt; the id decides where nothing else does."""
    keys = [pl.col(key).dt.truncate("1s") if key == "expires_at" else pl.col(key) for key in order]
    return grants.sort("customer", "unit", *keys, "grant", nulls_last=True)
