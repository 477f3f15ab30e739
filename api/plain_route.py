"""Routes that FastAPI documents and does not run: on a small request, what it does around an endpoint (a walk over all
routes, a stack of contexts, dependencies, parameters) costs more than taking an event."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request, Any], Awaitable[Response]]


class PlainRoute(APIRoute):
    """Its endpoint takes the request and the engine, reads parameters by itself, and gives a Response."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            return await endpoint(request, request.app.state.engine)

        return handle


class PlainRoutes:
    """ASGI middleware: the plain routes of `routes` that have no parameter in their path are answered here, by their
    method and path; everything else goes on to `app`. Exceptions are answered by `handlers`, as they are there."""

    def __init__(self, app: ASGIApp, *, routes: Iterable[BaseRoute], handlers: Mapping[Any, Any]) -> None:
        self._app = app
        expected = {raised: handler for raised, handler in handlers.items() if raised not in (500, Exception)}
        self._plain = {
            (method, route.path): ExceptionMiddleware(_application(route.endpoint), handlers=expected)
            for route in routes
            if isinstance(route, PlainRoute) and not route.param_convertors
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plain = self._plain.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        await (plain or self._app)(scope, receive, send)


def _application(endpoint: Endpoint) -> ASGIApp:
    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await endpoint(request, scope["app"].state.engine)
        await response(scope, receive, send)

    return run
