"""Hashes of an event's identity and of its body.

Each text is hashed by XXH3-64, each number is spread by a multiplication, and what a row has is added up, each times an
odd number that belongs to the name of its column. So ("ab", "c") is not ("a", "bc"), what stands in one column is never
taken for another, and a null, which adds nothing, is not an empty string: a column that is null throughout might as
well be absent. Rows that differ in one value have different sums, unless that value has the hash of the other; rows
that differ in several have one sum with a chance of 2^-64.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import polars_hash as plh
from xxhash import xxh3_64_intdigest

from ingest.schema import IDENTITY_COLUMNS
from rating.words import Words, words_of, zero_where_null

IdentityHash: TypeAlias = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]
"""128 bits for each event: two sums of XXH3-64 with independent secret seeds, high and low."""

BodyHash: TypeAlias = npt.NDArray[np.int64]
"""64 bits for each event; equal means equal body. Different means nothing: compare the events."""

_SPREAD, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


@lru_cache(maxsize=16)  # building expressions costs more than running them on a small batch
def text_hashes(texts: tuple[str, ...], seeds: tuple[int, int]) -> tuple[pl.Expr, ...]:
    """What Polars has to compute of the columns `texts` of events, identity among them, for `identity_hash` and
    `body_hash`."""
    body = [plh.col(name).nchash.xxh3_64().alias(_hash(name)) for name in texts if name not in IDENTITY_COLUMNS]
    return (*_seeded(seeds), *body)


def identity_hash(hashes: pl.DataFrame) -> IdentityHash:
    """Of a frame that has `text_hashes`."""
    high, low = (_sum((name, hashes[_hash(name, half)]) for name in IDENTITY_COLUMNS) for half in (0, 1))
    return high, low


def body_hash(hashes: pl.DataFrame, texts: Sequence[str], others: Iterable[pl.Series]) -> BodyHash:
    """Of events with the columns `texts`, their `text_hashes` in `hashes`, and `others`: instants and quantities."""
    named = ((name, hashes[_hash(name)]) for name in texts if name not in IDENTITY_COLUMNS)
    total = _sum(named, start=np.zeros(hashes.height, np.uint64))
    for column in others:
        total += _numbers(column)
    return total.view(np.int64)


def hash_identities(events: pl.DataFrame, seeds: tuple[int, int]) -> IdentityHash:
    """The identity hashes of stored events."""
    return identity_hash(events.select_seq(*_seeded(seeds)))


def _seeded(seeds: tuple[int, int]) -> list[pl.Expr]:
    return [
        plh.col(name).nchash.xxh3_64(seed=seed).alias(_hash(name, half))
        for half, seed in enumerate(seeds)
        for name in IDENTITY_COLUMNS
    ]


def _sum(named: Iterable[tuple[str, pl.Series]], start: Words | None = None) -> Words:
    total = start
    for name, hashes in named:
        if hashes.null_count() == len(hashes) and total is not None:
            continue
        part = zero_where_null(words_of(hashes).view(np.uint64), hashes) * _factor(name)
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total


def _numbers(column: pl.Series) -> Words:
    """What a column of instants or quantities adds to each row."""
    if column.null_count() == len(column):
        return np.zeros(len(column), np.uint64)
    words = words_of(column).view(np.uint64)
    low, high = (words, None) if words.ndim == 1 else (words[:, 0], words[:, 1])
    factor = _factor(column.name)
    mixed = (low + factor) * _SPREAD
    mixed ^= mixed >> _HALF
    mixed *= factor
    if high is not None and high.any():
        mixed += high * _factor(f"{column.name}, high")
    return zero_where_null(mixed, column)


@lru_cache(maxsize=1024)
def _factor(name: str) -> np.uint64:
    return np.uint64(xxh3_64_intdigest(name.encode()) | 1)


def _hash(name: str, half: int | None = None) -> str:
    return f"hash {name}" if half is None else f"hash {half} {name}"
