"""The line that the log has for a request: one that was slow or failed, or each.

It has the route with the names of its parameters, not the path and not the query: these name customers.
"""

import logging

from starlette.types import Scope

from api.observing.logs import REQUESTS
from api.observing.requests import FAILED, route_of

_log = logging.getLogger(REQUESTS)
_QUIET = frozenset({"/healthz", "/readyz"})
"""Not ready is no fault, and somebody asks every few seconds."""


def log_request(scope: Scope, status: int, seconds: float) -> None:
    """Write it."""
    route = route_of(scope)
    is_failed = status >= FAILED and route not in _QUIET
    found = {"method": scope["method"][:16], "route": route, "status": status, "seconds": round(seconds, 6)}
    _log.log(logging.WARNING if is_failed else logging.INFO, "request", extra=found)
