"""CloudEvents in the binary mode of HTTP: attributes in `ce-` headers, `data` as the body -> one structured event.

Header values are decoded as the CloudEvents HTTP binding says (1.0.2, section 3.1.3.2): quotes around a value and
backslashes in it are taken off, then %XX are the bytes of UTF-8.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Raw

from ingest.errors import UnreadableBody, UnsupportedContentType

PREFIX = "ce-"
_JSON = re.compile(r"application/(?:json|[\w.+-]+\+json)|text/json", re.ASCII)
_STRUCTURED = "application/cloudevents"
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_read_raw = msgspec.json.Decoder(Raw).decode


def is_binary_mode(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request has the attributes of an event in its headers: names are in lower case, as ASGI has them."""
    names = dict(headers)
    structured = names.get(b"content-type", b"").lower().startswith(_STRUCTURED.encode())
    return not structured and (b"ce-id" in names or b"ce-specversion" in names)


def structured_event(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """The event as application/cloudevents+json; an empty body is no data.

    Raises UnreadableBody for a header or a body that cannot be read, UnsupportedContentType for data that is no JSON.
    """
    event: dict[str, object] = {}
    for name, value in headers:
        if name.startswith(PREFIX.encode()):
            attribute = name.decode("latin-1").removeprefix(PREFIX)
            if attribute in event or attribute == "data":
                raise UnreadableBody(f"header ce-{attribute} is there more than once, or names the body; send it once")
            event[attribute] = header_text(value)
    if body.strip():
        event["data"] = _data(dict(headers).get(b"content-type", b"").decode("latin-1"), body)
    return msgspec.json.encode(event)


def header_text(value: bytes) -> str:
    """The attribute that a header value stands for. Raises UnreadableBody when its bytes are not UTF-8."""
    value = value.strip()
    if len(value) > 1 and value.startswith(b'"') and value.endswith(b'"'):
        value = _QUOTED_PAIR.sub(rb"\1", value[1:-1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError as error:
        raise UnreadableBody(f"a ce- header is not UTF-8 after percent-decoding: {error}") from error


def _data(content_type: str, body: bytes) -> Raw:
    media_type = content_type.partition(";")[0].strip().lower()
    if _JSON.fullmatch(media_type) is None:
        raise UnsupportedContentType(
            f"the data of a CloudEvent in binary mode is JSON here, not {content_type!r}; send application/json"
        )
    try:
        return _read_raw(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableBody(f"the body is not JSON in UTF-8: {error}") from error
