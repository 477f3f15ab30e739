"""What gateways ask before they let a request through (docs/gateways/)."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.documentation import Responses, problems
from api.gateways.http_auth import AMOUNT, FEATURE, ONE, SUBJECT, authorization, question_of
from api.paths import anything
from api.plain_route import PlainRoute
from api.quota_answers import asked
from api.quota_questions import AMOUNT_PATTERN
from api.wiring import TheEngine

router = APIRouter(prefix="/v1/gateways", tags=["quota"], route_class=PlainRoute)

METHODS = ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
"""Besides GET: a gateway may ask with the method of its client's request."""


def _parameter(name: str, where: str, description: str, **schema: Any) -> dict[str, Any]:
    kind = {"type": "string", **schema}
    return {"name": name, "in": where, "required": where == "path", "description": description, "schema": kind}


_ABOUT = {"subject": "whose request it is", "feature": "key of a feature of the catalog", "amount": "how much it wants"}
_AMOUNTS = {"amount": {"pattern": f"^{AMOUNT_PATTERN}$", "default": ONE}}
_HEADERS = [
    _parameter(header, "header", _ABOUT[name], **_AMOUNTS.get(name, {}))
    for name, header in {"subject": SUBJECT, "feature": FEATURE, "amount": AMOUNT}.items()
]
_QUERY = [
    *(
        _parameter(name, "query", f"{about}, or by its header", **_AMOUNTS.get(name, {}))
        for name, about in _ABOUT.items()
    ),
    _parameter("deny", "query", "the status of every refusal; `X-Quota-Status` has its own", enum=["403"]),
]
_SAID = {
    "X-Quota-Status": "200, 402, 403 or 429",
    "X-Quota-Reason": "`reason` of a quota check",
    "RateLimit-Policy": "as of a quota check",
    "RateLimit": "as of a quota check",
    "Retry-After": "with `X-Quota-Status: 429`",
}
_ALLOWED = {
    "description": "It may go on; there is no body",
    "headers": {name: {"description": about, "schema": {"type": "string"}} for name, about in _SAID.items()},
    "content": {"text/plain": {"schema": {"type": "string", "maxLength": 0}}},
}
_ANSWERS: Responses = {200: _ALLOWED, **problems(402, 403, 429)}


@router.api_route("/auth", methods=METHODS, include_in_schema=False)
@router.get("/auth", response_class=Response, responses=_ANSWERS, openapi_extra={"parameters": [*_HEADERS, *_QUERY]})
async def authorize(request: Request, engine: TheEngine) -> Response:
    """Whether a gateway may let a request through: 200, or 402, 403, 429 as of a quota check. Any method will do, and
    no body is read. Without a subject it is nobody's request, and 403."""
    return await _authorized(request, engine, is_ours=True)


@router.api_route(f"/auth/{anything('path')}", methods=METHODS, include_in_schema=False)
@router.get(
    f"/auth/{anything('path')}",
    response_class=Response,
    responses=_ANSWERS,
    openapi_extra={"parameters": [_parameter("path", "path", "of the client's request"), *_HEADERS]},
)
async def authorize_path(request: Request, engine: TheEngine) -> Response:
    """The same for a gateway that puts the path of its client's request behind ours, as Envoy does: the query is the
    client's, and is not read."""
    return await _authorized(request, engine, is_ours=False)


async def _authorized(request: Request, engine: TheEngine, *, is_ours: bool) -> Response:
    question, now = question_of(request.scope, is_ours=is_ours), engine.now()
    answer = await asked(engine, "gateway", question.subject, question.feature, question.amount, now)
    return authorization(answer, now, question.deny)
