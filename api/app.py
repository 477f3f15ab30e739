"""The HTTP application: everything that a request can reach, built from settings alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from api import compat
from api.access.documented import document_access
from api.access.guard import Guard
from api.dashboard.routes import router as dashboard
from api.dashboard.state import running_dashboard
from api.documentation import TAGS, problems
from api.engine import Engine
from api.errors import install
from api.limits import BodyLimit
from api.loop_futures import LoopFutures
from api.observing.request_log import log_request
from api.observing.requests import RequestCounts, Requests
from api.observing.tracing import TracedRequests
from api.plain_route import PlainRoutes
from api.routes import (
    access,
    backfills,
    catalog,
    checks,
    consume,
    corrections,
    credits,
    current_charges,
    customer_states,
    customers,
    docs,
    event_list,
    events,
    exports,
    gateways,
    health,
    leases,
    lines,
    login,
    quota,
    quota_comparison,
    quota_grants,
    rated_events,
    rejections,
    runs,
    shadow,
    signals,
    simulations,
    snapshots,
    subject_records,
    subscriptions,
    usage,
    webhooks,
)
from api.security_headers import PagePolicy
from api.settings import Settings

ROUTES = (
    consume,
    leases,
    quota,
    quota_comparison,
    gateways,
    events,
    event_list,
    corrections,
    backfills,
    rejections,
    usage,
    catalog,
    credits,
    quota_grants,
    current_charges,
    customer_states,
    customers,
    subscriptions,
    runs,
    lines,
    exports,
    checks,
    rated_events,
    shadow,
    simulations,
    signals,
    webhooks,
    snapshots,
    subject_records,
    health,
    access,
)  # tried in this order


class Application(FastAPI):
    """With `Requests` in front of everything, what answers faults of ours too."""

    def build_middleware_stack(self) -> ASGIApp:
        stack, settings = super().build_middleware_stack(), self.state.settings
        traced = TracedRequests(stack) if settings.tracing else stack
        slow_seconds = 0.0 if settings.log_requests == "all" else settings.log_slow_seconds
        return Requests(traced, self.state.requests, log_request, slow_seconds)


_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def create_app(
    settings: Settings, *, engine: Engine | None = None, url: str | None = None, is_local: bool = False
) -> FastAPI:
    """The application on the data directory of `settings`.

    It opens its engine when it starts and closes it when it stops, unless it is given one that the caller owns.
    `url` is where it will be reached; whoever finds the data directory taken is told. `is_local` is for one that is
    reached from this process alone: whoever started it may do everything.
    """
    app = Application(
        title="Tallystick",
        summary="Usage metering and rating: exact, durable, explainable to the single event",
        version=version("tallystick"),
        openapi_tags=TAGS,
        lifespan=_running(settings, engine, url),
        responses=problems(422, 500, 503),
        openapi_url="/openapi.json" if settings.docs else None,
        docs_url=None,
        redoc_url=None,
        telemetry=_NO_TELEMETRY,
    )
    app.state.settings, app.state.requests = settings, RequestCounts()
    install(app)
    for route in ROUTES:
        app.include_router(route.router)
    app.include_router(compat.router)
    app.include_router(login.router)
    if settings.docs:
        docs.install(app)
    app.include_router(dashboard)
    document_access(app)
    guard = Guard(is_local=is_local)
    routes = guard.know(app.router.routes)
    app.add_middleware(PagePolicy)
    app.add_middleware(PlainRoutes, routes=routes, handlers=app.exception_handlers, guarded=guard.around)
    app.add_middleware(BodyLimit, bytes_max=settings.body_bytes_max, arrow_bytes_max=settings.arrow_body_bytes_max)
    return app


def _running(
    settings: Settings, given: Engine | None, url: str | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        app.state.futures = LoopFutures(asyncio.get_running_loop())
        app.state.engine = given or await run_in_threadpool(Engine.open, settings, url=url)
        if given is None:
            app.state.engine.signalling.start()
            app.state.engine.access.start()
        try:
            async with running_dashboard(app):
                yield
        finally:
            if given is None:
                await run_in_threadpool(app.state.engine.close)

    return running
