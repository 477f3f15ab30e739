"""Spans of a request, what it leads to, and a rating run; off unless a server traces."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from api.app import create_app
from api.engine import Engine
from api.settings import Settings
from rating import spans
from tests.api.conftest import CATALOG, NOW, event

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    spans.trace_with(provider.get_tracer("test"))
    yield kept
    spans.trace_with(None)


def test_without_a_tracer_nothing_is_made() -> None:
    assert spans.span("a") is spans.span("b")
    assert spans.here() is None


def test_a_request_its_commit_and_a_run_are_spans(tmp_path: Path, exporter: InMemorySpanExporter) -> None:
    engine = Engine.open(Settings(data=tmp_path / "data"), now=lambda: NOW)
    app = create_app(engine.settings.model_copy(update={"tracing": True}), engine=engine)
    with TestClient(app) as client:
        client.put("/v1/catalog", json=CATALOG)
        client.put("/v1/customers/zz-customer", json={"subjects": ["zz-subject"]})
        exporter.clear()
        posted = client.post("/v1/events", json=[event("zz-id", subject="zz-subject")], headers={"traceparent": PARENT})
        client.post("/v1/rating-runs", json={"period": "2026-10"})
        engine.log.flush()
    engine.close()
    found = {span.name: span for span in exporter.get_finished_spans()}
    steps = {"POST /v1/events", "admit", "commit", "flush", "rating run", "gather", "rate part", "store part"}
    assert steps <= found.keys()
    request, run = found["POST /v1/events"], found["rating run"]
    assert f"{request.parent.span_id:x}" == PARENT.split("-")[2]  # type: ignore[union-attr]
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["tallystick.request_id"] == posted.headers["x-request-id"]
    assert is_below(found["admit"], request)
    assert [link.context.span_id for link in found["commit"].links] == [found["admit"].context.span_id]
    assert all(is_below(found[step], run) for step in ("gather", "rate part", "store part"))
    assert "zz-" not in "".join(span.to_json() for span in found.values())


def is_below(span: ReadableSpan, other: ReadableSpan) -> bool:
    assert other.context is not None
    return span.parent is not None and span.parent.span_id == other.context.span_id


def test_of_an_exception_only_the_type_is_told(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(KeyError), spans.span("step"):
        raise KeyError("zz-customer")
    [span] = exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "KeyError"
    assert "zz-customer" not in span.to_json()
