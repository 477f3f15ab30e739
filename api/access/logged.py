"""Requests that change something: no answer of success before the audit log has its entry."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.audit import Pending
from api.access.audited import before
from api.errors import KINDS, problem_response
from store.database import ALONGSIDE
from store.errors import DatabaseUnavailable

FAILURES = 400
"""Statuses from here on changed nothing."""


def logged(action: str, answers: ASGIApp) -> ASGIApp:
    """`answers`, with an entry `action` for each success."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        engine, state, path = scope["app"].state.engine, scope["state"], scope.get("path_params", {})
        object = "/".join(str(value) for value in path.values())
        pending = engine.access.audit.pending(state["caller"], action, object, state.get("request_id"))
        pending.before = await run_in_threadpool(before, engine, action, path)
        set_before = ALONGSIDE.set(pending)
        try:
            await answers(scope, pending.body.watched(receive), _finishing(pending, scope, receive, send))
        finally:
            ALONGSIDE.reset(set_before)

    return run


def _finishing(pending: Pending, scope: Scope, receive: Receive, send: Send) -> Send:
    """Sends the answer of a success when the entry is written, else what went wrong instead."""
    failed = False

    async def finishing(message: Message) -> None:
        nonlocal failed
        if message["type"] == "http.response.start" and message["status"] < FAILURES:
            try:
                await run_in_threadpool(pending.finish)
            except DatabaseUnavailable as error:
                failed = True
                await _not_logged(error)(scope, receive, send)
        if not failed:
            await send(message)

    return finishing


def _not_logged(error: DatabaseUnavailable) -> Any:
    kind = next(KINDS[each] for each in type(error).__mro__ if each in KINDS)
    waits = {"Retry-After": str(kind.retry_after_seconds)}
    return problem_response(kind.status, f"the audit log cannot be written: {error}", slug=kind.slug, headers=waits)
