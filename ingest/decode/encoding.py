"""Content-Encoding: a body as it was before it was packed, or a refusal. It is unpacked step by step, so that a small
body which unpacks to gigabytes costs no more than the limits allow."""

import pyarrow as pa

from ingest.errors import BodyTooLarge, InflatedTooLarge, UnreadableBody, UnsupportedEncoding

ENCODINGS = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
"""Content-Encoding -> codec."""
STEP_BYTES = 256 << 10
RATIO_FREE_BYTES = 1 << 20
"""Up to here the ratio does not matter: a batch of equal events packs well."""


def unpacked(body: bytes, encoding: str, *, bytes_max: int, ratio_max: int) -> bytes:
    """`body` without the `encoding` that its header names; nothing and `identity` are none.

    Raises UnsupportedEncoding, UnreadableBody, InflatedTooLarge.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ENCODINGS:
        raise UnsupportedEncoding(f"content encoding {encoding!r} is not read here; send gzip, zstd, or none")
    if not body:
        raise UnreadableBody(f"the body is empty, and so is not {name}")
    limit = min(bytes_max, max(RATIO_FREE_BYTES, ratio_max * len(body)))
    try:
        return _inflated(body, ENCODINGS[name], limit, bytes_max, ratio_max)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableBody(f"the body is not {name}: {error}") from error


def check_size(size: int, limit: int) -> None:
    """Raise BodyTooLarge when a body of `size` bytes is above `limit`."""
    if size > limit:
        raise BodyTooLarge(f"the body has {size} bytes; send at most {limit}, in more batches")


def _inflated(body: bytes, codec: str, limit: int, bytes_max: int, ratio_max: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
        while piece := stream.read(STEP_BYTES):
            size += len(piece)
            if size > limit:
                raise InflatedTooLarge(_detail(limit, bytes_max, ratio_max))
            pieces.append(piece)
    return b"".join(pieces)


def _detail(limit: int, bytes_max: int, ratio_max: int) -> str:
    if limit == bytes_max:
        return f"the body unpacks to more than {bytes_max} bytes; send it in smaller parts"
    return f"the body unpacks to more than {ratio_max} times its size; send it with less compression, or none"
