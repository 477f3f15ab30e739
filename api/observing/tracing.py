"""Traces by OpenTelemetry, off unless asked for: its packages are an extra, its variables (`OTEL_...`) configure it."""

import os
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.observing.requests import route_of
from rating.spans import trace_with

NAME = "tallystick"
_FAILED = 500


def configure_tracing() -> None:
    """Trace from now on, and send what OTEL_TRACES_EXPORTER says: otlp (over HTTP) unless it is console or none.

    Raises ImportError without the packages, and ValueError for another exporter.
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    is_named = "OTEL_SERVICE_NAME" in os.environ or "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if is_named else {"service.name": NAME}))
    exporter = _exporter(os.environ.get("OTEL_TRACES_EXPORTER", "otlp"))
    if exporter is not None:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace_with(provider.get_tracer(NAME))


def _exporter(kind: str) -> Any:
    if kind == "none":
        return None
    if kind == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    if kind != "otlp":
        raise ValueError(f"OTEL_TRACES_EXPORTER is {kind!r}; set otlp, console or none")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


class TracedRequests:
    """ASGI middleware: a span for each request, below that of a caller who names his (`traceparent`)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from opentelemetry.context import attach, detach
        from opentelemetry.propagate import extract

        from rating.spans import span

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = attach(extract({name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}))
        try:
            with span("request", request_id=scope["state"]["request_id"]) as found:
                await self._app(scope, receive, _noting(scope, send, found))
        finally:
            detach(token)


def _noting(scope: Scope, send: Send, found: Any) -> Send:
    """Name the span for its route, once that is known."""

    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            method, route, status = scope["method"], route_of(scope), message["status"]
            found.update_name(f"{method} {route}")
            found.set_attributes(
                {"http.request.method": method, "http.route": route, "http.response.status_code": status}
            )
            if status >= _FAILED:
                from opentelemetry.trace import StatusCode

                found.set_status(StatusCode.ERROR)
        await send(message)

    return noting
