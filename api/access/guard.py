"""Stands before every route: who asks, may they, is it theirs, is the change logged. Nothing else decides on that."""

import getpass
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.access import Access, session_token
from api.access.caller import EVERYTHING, Caller
from api.access.errors import Denied, NotAllowed, NotAuthenticated
from api.access.forms import checked_form
from api.access.logged import logged
from api.access.own import refuse_others
from api.access.requirements import Requirement, requirement_of
from api.access.sessions import form_token
from api.errors import problem_response

_UNKNOWN = Requirement(None)


class Guard:
    """`is_local` is for an application without a network: who can open the data directory may do everything."""

    def __init__(self, *, is_local: bool = False) -> None:
        self._local = Caller("local", "local", _user_of_the_machine(), EVERYTHING) if is_local else None

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
        answers = answers if requirement.action is None else logged(requirement.action, answers)

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            state = scope.setdefault("state", {})
            try:
                caller = state["caller"] = self._identified(scope, requirement)
                if requirement.scope is not None and requirement.scope not in caller.scopes:
                    await _refuse_but_own(scope, requirement, caller)
                if caller.kind == "session" and not is_open:
                    receive = await _of_session(scope, receive, state)
            except Denied as denied:
                state["caller"] = None
                if not is_open:
                    await _refusal(scope, denied)(scope, receive, send)
                    return
            await answers(scope, receive, send)

        return guarded

    def _identified(self, scope: Scope, requirement: Requirement) -> Caller:
        if self._local is not None:
            return self._local
        access: Access = scope["app"].state.engine.access
        return access.identify(scope, requirement)


async def _refuse_but_own(scope: Scope, requirement: Requirement, caller: Caller) -> None:
    if caller.kind != "token":
        raise NotAllowed(_missing(caller, requirement))
    if requirement.own is None:
        raise NotAllowed("a subject token reads its own usage, charges, quota and signals, and nothing else")
    await refuse_others(scope, requirement.own, caller, scope["app"].state.engine.access)


async def _of_session(scope: Scope, receive: Receive, state: dict[str, Any]) -> Receive:
    """What changes something must have the token of the session's forms, which no other site knows."""
    token = session_token(scope) or ""
    state["csrf_token"] = form_token(token)
    return receive if scope["method"] in ("GET", "HEAD", "OPTIONS") else await checked_form(scope, receive, token)


def _refusal(scope: Scope, denied: Denied) -> Response:
    """A person with a browser is sent to log in, to go on from there."""
    if isinstance(denied, NotAuthenticated) and scope["method"] == "GET":
        headers = Request(scope).headers
        if "text/html" in headers.get("accept", "") and not scope["path"].startswith(("/v1/", "/api/")):
            return RedirectResponse(f"/login?next={quote(scope['path'], safe='/')}", 303)
    return problem_response(denied.status, str(denied), slug=denied.slug, headers=denied.headers)


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
    has = ", ".join(sorted(caller.scopes)) or "none"
    return f"this needs the scope {requirement.scope}; {caller.name!r} has {has}"


def _user_of_the_machine() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "this machine"
