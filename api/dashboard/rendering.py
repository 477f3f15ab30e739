"""From a view model to a page: templates, the security headers of HTML, and errors that a person can read."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from typing import Any
from uuid import uuid4

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.dashboard import shown
from api.dashboard.charts import spark
from api.dashboard.navigation import PAGES
from api.dashboard.static_files import static_url
from api.errors import KINDS

log = logging.getLogger("tallystick.dashboard")

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "HX-Request",
}
_FILTERS = {
    name: getattr(shown, name) for name in ("number", "money", "short", "percent", "size", "age", "instant", "many")
}


def page(request: Request, template: str, *, status_code: int = 200, **model: Any) -> HTMLResponse:
    """A page or a part of one. Every template knows `request`, `pages`, `csrf_token` and `static`."""
    return HTMLResponse(render(request, template, **model), status_code, HEADERS)


def render(request: Request, template: str, **model: Any) -> str:
    token = getattr(request.state, "csrf_token", "")
    return environment().get_template(template).render(request=request, csrf_token=token, **model)


def said(request: Request, text: str, kind: str = "good") -> HTMLResponse:
    """What a form led to, in a sentence: into the page that it is on, or as a page where there are no scripts."""
    return page(request, "said.html" if is_partial(request) else "said_page.html", said=text, kind=kind)


def go_to(request: Request, url: str) -> Response:
    """The answer to a form that was obeyed: look at `url` now."""
    if is_partial(request):
        return Response(status_code=204, headers={"HX-Location": url})
    return RedirectResponse(url, 303)


def is_partial(request: Request) -> bool:
    """Whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true" and request.headers.get("hx-history-restore-request") != "true"


@cache
def environment() -> Environment:
    made = Environment(
        loader=PackageLoader("api.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(_FILTERS)
    made.filters["pair"] = lambda text: (text, text)
    made.globals.update(static=static_url, pages=PAGES, spark=spark, change=shown.change)
    made.globals.update(NOTHING=shown.NOTHING, signal_kind=signal_kind)
    made.globals["ui"] = made.get_template("macros.html").module
    return made


def signal_kind(type: str) -> str:
    """The class of the badge of a signal."""
    kinds = {"exhausted": "bad", "suspended": "bad", "negative": "bad", "threshold": "warn", "expiring": "warn"}
    return kinds.get(type.rpartition(".")[2], "good" if type.endswith("restored") else "")


class PageRoute(APIRoute):
    """Its answers are HTML, also where something goes wrong; a form of another site is refused."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                _refuse_other_sites(request)
                return await handle(request)
            except Exception as error:
                return _error_page(request, error)

        return answered


def _refuse_other_sites(request: Request) -> None:
    if request.method != "GET" and request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise HTTPException(403, "this form was sent by another site; open the page here and send it again")


def _error_page(request: Request, error: Exception) -> HTMLResponse:
    status, what, problems, headers = _told(request, error)
    template = "error_part.html" if is_partial(request) else "error.html"
    response = page(request, template, status_code=status, what=what, problems=problems)
    response.headers.update(headers)
    return response


def _told(request: Request, error: Exception) -> tuple[int, str, list[str], Mapping[str, str]]:
    """Status, sentence, what is wrong one by one, header fields."""
    if isinstance(error, RequestValidationError):
        wrong = [f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors()]
        return 422, "The address or the form says something that cannot be.", wrong, {}
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail), [], error.headers or {}
    kind = next((KINDS[each] for each in type(error).__mro__ if each in KINDS), None)
    if kind is None:
        request_id = request.scope.get("state", {}).get("request_id") or uuid4().hex
        log.error("request %s failed: %s %s", request_id, request.method, request.url.path, exc_info=error)
        return 500, f"A fault of the server; its log has the cause under request id {request_id}.", [], {}
    waits = {"Retry-After": str(kind.retry_after_seconds)} if kind.retry_after_seconds is not None else {}
    problems = [each if isinstance(each, str) else each.message for each in getattr(error, "problems", None) or []]
    return kind.status, str(error), problems if len(problems) > 1 else [], waits
