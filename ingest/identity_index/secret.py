"""The secret under which the identities of a data directory are hashed, kept in a file beside the index.

It is drawn at random once, so that nobody who does not read the data directory can choose two identities with one
hash. Lost or damaged, a new one is drawn, and the index is made again under it: no answer depends on it.
"""

import logging
import secrets
from pathlib import Path

import polars as pl
from xxhash import xxh3_64_digest

from ingest.identity import hash_identities
from ingest.schema import IDENTITY_COLUMNS
from rating.disk import Disk

NAME = "secret"
_MAGIC = b"TALLYKEY"
_log = logging.getLogger(__name__)


def load_secret(disk: Disk, directory: Path) -> tuple[int, int]:
    """The two seeds of the identity hash, made when absent."""
    path = directory / NAME
    content = path.read_bytes() if path.exists() else b""
    if len(content) != 32 or content[:8] != _MAGIC or content[24:] != xxh3_64_digest(content[:24]):
        if content:
            _log.warning("%s is damaged: a new one is drawn, and the index of identities is made again", path)
        content = _MAGIC + secrets.token_bytes(16)
        content += xxh3_64_digest(content)
        disk.publish(path, [content])
    return int.from_bytes(content[8:16], "little"), int.from_bytes(content[16:24], "little")


def scheme_of(seeds: tuple[int, int]) -> tuple[int, int]:
    """A name for the secret and for the way of hashing: the hash of one fixed identity. A run under another name cannot
    be read, whether the secret was replaced or a library hashes differently than it did."""
    probe = pl.DataFrame({name: ["tallystick"] for name in IDENTITY_COLUMNS})
    high, low = hash_identities(probe, seeds)
    return int(high[0]), int(low[0])
