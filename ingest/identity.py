"""Hashes of an event's identity and of its body.

Both are taken over bytes in which every value carries its type and length (polars-hash `hash_rows`), so that no two
different rows give the same bytes: ("ab", "c") is not ("a", "bc"), and a null is not an empty string.
"""

from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import polars_hash as plh

from ingest.schema import FINGERPRINT, IDENTITY_COLUMNS

_HIGH, _LOW = "identity_high", "identity_low"

IdentityHash: TypeAlias = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]
"""128 bits for each event: two XXH3-64 with independent secret seeds, high and low."""

BodyHash: TypeAlias = npt.NDArray[np.int64]
"""64 bits for each event; equal means equal body. Different means nothing: compare the events."""


@lru_cache(maxsize=16)
def event_hashes(columns: tuple[str, ...], seeds: tuple[int, int]) -> list[pl.Expr]:
    """Both hashes of decoded events that have `columns`; `take_hashes` reads them."""
    body = sorted(name for name in columns if name not in IDENTITY_COLUMNS)
    fingerprint = plh.hash_rows(*body).nchash.xxh3_64().reinterpret(signed=True).alias(FINGERPRINT)
    return [*_identity(seeds), fingerprint]


def take_hashes(events: pl.DataFrame) -> tuple[IdentityHash, BodyHash]:
    """The arrays of what `event_hashes` made."""
    return _arrays(events), events[FINGERPRINT].to_numpy()


def hash_identities(events: pl.DataFrame, seeds: tuple[int, int]) -> IdentityHash:
    """The identity hashes of stored events."""
    return _arrays(events.select(*_identity(seeds)))


def _identity(seeds: tuple[int, int]) -> tuple[pl.Expr, pl.Expr]:
    row = plh.hash_rows(*IDENTITY_COLUMNS)
    return row.nchash.xxh3_64(seed=seeds[0]).alias(_HIGH), row.nchash.xxh3_64(seed=seeds[1]).alias(_LOW)


def _arrays(hashes: pl.DataFrame) -> IdentityHash:
    return hashes[_HIGH].to_numpy(), hashes[_LOW].to_numpy()
