"""The limits of ingest, each with a default that suits one machine with two cores and a few GiB of memory."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class IngestLimits:
    """Sizes in bytes. What is above a limit is refused with its own error or code, never cut."""

    json_bytes: int = 8 << 20  # a JSON body: BodyTooLarge
    arrow_bytes: int = 64 << 20  # an Arrow body, and what its columns take in memory: BodyTooLarge
    events_per_batch: int = 100_000  # BodyTooLarge
    string_bytes: int = 1024  # source, id, type, subject and each declared string, in UTF-8: string_too_long
    data_bytes: int = 64 << 10  # the JSON of what is not declared, of one event: string_too_long
    future_tolerance: timedelta = timedelta(hours=1)  # how far a client's clock may be ahead: time_in_future
    waiting_batches: int = 256  # Overloaded
    waiting_bytes: int = 256 << 20  # bodies of batches that wait: Overloaded
    group_events: int = 50_000  # events that share one fdatasync; a larger batch is a group of its own
    segment_bytes: int = 64 << 20  # a journal segment is sealed and written to the usage table above this size ...
    segment_age: timedelta = timedelta(seconds=60)  # ... or age
    sealed_segments: int = 8  # sealed segments that the usage table has not taken yet: Overloaded
