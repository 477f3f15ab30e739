"""The question of a gateway: may this subject go on?

It is asked before each request that the gateway lets through, so these are plain routes, which read their parameters by
themselves: declared to FastAPI, parameters alone cost as much as all the rest of the answer.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response

from api.documentation import Responses, body, problems
from api.engine import Engine
from api.estimating import estimate
from api.frames import ARROW, JSON, json_response, media_of, rows, table_response
from api.models import QuotaOut
from api.paths import anything
from api.plain_route import PlainRoute
from api.quota_answers import answered, asked
from api.quota_models import QuotaAsked, QuotasAnswered
from api.quota_questions import AMOUNT_PATTERN, CHECKS_MAX, amount_of, read_questions
from api.wiring import TheEngine
from store.errors import Refused

router = APIRouter(prefix="/v1/quota", tags=["quota"], route_class=PlainRoute)

DATA = "data."


def _parameter(name: str, where: str, description: str, **schema: Any) -> dict[str, Any]:
    kind = {"type": "string", **schema}
    return {"name": name, "in": where, "required": where == "path", "description": description, "schema": kind}


def _answer(description: str, *headers: str) -> dict[str, Any]:
    said = {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in headers}
    return {"model": QuotaOut, "description": description, "headers": said}


_HEADERS = {
    "RateLimit-Policy": 'the limit and the seconds of its window: `"tokens";q=5000000;w=2678400`',
    "RateLimit": 'what is left, and the seconds until it starts again: `"tokens";r=4321;t=86400`',
    "Retry-After": "seconds until the window ends",
}
_LIMITS = ("RateLimit-Policy", "RateLimit")
ANSWERS: Responses = {
    200: _answer("It may", *_LIMITS),
    402: _answer("It may not, and waiting does not help: it needs more credit, or another plan", *_LIMITS),
    403: _answer("No plan of the subject's customer has this feature, or the customer is suspended"),
    429: _answer("It may not now; it may after `Retry-After`", *_LIMITS, "Retry-After"),
}
_ESTIMATE = (
    "whether the price is wanted too; properties of the event that prices and filters look at may be given as"
    f" `{DATA}NAME=VALUE`"
)
_PARAMETERS = [
    _parameter("subject", "path", "`subject` of usage events"),
    _parameter("feature", "path", "key of a feature of the catalog"),
    _parameter("estimate", "query", _ESTIMATE, enum=["true", "false"], default="false"),
    _parameter("amount", "query", "how much more it wants to use", pattern=f"^{AMOUNT_PATTERN}$", default="0"),
]
_QUESTIONS = {"items": [{"subject": "acme", "feature": "tokens", "amount": "1000"}]}
_BODY = body({JSON: _QUESTIONS, ARROW: None}, f"at most {CHECKS_MAX:,} questions of JSON; a table: QUOTA_ASKED")
_BODY["requestBody"]["content"][JSON]["schema"] = {
    "type": "object",
    "required": ["items"],
    "additionalProperties": False,
    "properties": {"items": {"type": "array", "maxItems": CHECKS_MAX, "items": QuotaAsked.model_json_schema()}},
}


@router.get(
    f"/{anything('subject')}/{{feature}}",
    response_model=QuotaOut,
    responses=ANSWERS,
    openapi_extra={"parameters": _PARAMETERS},
)
async def check_quota(request: Request, engine: TheEngine) -> Response:
    """Whether `subject` may use `amount` more of `feature` now. Every acknowledged event is counted. Nothing is
    reserved; an amount of 0 asks whether anything is left. With an estimate it takes far longer."""
    now, path = engine.now(), request.scope["path_params"]
    amount, properties = _read(request.scope["query_string"])
    answer = await asked(engine, path["subject"], path["feature"], amount, now)
    if properties is None:
        return answered(answer, now)
    return answered(answer, now, await run_in_threadpool(estimate, engine, answer, properties, now))


@router.post(
    "/check",
    response_model=QuotasAnswered,
    responses={
        200: {"content": {ARROW: {"schema": {"type": "string", "format": "binary"}}}},
        **problems(400, 406, 413, 415),
    },
    openapi_extra=_BODY,
)
async def check_quotas(request: Request, engine: TheEngine) -> Response:
    """Answer many questions at once, in their order: each as if it were asked alone, so nothing is taken from one by
    those before it. 200 also where some are refused. A table is answered by a table, unless `Accept` prefers JSON."""
    return await run_in_threadpool(_checked, engine, await request.body(), request.headers)


def _checked(engine: Engine, content: bytes, headers: Headers) -> Response:
    kind, encoding = headers.get("content-type", ""), headers.get("content-encoding", "")
    questions, is_table = read_questions(content, kind, encoding, engine.log.limits)
    media = media_of(headers.get("accept"), (ARROW, JSON) if is_table else (JSON, ARROW))
    answers = engine.quota.check_many(questions, engine.now())
    return json_response({"items": rows(answers)}) if media == JSON else table_response(answers, media, "quota")


@lru_cache(maxsize=4096)
def _read(query_string: bytes) -> tuple[Decimal, Mapping[str, str] | None]:
    """The amount and, where an estimate is wanted, the properties for it. Gateways ask for the same few amounts all the
    time."""
    query = QueryParams(query_string)
    is_estimated = _is_estimated(query)
    properties = {name.removeprefix(DATA): value for name, value in query.items() if name.startswith(DATA)}
    return amount_of(query.get("amount", "0")), properties if is_estimated else None


def _is_estimated(query: Mapping[str, str]) -> bool:
    text = query.get("estimate", "false")
    if text not in ("true", "false"):
        raise Refused([f"estimate is {text[:80]!r}; send true or false"])
    return text == "true"
