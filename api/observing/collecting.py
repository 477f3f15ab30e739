"""What the metrics are at this moment, read from the state that the parts of an engine keep anyway."""

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import TypeAlias

import polars as pl

from api.engine import Engine
from api.observing.requests import RequestCounts
from rating.histogram import Histogram

Sample: TypeAlias = tuple[str, tuple[str, ...], float | Histogram]
"""Name without prefix, values of the labels, value."""

FEATURES_MAX = 200
OTHER = "_other"
"""The features behind the first FEATURES_MAX, as one."""


def collectors(engine: Engine, requests: RequestCounts) -> Mapping[str, Callable[[], Iterator[Sample]]]:
    """By name; each may fail by itself, as those that ask the database do while it is away."""
    return {
        "build": _build,
        "requests": lambda: _requests(requests),
        "log": lambda: _log(engine),
        "quota": lambda: _quota(engine),
        "signals": lambda: _signals(engine),
        "webhooks": lambda: _webhooks(engine),
        "rating": lambda: _rating(engine),
        "disk": lambda: _disk(engine),
    }


def _build() -> Iterator[Sample]:
    yield "build_info", (version("tallystick"), platform.python_version()), 1


def _requests(requests: RequestCounts) -> Iterator[Sample]:
    for (route, method, status_class), seconds in requests.items():
        labels = route, method, f"{status_class}xx"
        yield "http_requests_total", labels, sum(seconds.counts)
        yield "http_request_duration_seconds", labels, seconds


def _log(engine: Engine) -> Iterator[Sample]:
    counts, status = engine.log.counts, engine.log.status()
    for verdict, events in counts.by_verdict.items():
        yield "events_total", (verdict,), events
    for code, events in sorted(counts.rejected_by_code.items()):
        yield "events_rejected_total", (code,), events
    yield "events_bytes_total", (), counts.bytes
    yield "commit_group_events", (), counts.group_events
    yield "commit_group_batches", (), counts.group_batches
    yield "journal_sync_duration_seconds", (), counts.sync_seconds
    yield "flush_duration_seconds", (), counts.flush_seconds
    yield "flushed_events_total", (), counts.flushed_events
    yield "journal_bytes", (), status["journal_bytes"]
    yield "journal_segments", (), status["journal_segments"]
    yield "journal_sealed_segments", (), status["sealed_segments"]
    yield "log_last_sequence", (), status["last_sequence"]
    yield "log_waiting_batches", (), status["waiting_batches"]
    yield "log_failed", (), status["failure"] is not None
    yield "log_full", (), status["full"] is not None
    yield "flush_lag_seconds", (), _age(engine, status["behind_since"])
    yield "flush_lag_events", (), status["events_behind_table"]
    yield "table_files", (), status["table_files"]
    yield "identities", (), status["known_identities"]
    yield "identities_memory_bytes", (), status["identities_memory_bytes"]
    yield "rejections", (), status["rejections"]["kept"]
    yield "backfills_open", (), len(engine.backfills.status()["open"])


def _quota(engine: Engine) -> Iterator[Sample]:
    for (way, reason), answers in engine.quota.answers.items():
        yield "quota_answers_total", (way, reason), answers
    yield "quota_features_uncounted", (), len(engine.quota.uncounted)
    yield "quota_counting_failed", (), engine.quota.trouble is not None
    leases = engine.leases.status()
    yield "leases_open", (), leases["open"]
    yield "leases_overspent_total", (), leases["overspent"]
    yield "leases_unreported_total", (), leases["unreported"]
    for feature, reserved in by_feature(engine.quota.reserved()):
        yield "quota_reserved", (feature,), reserved


def by_feature(reserved: pl.DataFrame) -> list[tuple[str, float]]:
    """What is held of each feature (RESERVED), of the first FEATURES_MAX by name; the others together."""
    sums = reserved.group_by("feature").agg(pl.col("reserved").sum().cast(pl.Float64)).sort("feature")
    shown = [(str(feature), float(held)) for feature, held in sums.head(FEATURES_MAX).iter_rows()]
    more = sums.slice(FEATURES_MAX)
    return [*shown, (OTHER, float(more.get_column("reserved").sum()))] if more.height else shown


def _signals(engine: Engine) -> Iterator[Sample]:
    outbox = engine.signalling.outbox
    yield "outbox_waiting", (), outbox.waiting
    yield "outbox_oldest_age_seconds", (), outbox.oldest_seconds
    yield "signal_streams", (), engine.signalling.streams.open
    yield "signals_last_sequence", (), engine.store.signals.last_sequence()


def _webhooks(engine: Engine) -> Iterator[Sample]:
    for outcome, tries in engine.signalling.deliverer.outcomes.items():
        yield "webhook_attempts_total", (outcome,), tries
    for each in engine.store.webhooks.standing():
        yield "webhook_waiting", (each.endpoint,), each.waiting + each.behind
        yield "webhook_oldest_age_seconds", (each.endpoint,), _age(engine, each.oldest_at)
        yield "webhook_dead", (each.endpoint,), each.dead
        yield "webhook_disabled", (each.endpoint,), each.state == "disabled"


def _rating(engine: Engine) -> Iterator[Sample]:
    for status, seconds in engine.rating.durations.items():
        yield "rating_run_duration_seconds", (status,), seconds
    counts = engine.store.runs.counts()
    for status in ("running", "done", "failed", "interrupted"):
        yield "rating_runs", (status,), counts.get(status, 0)


def _disk(engine: Engine) -> Iterator[Sample]:
    room = os.statvfs(engine.settings.data)
    yield "disk_free_bytes", (), room.f_bavail * room.f_frsize
    yield "disk_free_inodes", (), room.f_favail


def _age(engine: Engine, since: datetime | None) -> float:
    return 0.0 if since is None else max((engine.now() - since).total_seconds(), 0.0)
