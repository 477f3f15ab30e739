"""Metrics count what has happened, exactly, and name nobody."""

from decimal import Decimal
from pathlib import Path

import httpx2
import polars as pl
import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.observing.collecting import FEATURES_MAX, OTHER, by_feature
from api.observing.metric_table import METRICS
from api.settings import Settings
from rating.core.quota.seam import RESERVED
from rating.histogram import Histogram
from store.errors import DatabaseUnavailable
from tests.api.conftest import NOW, event
from tests.observing.scraped import one, scraped

MARKER = "zz-marker"


def test_events_are_counted_by_their_verdicts(sold: httpx2.Client) -> None:
    """Two bodies: 3 accepted, 1 duplicate, 1 conflict, 2 rejected."""
    first = [event("1"), event("2"), event("2"), event(None), event("3", time="never")]
    changed = event("1", data={"model": "big", "input_tokens": 7})
    assert sold.post("/v1/events", json=first).status_code == 207
    assert sold.post("/v1/events", json=[changed, event("4")]).status_code == 207
    found = scraped(sold.get("/metrics"))
    verdicts = {name: one(found, "events_total", verdict=name) for name in ("accepted", "duplicate", "conflict")}
    assert verdicts == {"accepted": 3, "duplicate": 1, "conflict": 1}
    assert one(found, "events_total", verdict="rejected") == 2
    assert one(found, "events_rejected_total", code="missing_id") == 1
    assert one(found, "events_rejected_total", code="invalid_time") == 1
    assert one(found, "log_last_sequence") == one(found, "flush_lag_events") == one(found, "identities") == 3
    assert one(found, "commit_group_events_sum") == 7
    assert one(found, "commit_group_events_count") == one(found, "commit_group_batches_sum") == 2
    assert one(found, "journal_sync_duration_seconds_count") == 2
    assert one(found, "rejections") == 3
    assert one(found, "journal_bytes") > 0


def test_requests_are_counted_by_the_route_and_not_by_the_path(sold: httpx2.Client) -> None:
    for subject in ("acme", "nobody", MARKER):
        sold.get(f"/v1/quota/{subject}/tokens")
    sold.get(f"/v1/{MARKER}")
    sold.request(MARKER.upper(), "/v1/events")
    answer = sold.get("/metrics")
    found, route = scraped(answer), "/v1/quota/{subject}/{feature}"
    assert one(found, "http_requests_total", route=route, method="GET", status="2xx") == 1
    assert one(found, "http_requests_total", route=route, method="GET", status="4xx") == 2
    assert one(found, "http_request_duration_seconds_count", route=route, method="GET", status="4xx") == 2
    assert one(found, "http_requests_total", route="none", method="GET", status="4xx") == 1
    assert one(found, "quota_answers_total", way="check", reason="allowed") == 1
    assert one(found, "quota_answers_total", way="check", reason="not_entitled") == 2
    assert MARKER not in answer.text.lower()


def test_what_leases_hold_is_the_bound_of_overshoot(sold: httpx2.Client) -> None:
    asked = {"subject": "acme", "feature": "tokens", "amount": "300", "seconds": 60}
    made = sold.post("/v1/leases", json=asked)
    assert made.status_code == 201, made.text
    sold.post("/v1/quota/check", json={"items": [{"subject": "acme", "feature": "tokens"}] * 3})
    found = scraped(sold.get("/metrics"))
    assert one(found, "leases_open") == 1
    assert one(found, "quota_reserved", feature="tokens") == float(made.json()["granted"]) == 300
    assert one(found, "quota_answers_total", way="lease", reason="allowed") == 1
    assert one(found, "quota_answers_total", way="batch", reason="allowed") == 3


def test_rating_runs_are_counted_by_status(sold: httpx2.Client) -> None:
    assert sold.post("/v1/rating-runs", json={"period": "2026-10"}).status_code in (200, 201)
    found = scraped(sold.get("/metrics"))
    assert one(found, "rating_runs", status="done") == 1
    assert one(found, "rating_run_duration_seconds_count", status="done") == 1


def test_every_metric_of_a_scrape_is_in_the_table_with_its_labels(sold: httpx2.Client) -> None:
    sold.post("/v1/events", json=[event("1"), event(None)])
    found = scraped(sold.get("/metrics"))
    for name, samples in found.items():
        if name.startswith("tallystick_"):
            base = next(
                n for n in (name, *(name.removesuffix(s) for s in ("_bucket", "_sum", "_count"))) if n in METRICS
            )
            labels = {key for sample in samples for key, _ in sample}
            assert labels - {"le"} == set(METRICS[base].labels), name
    assert {"process_resident_memory_bytes", "process_open_fds"} <= found.keys()


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_a_name_follows_the_conventions(metric: object) -> None:
    name, kind = metric.whole_name, metric.kind  # type: ignore[attr-defined]
    assert name.endswith("_total") == (kind == "counter")
    assert not name.endswith(("_ms", "_minutes", "_kb", "_mb"))
    assert not set(metric.labels) & {"subject", "customer", "key", "id"}  # type: ignore[attr-defined]


def test_a_database_that_is_away_takes_only_its_own_metrics_with_it(
    sold: httpx2.Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(type(engine.store.webhooks), "standing", lambda _self: away())
    found = scraped(sold.get("/metrics"))
    assert one(found, "collector_up", collector="webhooks") == 0
    assert one(found, "collector_up", collector="log") == 1
    assert one(found, "disk_free_bytes") > 0


def test_many_features_are_not_as_many_series() -> None:
    rows = [("acme", f"f{n:03d}", Decimal(1), 1) for n in range(FEATURES_MAX + 5)]
    held = by_feature(pl.DataFrame(rows, schema=RESERVED, orient="row"))
    assert len(held) == FEATURES_MAX + 1
    assert held[-1] == (OTHER, 5.0)


def test_a_histogram_counts_a_bound_into_its_own_bucket() -> None:
    seconds = Histogram([1.0, 2.0])
    for value in (0.5, 1.0, 1.5, 2.0, 3.0):
        seconds.add(value)
    assert seconds.cumulative() == [("1.0", 2), ("2.0", 4), ("+Inf", 5)]
    assert seconds.sum == 8.0


def test_a_start_begins_counters_anew_and_keeps_what_is_durable(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    for accepted, total in ((2, 2), (1, 3)):
        engine = Engine.open(settings, now=lambda: NOW)
        with TestClient(create_app(settings, engine=engine)) as client:
            client.post("/v1/events", json=[event(f"{total}-{n}") for n in range(accepted)])
            found = scraped(client.get("/metrics"))  # type: ignore[arg-type]
        engine.close()
        assert one(found, "events_total", verdict="accepted") == accepted
        assert one(found, "log_last_sequence") == total
