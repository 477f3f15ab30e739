"""A quota check as the faces ask it, and its answer over HTTP: status, header fields and body, the same wherever one is
given."""

from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.engine import Engine
from api.frames import json_response
from api.rate_limit_fields import rate_limit_fields, seconds_until
from rating.core.money import plain
from rating.core.quota.answer import QuotaAnswer

_FORBIDDEN = frozenset({"not_entitled", "suspended"})
_FIELDS = [field.name for field in fields(QuotaAnswer)]


async def asked(engine: Engine, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer:
    """The answer, at once where nothing is in its way. Raises DatabaseUnavailable."""
    answer = engine.quota.check_at_once(subject, feature, amount, now)
    if answer is None:
        return await run_in_threadpool(engine.quota.check, subject, feature, amount, now)
    return answer


def answered(answer: QuotaAnswer, now: datetime, estimate: dict[str, str] | None = None) -> Response:
    """The whole answer as JSON."""
    whole = answer.in_words()
    return json_response({**body_of(whole), "estimate": estimate}, status_of(whole), headers_of(whole, now))


def status_of(answer: QuotaAnswer) -> int:
    """200: it may; 403: no plan gives it, or the customer is suspended; 429: it may after a while; 402: not without
    more credit or another plan."""
    if answer.allowed:
        return HTTPStatus.OK.value
    if answer.reason in _FORBIDDEN:
        return HTTPStatus.FORBIDDEN.value
    return (HTTPStatus.TOO_MANY_REQUESTS if answer.waiting_helps else HTTPStatus.PAYMENT_REQUIRED).value


def headers_of(answer: QuotaAnswer, now: datetime) -> dict[str, str]:
    """What is left, and with a 429 when there is more."""
    headers = rate_limit_fields(answer, now)
    if answer.resets_at is not None and status_of(answer) == HTTPStatus.TOO_MANY_REQUESTS:
        headers["Retry-After"] = str(seconds_until(answer.resets_at, now))
    return headers


def body_of(answer: QuotaAnswer) -> dict[str, Any]:
    """For JSON: decimals as text."""
    values = ((name, getattr(answer, name)) for name in _FIELDS)
    return {name: plain(value) if isinstance(value, Decimal) else value for name, value in values}
