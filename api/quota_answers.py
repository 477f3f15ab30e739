"""What a quota answer is over HTTP: its status, its header fields and its body, the same wherever one is given."""

from dataclasses import fields
from datetime import datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from rating.core.money import plain
from rating.core.quota.answer import QuotaAnswer

_FORBIDDEN = frozenset({"not_entitled", "suspended"})
_FIELDS = [field.name for field in fields(QuotaAnswer)]
_SECOND = timedelta(seconds=1)


def status_of(answer: QuotaAnswer) -> int:
    """200: it may; 403: no plan gives it, or the customer is suspended; 429: it may after a while; 402: not without
    more credit or another plan."""
    if answer.allowed:
        return HTTPStatus.OK.value
    if answer.reason in _FORBIDDEN:
        return HTTPStatus.FORBIDDEN.value
    return (HTTPStatus.TOO_MANY_REQUESTS if answer.waiting_helps else HTTPStatus.PAYMENT_REQUIRED).value


def headers_of(answer: QuotaAnswer, now: datetime) -> dict[str, str]:
    """With a 429 when there is more."""
    if answer.allowed or not answer.waiting_helps or answer.resets_at is None:
        return {}
    return {"Retry-After": str(max(1, -((now - answer.resets_at) // _SECOND)))}


def body_of(answer: QuotaAnswer) -> dict[str, Any]:
    """For JSON: decimals as text."""
    values = ((name, getattr(answer, name)) for name in _FIELDS)
    return {name: plain(value) if isinstance(value, Decimal) else value for name, value in values}
