"""The guard looks a route up by itself; the framework answers by its own search. They must mean the same route."""

import random
import re
from pathlib import Path

from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import Receive, Scope, Send

from api.access.guard import Guard
from api.app import create_app
from api.plain_route import PlainRoutes
from api.settings import Settings

DRAWN = 60  # paths for each route with parameters


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Never called."""


def paths_of(route: BaseRoute, segments: list[str], drawn: random.Random) -> set[str]:
    """Paths that look like the route's, with pieces of other routes where its parameters are."""
    if isinstance(route, Mount):
        return {f"{route.path}/{segment}" for segment in segments}
    assert isinstance(route, Route)

    def value(_: re.Match[str]) -> str:
        return "/".join(drawn.choices(segments, k=drawn.choice((1, 1, 1, 2, 3))))

    times = DRAWN if "{" in route.path_format else 1
    return {re.sub(r"{\w+}", value, route.path_format) for _ in range(times)}


def test_the_guard_stands_before_the_route_that_answers(tmp_path: Path) -> None:
    app, drawn = create_app(Settings(data=tmp_path)), random.Random(7)
    routes = Guard().know(app.router.routes)
    found = PlainRoutes(nothing, routes=routes, handlers={}, guarded=lambda route, answers: route)  # type: ignore[arg-type, return-value]
    known = {part for route in routes if isinstance(route, Route) for part in route.path_format.split("/")}
    segments = ["x", *sorted(part for part in known if part and "{" not in part)]
    asked = {
        (method, path)
        for route in routes
        for path in paths_of(route, segments, drawn)
        for method in ("GET", "POST", *(getattr(route, "methods", None) or ()))
    }
    assert len(asked) > 3_000
    for method, path in sorted(asked):
        scope = {"type": "http", "method": method, "path": path, "root_path": "", "headers": [], "query_string": b""}
        answers = next((route for route in routes if route.matches(dict(scope))[0] is Match.FULL), None)
        assert found._found(dict(scope)) is answers, f"{method} {path}"
