"""Every metric of `GET /metrics`: its name, what it is, and its labels. docs/observability.md has the same table.

A counter begins at 0 with each start of the process; a gauge is read when somebody scrapes. Labels take values that the
program or the catalog names, never those of customers, subjects or keys.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
PREFIX = "tallystick_"


@dataclass(frozen=True)
class Metric:
    """`name` is without PREFIX."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def whole_name(self) -> str:
        return PREFIX + self.name


_METRICS = (
    Metric("build_info", "gauge", "1, with the version that runs", ("version", "python")),
    Metric("collector_up", "gauge", "whether this part of the metrics could be read; 0 where not", ("collector",)),
    Metric("http_requests_total", "counter", "requests that were answered", ("route", "method", "status")),
    Metric("http_request_duration_seconds", "histogram", "until the answer began", ("route", "method", "status")),
    Metric("events_total", "counter", "events by what became of them; accepted ones are durable", ("verdict",)),
    Metric("events_rejected_total", "counter", "rejected events by the first rule that they break", ("code",)),
    Metric("events_bytes_total", "counter", "bytes of the bodies with events, unpacked"),
    Metric("commit_group_events", "histogram", "events that shared one sync of the journal"),
    Metric("commit_group_batches", "histogram", "request bodies that shared one sync of the journal"),
    Metric("journal_sync_duration_seconds", "histogram", "fdatasync of the journal, on the path of every event"),
    Metric("journal_bytes", "gauge", "size of the journal"),
    Metric("journal_segments", "gauge", "files of the journal"),
    Metric("journal_sealed_segments", "gauge", "segments that wait for the usage table"),
    Metric("log_last_sequence", "gauge", "events ever accepted: it does not begin at 0 with a start"),
    Metric("log_waiting_batches", "gauge", "request bodies that wait for the writer"),
    Metric("log_failed", "gauge", "1 when the log takes no event until the process has started again"),
    Metric("log_full", "gauge", "1 while events are refused because the disk is full"),
    Metric("flush_lag_seconds", "gauge", "age of the oldest event that is in the journal only"),
    Metric("flush_lag_events", "gauge", "events that are in the journal only"),
    Metric("flush_duration_seconds", "histogram", "writing one segment to the usage table"),
    Metric("flushed_events_total", "counter", "events that were written to the usage table"),
    Metric("table_files", "gauge", "files of the usage table"),
    Metric("identities", "gauge", "event identities in the index of duplicates"),
    Metric("identities_memory_bytes", "gauge", "memory of that index"),
    Metric("rejections", "gauge", "rejected and conflicting events that are kept"),
    Metric("quota_answers_total", "counter", "answers to quota questions, by the way they came", ("way", "reason")),
    Metric("quota_features_uncounted", "gauge", "features whose usage cannot be counted: they answer 503"),
    Metric("quota_counting_failed", "gauge", "1 while the counters could not be brought up to date"),
    Metric("leases_open", "gauge", "open leases"),
    Metric("leases_overspent_total", "counter", "reports that said more than their slice had"),
    Metric("leases_unreported_total", "counter", "leases that expired before all of their slice was reported"),
    Metric(
        "quota_reserved",
        "gauge",
        "held by open leases and calls under way, in the unit of the feature: how far limits can be passed",
        ("feature",),
    ),
    Metric("outbox_waiting", "gauge", "signals that are not recorded yet"),
    Metric("outbox_oldest_age_seconds", "gauge", "how long the oldest of them waits"),
    Metric("signals_last_sequence", "gauge", "signals ever recorded"),
    Metric("signal_streams", "gauge", "clients of the event stream"),
    Metric("webhook_attempts_total", "counter", "tries to deliver a signal, by what came of them", ("outcome",)),
    Metric("webhook_waiting", "gauge", "signals that wait for an endpoint", ("endpoint",)),
    Metric("webhook_oldest_age_seconds", "gauge", "how long ago the oldest of them was raised", ("endpoint",)),
    Metric("webhook_dead", "gauge", "deliveries that were given up", ("endpoint",)),
    Metric("webhook_disabled", "gauge", "1 where an endpoint is disabled", ("endpoint",)),
    Metric("rating_runs", "gauge", "rating runs on record, by status", ("status",)),
    Metric("rating_run_duration_seconds", "histogram", "from the start of a run to its record", ("status",)),
    Metric("backfills_open", "gauge", "backfills that take events"),
    Metric("disk_free_bytes", "gauge", "room for the data directory"),
    Metric("disk_free_inodes", "gauge", "files that there is room for; some file systems have no such limit"),
)
METRICS = {metric.whole_name: metric for metric in _METRICS}
"""By name."""
