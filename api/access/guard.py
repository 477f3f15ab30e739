"""Stands before every route: who asks, may they, and is it theirs. Nothing else decides on that."""

from collections.abc import Iterable, Iterator

from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.access import Access
from api.access.caller import EVERYTHING, LOCAL, Caller
from api.access.errors import Denied, NotAllowed
from api.access.requirements import Requirement, requirement_of
from api.errors import problem_response

_UNKNOWN = Requirement(None)


class Guard:
    """`is_local` is for an application without a network: who can open the data directory may do everything."""

    def __init__(self, *, is_local: bool = False) -> None:
        self._is_local = is_local

    def know(self, routes: Iterable[BaseRoute]) -> list[BaseRoute]:
        """The routes that are found by a path, in their order. Raises LookupError for one without a requirement."""
        found = list(_found_by_path(routes))
        for route in found:
            _requirement_of(route)
        return found

    def around(self, route: BaseRoute | None, answers: ASGIApp) -> ASGIApp:
        """`answers` behind the requirement of `route`; without a route, behind being known at all."""
        requirement = _UNKNOWN if route is None else _requirement_of(route)
        is_open = route is not None and requirement.scope is None

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            state = scope.setdefault("state", {})
            try:
                caller = state["caller"] = self._identified(scope, requirement)
                if requirement.scope is not None and requirement.scope not in caller.scopes:
                    raise NotAllowed(_missing(caller, requirement))
            except Denied as denied:
                if not is_open:
                    refusal = problem_response(denied.status, str(denied), slug=denied.slug, headers=denied.headers)
                    await refusal(scope, receive, send)
                    return
                state["caller"] = None
            await answers(scope, receive, send)

        return guarded

    def _identified(self, scope: Scope, requirement: Requirement) -> Caller:
        if self._is_local:
            return LOCAL
        access: Access = scope["app"].state.engine.access
        return access.identify(scope, requirement)


def _found_by_path(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Of a router that is within another, its own: FastAPI keeps them there."""
    for route in routes:
        within = getattr(route, "original_router", None)
        if within is None:
            yield route
        else:
            assert not route.include_context.prefix, "a path is where its route is defined"  # type: ignore[attr-defined]
            yield from _found_by_path(within.routes)


def _requirement_of(route: BaseRoute) -> Requirement:
    methods: set[str] = set() if isinstance(route, Mount) else getattr(route, "methods", None) or set()
    path = route.path if isinstance(route, Mount) else route.path_format  # type: ignore[attr-defined]
    return requirement_of(frozenset(methods), path)


def _missing(caller: Caller, requirement: Requirement) -> str:
    has = "every scope" if caller.scopes == EVERYTHING else ", ".join(sorted(caller.scopes)) or "none"
    return f"this needs the scope {requirement.scope}; {caller.name!r} has {has}"
