"""What a log has done since its process began: counted a group at a time, so an event costs nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from ingest.verdicts import CONFLICT, DUPLICATE, BatchVerdict
from rating.histogram import LONG_SECONDS, SECONDS, SIZES, Histogram

_code = attrgetter("code")


@dataclass
class IngestCounts:
    """The writer's thread adds verdicts and groups, the flusher's adds flushes; any thread may read."""

    accepted: int = 0
    not_accepted: Counter[str] = field(default_factory=Counter)  # by the code of the verdict
    bytes: int = 0  # of the bodies, unpacked
    group_events: Histogram = field(default_factory=lambda: Histogram(SIZES))
    group_batches: Histogram = field(default_factory=lambda: Histogram(SIZES))
    sync_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    flush_seconds: Histogram = field(default_factory=lambda: Histogram(LONG_SECONDS))
    flushed_events: int = 0

    def judged(self, verdicts: Sequence[BatchVerdict], batches: int, size: int) -> None:
        """A group of `batches` bodies with `size` bytes has its verdicts; those who sent them are told after this."""
        events = 0
        for verdict in verdicts:
            events += verdict.total
            self.accepted += verdict.accepted
            if verdict.events:
                self.not_accepted.update(map(_code, verdict.events))
        self.bytes += size
        self.group_events.add(events)
        self.group_batches.add(batches)

    def flushed(self, events: int, seconds: float) -> None:
        """A segment was written to the usage table."""
        self.flushed_events += events
        self.flush_seconds.add(seconds)

    @property
    def by_verdict(self) -> dict[str, int]:
        """Events by what became of them; the sum of the last is that of `rejected_by_code`."""
        found = dict(self.not_accepted)
        duplicate, conflict = found.pop(DUPLICATE, 0), found.pop(CONFLICT, 0)
        return {
            "accepted": self.accepted,
            "duplicate": duplicate,
            "conflict": conflict,
            "rejected": sum(found.values()),
        }

    @property
    def rejected_by_code(self) -> dict[str, int]:
        """Rejected events by the first rule that they break."""
        return {code: n for code, n in dict(self.not_accepted).items() if code not in (DUPLICATE, CONFLICT)}
