"""Routes that FastAPI documents and does not run: on a small request, what it does around an endpoint (a walk over all
routes, a stack of contexts, dependencies, parameters) costs more than taking an event or answering a quota check.

All routes are found here, so that one guard stands before each of them (api/access/guard.py)."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request, Any], Awaitable[Response]]
Handlers = Mapping[Any, Any]
Guarded = Callable[[BaseRoute | None, ASGIApp], ASGIApp]
Found = tuple[Route | Mount, frozenset[str] | None, ASGIApp]


class PlainRoute(APIRoute):
    """Its endpoint takes the request and the engine, reads parameters by itself, and gives a Response."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            return await endpoint(request, request.app.state.engine)

        return handle


class PlainRoutes:
    """ASGI middleware: the plain routes of `routes` are answered here, by their method and path; everything else goes
    on to `app`. Exceptions are answered by `handlers`, as they are there. `guarded` puts a guard before each route, and
    before what is none.

    A route without parameters in its path is found by the whole path, the others by what stands before the first of
    them; of these the first that matches answers.
    """

    def __init__(self, app: ASGIApp, *, routes: Iterable[BaseRoute], handlers: Handlers, guarded: Guarded) -> None:
        self._app, self._nothing = app, guarded(None, app)
        self._whole: dict[tuple[str, str], ASGIApp] = {}
        self._beneath: dict[str, list[Found]] = {}
        expected = {raised: handler for raised, handler in handlers.items() if raised not in (500, Exception)}
        self._handlers = expected
        for route in routes:
            answers = _application(route, expected) if isinstance(route, PlainRoute) else app
            self._add(route, guarded(route, answers))

    def _add(self, route: BaseRoute, answers: ASGIApp) -> None:
        assert isinstance(route, Route | Mount), f"{route} is no route that is found by its path"
        methods = None if isinstance(route, Mount) else frozenset(route.methods or ())
        if methods is None or route.param_convertors:
            self._beneath.setdefault(route.path.partition("{")[0], []).append((route, methods, answers))
        else:
            for method in methods:
                self._whole.setdefault((method, route.path), answers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._found(scope)(scope, receive, send)
            except Exception as error:  # of the guard: what a route raises is answered behind it
                response = await _answer_to(error, self._handlers, Request(scope, receive))
                await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _found(self, scope: Scope) -> ASGIApp:
        method, path = scope["method"], scope["path"]
        whole = self._whole.get((method, path))
        if whole is not None:
            return whole
        for prefix, routes in self._beneath.items():
            if path.startswith(prefix):
                for route, methods, answers in routes:
                    if (methods is None or method in methods) and (match := route.path_regex.match(path)):
                        scope["path_params"] = match.groupdict()
                        return answers
        return self._nothing


def _application(route: PlainRoute, handlers: Handlers) -> ASGIApp:
    endpoint: Endpoint = route.endpoint

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = route
        request = Request(scope, receive, send)
        try:
            response = await endpoint(request, scope["app"].state.engine)
        except Exception as error:
            response = await _answer_to(error, handlers, request)
        await response(scope, receive, send)

    return run


async def _answer_to(error: Exception, handlers: Handlers, request: Request) -> Response:
    """What is answered to an expected exception. Raises every other."""
    handler = next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
    if handler is None:
        raise error
    response: Response = await handler(request, error)
    return response
