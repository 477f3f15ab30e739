"""Routes that FastAPI documents and does not run: on a small request, what it does around an endpoint (a walk over all
routes, a stack of contexts, dependencies, parameters) costs more than taking an event or answering a quota check."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request, Any], Awaitable[Response]]
Handlers = Mapping[Any, Any]


class PlainRoute(APIRoute):
    """Its endpoint takes the request and the engine, reads parameters by itself, and gives a Response."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            return await endpoint(request, request.app.state.engine)

        return handle


class PlainRoutes:
    """ASGI middleware: the plain routes of `routes` are answered here, by their method and path; everything else goes
    on to `app`. Exceptions are answered by `handlers`, as they are there.

    A route without parameters in its path is found by the whole path, the others by what stands before the first of
    them; of these the first that matches answers, so parameters are text.
    """

    def __init__(self, app: ASGIApp, *, routes: Iterable[BaseRoute], handlers: Handlers) -> None:
        self._app = app
        self._whole: dict[tuple[str, str], ASGIApp] = {}
        self._beneath: dict[str, list[tuple[APIRoute, ASGIApp]]] = {}
        expected = {raised: handler for raised, handler in handlers.items() if raised not in (500, Exception)}
        for route in routes:
            if isinstance(route, PlainRoute):
                self._add(route, _application(route, expected))

    def _add(self, route: PlainRoute, answers: ASGIApp) -> None:
        if route.param_convertors:
            self._beneath.setdefault(route.path.partition("{")[0], []).append((route, answers))
        else:
            self._whole.update({(method, route.path): answers for method in route.methods or ()})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        plain = self._found(scope) if scope["type"] == "http" else None
        await (plain or self._app)(scope, receive, send)

    def _found(self, scope: Scope) -> ASGIApp | None:
        method, path = scope["method"], scope["path"]
        whole = self._whole.get((method, path))
        if whole is not None:
            return whole
        for prefix, routes in self._beneath.items():
            if path.startswith(prefix):
                for route, answers in routes:
                    if method in (route.methods or ()) and (match := route.path_regex.match(path)):
                        scope["path_params"] = match.groupdict()
                        return answers
        return None


def _application(route: PlainRoute, handlers: Handlers) -> ASGIApp:
    endpoint: Endpoint = route.endpoint

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = route
        request = Request(scope, receive, send)
        try:
            response = await endpoint(request, scope["app"].state.engine)
        except Exception as error:
            handler = next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
            if handler is None:
                raise
            response = await handler(request, error)
        await response(scope, receive, send)

    return run
