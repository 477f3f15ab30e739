"""The body of a request for corrections -> events with four columns more: what they correct, how, and why.

A correction is read by the decoder of all events, which does not look at the fields that only a correction has; those
are read here. What is wrong with one correction stays with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import polars as pl
from msgspec import Raw

from ingest.correction_state import REPLACE, VOID
from ingest.decode import Decoded, Problem, decode
from ingest.decode.media_types import media_type_of
from ingest.decode.numbers import shown
from ingest.decode.originals import json_items
from ingest.decode.repeated_keys import repeated_keys
from ingest.errors import UnreadableBody, UnsupportedContentType
from ingest.limits import IngestLimits
from rating.core.schema import PropertyType

JSON = "application/json"
TARGET_SOURCE, TARGET_ID = "corrects.source", "corrects.id"
CORRECTION_FIELDS = ("correction", "reason", TARGET_SOURCE, TARGET_ID)
_ATTRIBUTES = ("type", "subject", "time")
_NOTHING = b"null"
_Fields = dict[str, Raw]
_read_fields = msgspec.json.Decoder(_Fields).decode
_read_text = msgspec.json.Decoder(str).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Target(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    id: str


_read_target = msgspec.json.Decoder(_Target).decode


@dataclass(frozen=True)
class _Own:
    """What only a correction has; null where it cannot be read: then there is a `problem`."""

    correction: str | None = None
    reason: str | None = None
    target: tuple[str, str] | tuple[None, None] = (None, None)
    problem: Problem | None = None


def read_corrections(
    body: bytes, content_type: str, properties: Mapping[str, PropertyType], limits: IngestLimits
) -> Decoded:
    """Read the corrections of `body` (unpacked), in their order: Decoded, with CORRECTION_FIELDS as columns.

    Raises UnsupportedContentType, UnreadableBody, BodyTooLarge.
    """
    if media_type_of(content_type) != JSON:
        raise UnsupportedContentType(f"content type {content_type!r} is not read here; send corrections as {JSON}")
    decoded = decode(body, JSON, properties, limits)
    owns = [_own(item) for item in _items(body)]
    columns: dict[str, Sequence[str | None]] = {
        "correction": [own.correction for own in owns],
        "reason": [own.reason for own in owns],
        TARGET_SOURCE: [own.target[0] for own in owns],
        TARGET_ID: [own.target[1] for own in owns],
    }
    added = [pl.Series(name, columns[name], dtype=pl.String) for name in CORRECTION_FIELDS]
    problems = {row: own.problem for row, own in enumerate(owns) if own.problem is not None}
    return Decoded(decoded.events.with_columns(added), problems | decoded.problems)


def _items(body: bytes) -> list[bytes]:
    try:
        return json_items(body)
    except _UNREADABLE as error:
        raise UnreadableBody(f"the body is not JSON in UTF-8: {error}") from error


def _own(item: bytes) -> _Own:
    """What a correction says besides its event; what is wrong with its event is found by the decoder."""
    try:
        fields = {name: value for name, value in _read_fields(item).items() if bytes(value).strip() != _NOTHING}
    except _UNREADABLE:
        return _Own(problem=Problem("malformed_event", f"the correction is {shown(_text(item))}; send a JSON object"))
    own = _action(fields)
    for step in (_target, _reason, _body):
        own = own if own.problem is not None else step(own, fields)
    return own


def _action(fields: _Fields) -> _Own:
    value = _string(fields.get("action"))
    if value not in (VOID, REPLACE):
        given = shown(_text(fields["action"])) if "action" in fields else "absent"
        return _Own(problem=Problem("invalid_action", f'action is {given}; send "void" or "replace"'))
    return _Own(correction=value)


def _target(own: _Own, fields: _Fields) -> _Own:
    value = bytes(fields.get("corrects", Raw(b"")))
    repeated = repeated_keys([value])
    if repeated:
        return replace(own, problem=repeated[0])
    try:
        target = _read_target(value)
    except _UNREADABLE:
        given = shown(_text(value)) if value else "absent"
        wanted = 'send {"source": ..., "id": ...} of the event that is wrong'
        return replace(own, problem=Problem("invalid_corrects", f"corrects is {given}; {wanted}"))
    return replace(own, target=(target.source, target.id))


def _reason(own: _Own, fields: _Fields) -> _Own:
    if "reason" not in fields:
        return own
    reason = _string(fields["reason"])
    if reason is None:
        return replace(
            own, problem=Problem("malformed_event", f"reason is {shown(_text(fields['reason']))}; send text")
        )
    if "\0" in reason:
        return replace(own, problem=Problem("invalid_character", "reason has the character U+0000; leave it out"))
    return replace(own, reason=reason)


def _body(own: _Own, fields: _Fields) -> _Own:
    """A void takes everything from what it voids; a replacement says all of its data."""
    if own.correction == VOID:
        given = [name for name in (*_ATTRIBUTES, "data") if name in fields]
        if given:
            problem = Problem("void_with_content", f"a void has no {given[0]} of its own; leave it out, or replace")
            return replace(own, problem=problem)
    elif "data" not in fields:
        return replace(own, problem=Problem("missing_data", "data is absent; send all of it, or {} for none"))
    for name in ("type", "subject"):
        if _string(fields.get(name)) == "":
            problem = Problem(f"missing_{name}", f"{name} is empty; leave it out to keep that of the corrected event")
            return replace(own, problem=problem)
    return own


def _string(value: Raw | None) -> str | None:
    """The string that a JSON value is; null when it is another value, or none."""
    try:
        return None if value is None else _read_text(value)
    except _UNREADABLE:
        return None


def _text(value: Raw | bytes) -> str:
    return bytes(value).decode(errors="replace")
