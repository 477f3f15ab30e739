"""Bodies that want more memory than they have bytes, and what each must be answered with."""

import gzip
import io
import random
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

JSON, ARROW, PARQUET = "application/json", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
_MANY = 20_000_000


class Hostile(NamedTuple):
    """`statuses` are those that are right."""

    name: str
    content_type: str
    encoding: str
    body: bytes
    statuses: tuple[int, ...]


def bodies() -> list[Hostile]:
    """All of them; a few MB together."""
    zeros = bytes(50_000_000)
    event = b'{"id": "%d", "source": "s", "type": "usage", "subject": "a", "data": {}}'
    many = b"[" + b",".join([event % 1] * 100_001) + b"]"
    return [
        Hostile("gzip that unpacks to 50 MB", JSON, "gzip", gzip.compress(zeros), (413,)),
        Hostile("zstd that unpacks to 50 MB", JSON, "zstd", pa.compress(zeros, codec="zstd", asbytes=True), (413,)),
        Hostile("200,000 brackets", JSON, "", b"[" * 200_000, (400, 422)),
        Hostile("200,000 braces deep", JSON, "", b'{"data":' * 200_000, (400, 422)),
        Hostile("a number of a million digits", JSON, "", b'{"id": %s}' % (b"9" * 1_000_000), (400, 422)),
        Hostile("more events than a batch may have", JSON, "", many, (413,)),
        Hostile("40 MB of JSON", JSON, "", b"[" + b" " * 40_000_000 + b"]", (413,)),
        Hostile("a name of 7 MB", JSON, "", b'{"id": "%s"}' % (b"x" * 7_000_000), (413, 422)),
        Hostile("bytes without a sense", PARQUET, "", random.Random(1).randbytes(1_000_000), (400,)),
        Hostile("Parquet of 20 million equal rows", PARQUET, "", _parquet(), (413,)),
        Hostile("Arrow of 20 million zeros, packed", ARROW, "", _arrow(), (400, 413)),
        Hostile("CSV of 100,000 columns", "text/csv", "", b",".join([b"c"] * 100_000) + b"\n", (400, 413)),
    ]


def _parquet() -> bytes:
    rows = pa.table({"id": pa.array(["same"], pa.string()).take(pa.array([0] * 1_000_000))})
    content = io.BytesIO()
    with pq.ParquetWriter(content, rows.schema, use_dictionary=True) as writer:
        for _ in range(_MANY // rows.num_rows):
            writer.write_table(rows)
    return content.getvalue()


def _arrow() -> bytes:
    content = io.BytesIO()
    pl.DataFrame({"x": pl.zeros(_MANY, pl.Int64, eager=True)}).write_ipc_stream(content, compression="zstd")
    return content.getvalue()
