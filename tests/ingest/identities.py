"""Identities and small tables of them for the tests of the index."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from ingest.identity import IdentityHash, hash_identities
from ingest.identity_index import IdentityIndex, open_index
from ingest.identity_index.records import Records
from ingest.schema import CORRECTION, stored_schema
from ingest.usage_table import UsageTable
from rating.disk import Disk
from tests.ingest.events import NOW

Pair = tuple[int, int]


def arrays(pairs: Sequence[Pair]) -> IdentityHash:
    return np.array([high for high, _ in pairs], np.uint64), np.array([low for _, low in pairs], np.uint64)


def random_records(count: int, seed: int) -> Records:
    chance = np.random.default_rng(seed)
    high, low = (chance.integers(0, 2**64, count, np.uint64) for _ in range(2))
    return Records(high, low, chance.integers(-(2**63), 2**63, count))


def new_index(directory: Path, recent_events: int, disk: Disk | None = None) -> IdentityIndex:
    """An empty index."""
    directory.mkdir(exist_ok=True)
    return IdentityIndex(disk or Disk(), directory, (1, 2), (3, 4), [], recent_events)


def add_all(index: IdentityIndex, records: Records, group: int) -> None:
    for at in range(0, len(records), group):
        part = records[at : at + group]
        index.add((part.high, part.low), part.fingerprint)


def assert_known(index: IdentityIndex, records: Records) -> None:
    known, fingerprint = index.lookup((records.high, records.low))
    assert known.all()
    assert (fingerprint == records.fingerprint).all()


def assert_unknown(index: IdentityIndex, high: np.ndarray, low: np.ndarray) -> None:
    known, fingerprint = index.lookup((high, low))
    assert not known.any()
    assert not fingerprint.any()


def stored_events(first_sequence: int, last_sequence: int) -> pl.DataFrame:
    """Stored events with ids and fingerprints made of their sequence, in another order than that."""
    sequence = np.arange(first_sequence, last_sequence + 1)
    events = pl.DataFrame({"sequence": sequence, "fingerprint": sequence * 7}).with_columns(
        source=pl.format("gw-{}", pl.col("sequence") % 3),
        id=pl.col("sequence").cast(pl.String),
        type=pl.lit("llm.request"),
        subject=pl.lit("acme"),
        subject_number=pl.lit(0),
        time=pl.lit(NOW),
        received_at=pl.lit(NOW),
        day=pl.lit(NOW.date()),
        data=pl.lit(None, pl.String),
        **{name: pl.lit(None, dtype) for name, dtype in CORRECTION.items()},
    )
    schema = pl.Schema({**stored_schema({}), "subject_number": pl.Int64()})
    return events.select(schema.names()).cast(dict(schema)).sort(pl.col("sequence").hash(1))


def usage_table(directory: Path, last_sequence: int, per_commit: int, disk: Disk | None = None) -> UsageTable:
    """A usage table of the stored events up to `last_sequence`."""
    table = UsageTable(directory / "usage", disk=disk or Disk())
    for first in range(table.last_sequence + 1, last_sequence + 1, per_commit):
        last = min(first + per_commit - 1, last_sequence)
        table.write(stored_events(first, last), last)
    return table


def stored_records(first_sequence: int, last_sequence: int, seeds: tuple[int, int]) -> Records:
    """The identities of stored events, in order."""
    events = stored_events(first_sequence, last_sequence).sort("sequence")
    return Records(*hash_identities(events, seeds), events["fingerprint"].to_numpy())


RECENT = 500


def opened(directory: Path, *tail: pl.DataFrame, disk: Disk | None = None) -> IdentityIndex:
    """The index of the usage table in `directory` and of `tail`."""
    table = UsageTable(directory / "usage", disk=Disk())
    return open_index(
        disk or Disk(), directory / "identities", table, tail, recent_events=RECENT, rebuild_events=3 * RECENT
    )


def assert_holds(index: IdentityIndex, last_sequence: int) -> None:
    """The index knows the stored events up to `last_sequence`, and not the thousand after them."""
    assert_known(index, stored_records(1, last_sequence, index.seeds))
    strangers = stored_records(last_sequence + 1, last_sequence + 1000, index.seeds)
    assert_unknown(index, strangers.high, strangers.low)
    assert (len(index), index.last_sequence) == (last_sequence, last_sequence)
