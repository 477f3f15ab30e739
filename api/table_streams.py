"""Tables that are made part by part, as bytes that are sent part by part: no whole table is in memory."""

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from starlette.responses import StreamingResponse

from api.frames import ARROW, CSV, PARQUET, with_text

NDJSON = "application/x-ndjson"
STREAMED = (NDJSON, CSV, ARROW, PARQUET)
SUFFIXES = {NDJSON: "ndjson", CSV: "csv", ARROW: "arrows", PARQUET: "parquet"}


def stream_response(frames: Iterator[pl.DataFrame], schema: pl.Schema, media: str, name: str) -> StreamingResponse:
    """The frames of `schema` as one file called `name`. What fails before the first of them is an answer of its own;
    what fails behind it ends the connection before the end of the body."""
    first = next(frames, schema.to_frame())
    headers = {"Content-Disposition": f'attachment; filename="{name}.{SUFFIXES[media]}"'}
    return StreamingResponse(encoded(_with_first(first, frames), schema, media), headers=headers, media_type=media)


def encoded(frames: Iterable[pl.DataFrame], schema: pl.Schema, media: str) -> Iterator[bytes]:
    """The bytes of one file in this format. Decimals are exact: text in NDJSON and CSV."""
    if media == NDJSON:
        return (with_text(frame).write_ndjson().encode() for frame in frames if frame.height)
    if media == CSV:
        return _csv(frames, schema)
    return _arrow(frames, schema, pa.ipc.new_stream if media == ARROW else pq.ParquetWriter)


def _with_first(first: pl.DataFrame, frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    yield first
    yield from frames


def _csv(frames: Iterable[pl.DataFrame], schema: pl.Schema) -> Iterator[bytes]:
    yield schema.to_frame().write_csv().encode()
    for frame in frames:
        yield with_text(frame).write_csv(include_header=False).encode()


def _arrow(frames: Iterable[pl.DataFrame], schema: pl.Schema, writer_of: Callable[..., Any]) -> Iterator[bytes]:
    sink = _Drained()
    with writer_of(sink, _table(schema.to_frame()).schema) as writer:
        for frame in frames:
            if frame.height:
                writer.write_table(_table(frame))
                yield sink.drain()
    yield sink.drain()


def _table(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


class _Drained(io.RawIOBase):
    """A file that is only written, and whose bytes are taken away as they come."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        taken = bytes(piece)
        self._pieces.append(taken)
        self._position += len(taken)
        return len(taken)

    def tell(self) -> int:
        return self._position

    def drain(self) -> bytes:
        """What was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
