"""Send rejections again, corrected or as they are, through the same path as a new body.

What is accepted, or was accepted before, is marked as replayed; a crash between the two is mended by the next replay,
which finds a duplicate. What is refused again stays as it was, and is not kept a second time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Raw

from ingest.corrections import CORRECTION_TYPE
from ingest.limits import IngestLimits
from ingest.log import UsageLog
from ingest.rejections import Rejection
from ingest.verdicts import ACCEPTED, CONFLICT, DUPLICATE, EventVerdict

NDJSON, JSON = "application/x-ndjson", "application/json"
WAIT_SECONDS = 60
_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_check = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class ReplayedAgain:
    """What became of a rejection: accepted, duplicate, conflict or rejected; `event` is null where it was accepted."""

    rejection: Rejection
    outcome: str
    event: EventVerdict | None


def replay(
    log: UsageLog, rejections: Sequence[Rejection], corrections: Mapping[int, bytes], limits: IngestLimits
) -> list[ReplayedAgain]:
    """Send `rejections` again, none of which was replayed before. `corrections` are JSON merge patches by sequence.

    Raises what `UsageLog.submit` and its future raise; what was accepted until then is marked.
    """
    done: list[ReplayedAgain] = []
    for part, body, is_correction in _bodies(rejections, corrections, limits):
        if is_correction:
            submitted = log.corrections.submit(body, JSON, keeps_rejections=False)
        else:
            submitted = log.submit(body, NDJSON, keeps_rejections=False)
        verdict = submitted.result(WAIT_SECONDS)
        events = {event.index: event for event in verdict.events}
        outcomes = [
            ReplayedAgain(rejection, _outcome(events.get(place)), events.get(place))
            for place, rejection in enumerate(part)
        ]
        kept = {one.rejection.sequence: one.outcome for one in outcomes if one.outcome in (ACCEPTED, DUPLICATE)}
        log.rejections.mark_replayed(kept)
        done += outcomes
    return done


def merge_patch(document: bytes, patch: bytes) -> bytes:
    """`document` with a JSON merge patch (RFC 7396) applied; numbers keep their digits. What is no object counts as an
    empty one. Raises msgspec.DecodeError, RecursionError for a patch that is no JSON or too deep."""
    changes = _members(patch)
    if changes is None:
        return patch
    members = _members(document) or {}
    for name, change in changes.items():
        if bytes(change).strip() == b"null":
            members.pop(name, None)
        else:
            members[name] = Raw(merge_patch(bytes(members.get(name, b"null")), bytes(change)))
    return _encode(members)


def _members(value: bytes) -> dict[str, Raw] | None:
    try:
        return _read_object(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _outcome(event: EventVerdict | None) -> str:
    if event is None:
        return ACCEPTED
    return event.code if event.code in (DUPLICATE, CONFLICT) else "rejected"


def _bodies(
    rejections: Sequence[Rejection], corrections: Mapping[int, bytes], limits: IngestLimits
) -> Iterator[tuple[list[Rejection], bytes, bool]]:
    """Events and after them corrections, as NDJSON and as JSON, in bodies within the limits; which of both each is."""
    events = [rejection for rejection in rejections if rejection.content_type != CORRECTION_TYPE]
    for part, lines in _parts(events, corrections, limits):
        yield part, b"\n".join(lines), False
    others = [rejection for rejection in rejections if rejection.content_type == CORRECTION_TYPE]
    for part, lines in _parts(others, corrections, limits):
        yield part, b"[" + b",".join(map(_json_or_null, lines)) + b"]", True


def _parts(
    rejections: Sequence[Rejection], corrections: Mapping[int, bytes], limits: IngestLimits
) -> Iterator[tuple[list[Rejection], list[bytes]]]:
    """Rejections and their lines; a single event is never above the limits."""
    part: list[Rejection] = []
    lines: list[bytes] = []
    size = 0
    for rejection in rejections:
        line = _line(rejection, corrections.get(rejection.sequence))
        if part and (size + len(line) + len(b"[]") >= limits.json_bytes or len(part) == limits.events_per_batch):
            yield part, lines
            part, lines, size = [], [], 0
        part.append(rejection)
        lines.append(line)
        size += len(line) + 1
    if part:
        yield part, lines


def _line(rejection: Rejection, correction: bytes | None) -> bytes:
    """The event as one line. A body that is no JSON stays so, and is refused again."""
    event = rejection.body if correction is None else merge_patch(rejection.body, correction)
    line = event.replace(b"\n", b" ").replace(b"\r", b" ").strip()
    return line or b"null"


def _json_or_null(line: bytes) -> bytes:
    """A line as an item of an array: what is no JSON would make the others unreadable."""
    try:
        _check(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b"null"
    return line
