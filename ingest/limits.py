"""The limits of ingest, each with a default that suits one machine with two cores and a few GiB of memory.

docs/ingest.md has the table of them, with the setting that changes each and the code that names it in an answer.
"""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class IngestLimits:
    """Sizes in bytes. What is above a limit is refused with its own error or code, never cut."""

    json_bytes: int = 8 << 20  # a body of text (JSON, NDJSON, CSV), as sent: BodyTooLarge
    arrow_bytes: int = 64 << 20  # a body of columns (Arrow, Parquet), and what they take in memory: BodyTooLarge
    inflated_bytes: int = 32 << 20  # a compressed body of text when it is unpacked: InflatedTooLarge
    inflated_ratio: int = 200  # unpacked to packed size, above the first MiB: InflatedTooLarge
    events_per_batch: int = 100_000  # TooManyEvents
    string_bytes: int = 1024  # source, id, type, subject and each declared string, in UTF-8: string_too_long
    data_bytes: int = 64 << 10  # the JSON of what is not declared, of one event: string_too_long
    data_depth: int = 8  # objects and arrays within each other, `data` is the first: nesting_too_deep
    data_properties: int = 128  # undeclared properties of one event: too_many_properties
    refuse_repeated_keys: bool = True  # repeated_key; false: the last one counts, and JSON is decoded 10 % faster
    columns: int = 512  # of a CSV, Arrow or Parquet body: TooManyColumns
    future_tolerance: timedelta = timedelta(hours=1)  # how far a client's clock may be ahead: time_in_future
    waiting_batches: int = 256  # Overloaded
    waiting_bytes: int = 256 << 20  # bodies of batches that wait: Overloaded
    group_events: int = 50_000  # events that share one fdatasync; a larger batch is a group of its own
    segment_bytes: int = 64 << 20  # a journal segment is sealed and written to the usage table above this size ...
    segment_age: timedelta = timedelta(seconds=60)  # ... or age
    sealed_segments: int = 8  # sealed segments that the usage table has not taken yet: Overloaded, DiskFull
    subject_buckets: int = 4  # of the usage table, when it is made
    merged_files: int = 8  # so many files of a day, bucket and size are merged into one
    merged_rows: int = 500_000  # rows that one pass rewrites, and of a merged file; 0.3 GiB of memory
    maintenance_share: float = 0.25  # of the flushing thread's time while there is something to merge
    files_under_load: int = 2_000  # of the usage table; beyond it files are merged even while batches wait
    retention_hours: int = 1  # how long a merged file stays for readers of an older version; at most 168
    rejection_body_bytes: int = 64 << 10  # of a rejected event's body that are kept; the rest is cut, and said so
    rejections_bytes: int = 256 << 20  # all rejections that are kept; beyond it the oldest are dropped
    rejections_age: timedelta = timedelta(days=30)  # after which they are dropped
