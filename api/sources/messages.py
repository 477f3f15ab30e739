"""From the message of a broker to one CloudEvent in JSON. Pure.

A message is a CloudEvent in structured mode (the payload is the event) or in binary mode (the payload is the data, the
attributes are headers that begin with `ce-`). Source: CloudEvents 1.0, its JSON format and its protocol binding for
NATS, which takes the encoding of header values from the one for HTTP.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

import msgspec
from msgspec import Raw

PREFIX = "ce-"
ATTRIBUTES = frozenset({"specversion", "id", "source", "type", "subject", "time"})
_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_write = msgspec.json.Encoder().encode


def event_of(payload: bytes, headers: Mapping[str, str]) -> bytes:
    """JSON of the event that a message is.

    What is no JSON object becomes a JSON string: the log then refuses it like any other event that cannot be read, and
    keeps it to look at, and the messages beside it are judged by themselves.
    """
    named = {name.lower().removeprefix(PREFIX): value for name, value in headers.items() if _is_attribute(name)}
    if not named:
        return _json(payload)
    attributes: dict[str, object] = {name: unquote(value) for name, value in named.items() if name in ATTRIBUTES}
    data = {"data": Raw(_json(payload))} if payload else {}
    return _write(attributes | data)


def batch_of(events: Sequence[bytes]) -> bytes:
    """A body of `application/cloudevents-batch+json`."""
    return b"[" + b",".join(events) + b"]"


def _is_attribute(header: str) -> bool:
    return header.lower().startswith(PREFIX)


def _json(payload: bytes) -> bytes:
    try:
        payload.decode()
        _read_object(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _write(payload.decode(errors="backslashreplace"))
    return payload
