"""In front of everything else: the id of each request, how many were answered how, and how long they took.

It is on the path of every event and quota check, so it is one function without a coroutine, and counts are plain
integers that are read when somebody scrapes. What it gives up: a request that was never answered, because its client
went away, is not counted.
"""

import re
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.observing.request_ids import HEADER, current, id_of
from rating.histogram import SECONDS, Histogram

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
OTHER = "other"
NO_ROUTE = "none"
"""The route of a request that reached none: an address that is none, or a body that was refused by its length."""

FAILED = 500
_KIND = re.compile(r":\w+(?=\})")
Key = tuple[str, str, int]  # route, method, the first digit of the status
Told = Callable[[Scope, int, float], None]


class RequestCounts:
    """Seconds until the answer began, by route, method and class of status; one event loop adds."""

    def __init__(self) -> None:
        self.of: dict[Key, Histogram] = {}

    def begun(self, key: Key) -> Histogram:
        """For the first of its kind; a method that is none of METHODS is OTHER."""
        path, method, status_class = key
        own = path, method if method in METHODS else OTHER, status_class
        return self.of.setdefault(own, Histogram(SECONDS))

    def items(self) -> list[tuple[Key, Histogram]]:
        """As of now; from any thread."""
        found = [((template_of(path), method, status), seconds) for (path, method, status), seconds in self.of.items()]
        return sorted(found, key=lambda item: item[0])


class Requests:
    """ASGI middleware, the outermost. `told` hears of an answer, its request, status and seconds, where it failed or
    took `slow_seconds`."""

    def __init__(self, app: ASGIApp, counts: RequestCounts, told: Told, slow_seconds: float) -> None:
        self._app, self._counts, self._told, self._slow_seconds = app, counts, told, slow_seconds

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        began_at = perf_counter()
        request_id = id_of(scope["headers"])
        scope.setdefault("state", {})["request_id"] = request_id
        current.set(request_id)

        def sending(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                status, seconds = message["status"], perf_counter() - began_at
                message["headers"] = [*message.get("headers", ()), (HEADER, request_id.encode())]
                route = scope.get("route")
                key = (NO_ROUTE if route is None else route.path), scope["method"], status // 100
                counted = counts.of.get(key) or counts.begun(key)
                counted.counts[bisect_left(SECONDS, seconds)] += 1  # Histogram.add, without the call
                counted.sum += seconds
                if seconds >= slow_seconds or status >= FAILED:
                    told(scope, status, seconds)
            return send(message)

        counts, told, slow_seconds = self._counts, self._told, self._slow_seconds
        return self._app(scope, receive, sending)


def route_of(scope: Scope) -> str:
    """The path of the route that answers, with the names of its parameters: what customers are called is not in it."""
    route: Any = scope.get("route")
    return template_of(getattr(route, "path", NO_ROUTE))


def template_of(path: str) -> str:
    """Without the kinds of its parameters."""
    return _KIND.sub("", path)
