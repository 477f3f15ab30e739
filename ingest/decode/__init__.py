"""From the bytes of a body to columns. Numbers are read from digits; what is wrong with one event stays with it."""

from collections.abc import Mapping

from ingest.decode.arrow_stream import decode_arrow
from ingest.decode.columns import Decoded
from ingest.decode.json_body import decode_json
from ingest.decode.numbers import Problem
from ingest.errors import BodyTooLarge, UnsupportedContentType
from ingest.limits import IngestLimits
from rating.core.schema import PropertyType

__all__ = ["CONTENT_TYPES", "Decoded", "Problem", "decode"]

ARROW = "application/vnd.apache.arrow.stream"
JSON_KINDS = {
    "application/cloudevents+json": "one",
    "application/cloudevents-batch+json": "batch",
    "application/json": "either",
}
CONTENT_TYPES = (*JSON_KINDS, ARROW)


def decode(body: bytes, content_type: str, properties: Mapping[str, PropertyType], limits: IngestLimits) -> Decoded:
    """Read the events of `body`, in their order.

    Raises UnsupportedContentType, UnreadableBody, BodyTooLarge: then no event of the body is judged.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == ARROW:
        _check_size(len(body), limits.arrow_bytes)
        decoded = decode_arrow(body, properties, limits)
    elif media_type in JSON_KINDS:
        _check_size(len(body), limits.json_bytes)
        decoded = decode_json(body, JSON_KINDS[media_type], properties)
    else:
        raise UnsupportedContentType(
            f"content type {content_type!r} is not read here; send one of {', '.join(CONTENT_TYPES)}"
        )
    if decoded.events.height > limits.events_per_batch:
        raise BodyTooLarge(f"{decoded.events.height} events in one batch; send at most {limits.events_per_batch}")
    return decoded


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise BodyTooLarge(f"the body has {size} bytes; send at most {limit}, in more batches")
