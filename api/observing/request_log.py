"""Which requests the log has a line for: those that were slow or failed, or all of them.

A line has the route with the names of its parameters, not the path and not the query: these name customers.
"""

import logging

from starlette.types import Scope

from api.observing.requests import route_of

_log = logging.getLogger("tallystick.requests")
FAILED = 500
_QUIET = frozenset({"/healthz", "/readyz"})
"""Not ready is no fault of ours, and somebody asks every few seconds."""


class RequestLog:
    """Hears of each answer."""

    def __init__(self, which: str, slow_seconds: float) -> None:
        self._is_all, self._slow_seconds = which == "all", slow_seconds

    def __call__(self, scope: Scope, status: int, seconds: float) -> None:
        if status >= FAILED or seconds >= self._slow_seconds or self._is_all:
            self._write(scope, status, seconds)

    def _write(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_of(scope)
        is_failed = status >= FAILED and route not in _QUIET
        found = {"method": scope["method"][:16], "route": route, "status": status, "seconds": round(seconds, 6)}
        _log.log(logging.WARNING if is_failed else logging.INFO, "request", extra=found)
