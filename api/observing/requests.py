"""In front of everything else: the id of each request, how many were answered how, and how long they took.

It is on the path of every event and quota check, so it is one function without a coroutine, and counts are plain
integers that are read when somebody scrapes. What it gives up: a request that was never answered, because its client
went away, is not counted.
"""

import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.observing.request_ids import HEADER, current, id_of
from rating.histogram import SECONDS, Histogram

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
NO_ROUTE = "none"
"""The route of a request that reached none: an address that is none, or a body that was refused by its length."""

_KIND = re.compile(r":\w+(?=\})")
Key = tuple[str, str, int]  # route, method, the first digit of the status
Told = Callable[[Scope, int, float], None]


class RequestCounts:
    """Seconds until the answer began, by route, method and class of status; one event loop adds."""

    def __init__(self) -> None:
        self._of: dict[Key, Histogram] = {}

    def add(self, route: str, method: str, status: int, seconds: float) -> None:
        """One request was answered."""
        key = route, method, status // 100
        found = self._of.get(key)
        if found is None:
            found = self._of[key] = Histogram(SECONDS)
        found.add(seconds)

    def items(self) -> list[tuple[Key, Histogram]]:
        """As of now; from any thread."""
        return sorted(self._of.items(), key=lambda item: item[0])


class Requests:
    """ASGI middleware, the outermost; `told` hears of each answer: its request, status and seconds."""

    def __init__(self, app: ASGIApp, counts: RequestCounts, told: Told) -> None:
        self._app, self._counts, self._told = app, counts, told

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        began_at = perf_counter()
        request_id = id_of(scope["headers"])
        scope.setdefault("state", {})["request_id"] = request_id
        current.set(request_id)

        def sending(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER, request_id.encode())]
                self._answered(scope, message["status"], perf_counter() - began_at)
            return send(message)

        return self._app(scope, receive, sending)

    def _answered(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"]
        self._counts.add(route_of(scope), method if method in METHODS else "other", status, seconds)
        self._told(scope, status, seconds)


def route_of(scope: Scope) -> str:
    """The path of the route that answers, with the names of its parameters: what customers are called is not in it."""
    route: Any = scope.get("route")
    return template_of(getattr(route, "path", None) or NO_ROUTE)


@lru_cache(maxsize=1024)
def template_of(path: str) -> str:
    """Without the kinds of its parameters."""
    return _KIND.sub("", path)
