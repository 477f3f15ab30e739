"""The pages to log in to the dashboard and out of it."""

from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, Template
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

import api
from api.access.access import COOKIE, session_token
from api.access.caller import SCOPES, Caller, Role
from api.access.errors import Denied, NotAllowed
from api.access.forms import form_fields, read_body
from api.access.keyless import is_loopback
from api.engine import Engine
from api.wiring import TheEngine

router = APIRouter(include_in_schema=False)

TEMPLATES = Path(api.__file__).parent / "dashboard" / "templates"


@router.get("/login")
async def login_page(engine: TheEngine, next: str = "/") -> HTMLResponse:
    return _page(engine, next)


@router.post("/login")
async def log_in(request: Request, engine: TheEngine) -> Response:
    """Begin a session, and go on where the browser was sent from."""
    try:
        _refuse_other_sites(request)
        fields = form_fields(await read_body(request.receive))
    except NotAllowed as error:
        return _page(engine, "/", problem=str(error), status=error.status)
    name, following = fields.get("username", ""), _local_path(fields.get("next", "/"))
    address = request.client.host if request.client else ""
    try:
        token = await run_in_threadpool(_logged_in, engine, name, fields.get("password", ""), address)
    except Denied as denied:
        return _page(engine, following, name, str(denied), denied.status, denied.headers)
    answer = RedirectResponse(following, 303)
    answer.set_cookie(COOKIE, token, httponly=True, secure=_is_secure(request), samesite="lax", path="/")
    return answer


@router.post("/logout")
async def log_out(request: Request, engine: TheEngine) -> Response:
    """End this session."""
    token = session_token(request.scope)
    if token is not None:
        await run_in_threadpool(engine.access.sessions.log_out, token)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, secure=_is_secure(request), samesite="lax")
    return answer


def _logged_in(engine: Engine, name: str, password: str, address: str) -> str:
    token = engine.access.sessions.log_in(name, password, address)
    user = engine.access.sessions.get(name)
    caller = Caller(name, "session", name, SCOPES[Role(user.role)])
    engine.audit.record(caller, "sessions.begin", name)
    return token


def _page(
    engine: Engine,
    following: str,
    username: str = "",
    problem: str = "",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> HTMLResponse:
    shown = {"next": _local_path(following), "username": username, "problem": problem}
    text = _template().render(**shown, no_users=not engine.access.sessions.users())
    said = {name: value for name, value in (headers or {}).items() if name == "Retry-After"}
    return HTMLResponse(text, status, {**said, "Cache-Control": "no-store"})


@cache
def _template() -> Template:
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("login.html")


def _local_path(following: str) -> str:
    """A path of this site, nothing that leads elsewhere."""
    is_ours = following.startswith("/") and not following.startswith(("//", "/\\")) and following.isprintable()
    return following if is_ours else "/"


def _refuse_other_sites(request: Request) -> None:
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise NotAllowed("this form was sent by another site")


def _is_secure(request: Request) -> bool:
    """Only on this machine is a cookie sent without TLS. Behind a proxy the name says where the browser is."""
    return not is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname or "")
