"""What a submitted batch is answered with. The codes are part of the HTTP contract: add, never rename."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

ACCEPTED, DUPLICATE, CONFLICT = "accepted", "duplicate", "conflict"
NOT_COMMITTED_ATOMIC = "not_committed_atomic"
OUTSIDE_BACKFILL = "outside_backfill"

REJECTIONS = (
    "malformed_event",
    "unsupported_specversion",
    "missing_id",
    "missing_source",
    "missing_type",
    "missing_subject",
    "invalid_time",
    "time_without_zone",
    "time_in_future",
    "not_a_number",
    "number_out_of_range",
    "too_many_decimals",
    "not_a_string",
    "string_too_long",
    "float_column",
    "invalid_character",
    "repeated_key",
    "nesting_too_deep",
    "too_many_properties",
    "invalid_action",
    "invalid_corrects",
    "void_with_content",
    "missing_data",
    "unknown_target",
    "target_is_void",
    "target_in_backfill",
    "already_corrected",
    OUTSIDE_BACKFILL,
    NOT_COMMITTED_ATOMIC,
)
"""Each with its cure in docs/ingest.md."""


@dataclass(frozen=True, slots=True)
class EventVerdict:
    """One event of a batch that was not accepted; `index` counts from 0, `source` and `id` are null when unreadable."""

    index: int
    source: str | None
    id: str | None
    code: str
    message: str

    def moved(self, by: int) -> "EventVerdict":
        """The verdict on the same event in another batch, where its index is `by` more."""
        return replace(self, index=self.index + by)


def repetition(index: int, source: str, key: str, difference: str | None) -> EventVerdict:
    """The verdict on an event whose identity was accepted before, with another `difference` or with the same body."""
    if difference is None:
        return EventVerdict(index, source, key, DUPLICATE, "this event was accepted before; nothing to do")
    message = (
        f"this source and id were accepted before and its {difference} is another; the first stands. Send a new id"
    )
    return EventVerdict(index, source, key, CONFLICT, message)


@dataclass(frozen=True, slots=True)
class BatchVerdict:
    """How many events of a batch ended how, and each that was not accepted, in the order of the batch.

    When a caller holds this, every event that it counts as accepted or duplicate is durable.
    """

    accepted: int
    duplicate: int
    conflict: int
    rejected: int
    events: tuple[EventVerdict, ...]
    is_atomic_refusal: bool = False
    """The batch was to be taken whole or not at all, and was not."""

    @property
    def total(self) -> int:
        """The number of events in the batch."""
        return self.accepted + self.duplicate + self.conflict + self.rejected


def batch_verdict(total: int, events: Iterable[EventVerdict], *, is_atomic_refusal: bool = False) -> BatchVerdict:
    """The verdict on a batch of `total` events of which `events` were not accepted."""
    ordered = tuple(sorted(events, key=lambda verdict: verdict.index))
    duplicate = sum(verdict.code == DUPLICATE for verdict in ordered)
    conflict = sum(verdict.code == CONFLICT for verdict in ordered)
    rejected = len(ordered) - duplicate - conflict
    return BatchVerdict(total - len(ordered), duplicate, conflict, rejected, ordered, is_atomic_refusal)
