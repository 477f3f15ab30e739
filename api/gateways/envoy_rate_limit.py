"""Envoy's rate limit service over gRPC: each descriptor is a quota check, and all of them must allow.

A descriptor has the entries `subject` and `feature`, and `amount` where the gateway knows it; without it the
`hits_addend` of the descriptor or the request is the amount, 1 where there is none. Nothing is taken: events do that.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import grpc

from api.access.errors import Denied, NotAllowed
from api.access.requirements import REQUIREMENTS
from api.engine import Engine
from api.errors import KINDS
from api.gateways.envoy_messages import OK, OVER_LIMIT, SERVICE, RateLimitRequest, RateLimitResponse
from api.quota_answers import headers_of, status_of
from api.quota_questions import amount_of
from api.rate_limit_fields import seconds_until
from rating.core.quota.answer import QuotaAnswer
from store.errors import Refused

DOMAIN = "tallystick"
DESCRIPTORS_MAX = 100
_UINT32_MAX = 2**32 - 1
_THREADS = 8
_GRACE_SECONDS = 5.0
_NEEDS = REQUIREMENTS["GET", "/v1/gateways/auth"]
_DENIED = {
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_KEYS = {"subject", "feature", "amount"}


@dataclass(frozen=True)
class RateLimits:
    """A server at `port`."""

    port: int
    server: grpc.Server

    def close(self) -> None:
        """Take no more requests, and wait a little for those under way."""
        self.server.stop(_GRACE_SECONDS).wait()


def serve_rate_limits(engine: Engine, host: str, port: int) -> RateLimits:
    """Begin to answer at `port`, a free one for 0. Raises OSError when it is taken."""
    service = grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "ShouldRateLimit": grpc.unary_unary_rpc_method_handler(
                lambda request, context: _answer(engine, request, context),
                request_deserializer=RateLimitRequest.FromString,
                response_serializer=RateLimitResponse.SerializeToString,
            )
        },
    )
    options = [("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(_THREADS, "rate-limits"), (service,), options=options)
    address = f"[{host}]" if ":" in host else host
    try:
        bound = server.add_insecure_port(f"{address}:{port}")
    except RuntimeError as error:
        raise OSError(f"the rate limit service cannot listen at {address}:{port}: {error}") from error
    server.start()
    return RateLimits(bound, server)


def _answer(engine: Engine, request: Any, context: grpc.ServicerContext) -> Any:
    try:
        _admit(engine, context)
        questions, now = questions_of(request), engine.now()
        answers = [engine.quota.check(*question, now) for question in questions]
        engine.quota.answers.add_all("envoy", [answer.reason for answer in answers])
        return response_of(answers, now)
    except Denied as denied:
        context.abort(_DENIED[HTTPStatus(denied.status)], str(denied))
    except tuple(KINDS) as error:
        kind = next(KINDS[each] for each in type(error).__mro__ if each in KINDS)
        is_theirs = kind.status < HTTPStatus.INTERNAL_SERVER_ERROR
        context.abort(grpc.StatusCode.INVALID_ARGUMENT if is_theirs else grpc.StatusCode.UNAVAILABLE, str(error))


def _admit(engine: Engine, context: grpc.ServicerContext) -> None:
    """The guard of this way in: a key with the scope quota in the metadata. Raises Denied."""
    headers = [(name.encode(), _bytes(value)) for name, value in context.invocation_metadata()]
    caller = engine.access.identify({"headers": headers, "client": _client(context.peer())}, _NEEDS)
    if _NEEDS.scope not in caller.scopes:
        raise NotAllowed(f"this needs the scope {_NEEDS.scope}; {caller.name!r} has it not")


def _client(peer: str) -> tuple[str, int]:
    """Address and port of `ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000`."""
    host, _, port = unquote(peer.partition(":")[2]).rpartition(":")
    return host.strip("[]") or "::", int(port) if port.isdecimal() else 0


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def questions_of(request: Any) -> list[tuple[str, str, Decimal]]:
    """(subject, feature, amount) of each descriptor. Raises Refused."""
    if request.domain != DOMAIN:
        raise Refused([f"domain {request.domain[:80]!r} is not served here; set it to {DOMAIN!r}"])
    if not 0 < len(request.descriptors) <= DESCRIPTORS_MAX:
        raise Refused([f"{len(request.descriptors)} descriptors; send 1 to {DESCRIPTORS_MAX}"])
    return [_question(descriptor, request.hits_addend) for descriptor in request.descriptors]


def response_of(answers: Sequence[QuotaAnswer], now: datetime) -> Any:
    """RateLimitResponse. Of several refusals the first is named in the header fields."""
    refused = next((answer for answer in answers if not answer.allowed), None)
    response = RateLimitResponse(overall_code=OK if refused is None else OVER_LIMIT)
    for answer in answers:
        _add_status(response.statuses.add(), answer, now)
    for name, value in _headers(answers, refused or answers[0], now).items():
        response.response_headers_to_add.add(key=name, value=value)
    return response


def _question(descriptor: Any, hits_of_request: int) -> tuple[str, str, Decimal]:
    entries = [(entry.key, entry.value) for entry in descriptor.entries]
    given = dict(entries)
    if len(given) < len(entries) or not {"subject", "feature"} <= given.keys() <= _KEYS:
        keys = ", ".join(key for key, _ in entries)
        raise Refused([f"a descriptor has the entries {keys or 'none'}; send subject, feature and, if need be, amount"])
    if "amount" in given:
        return given["subject"], given["feature"], amount_of(given["amount"])
    has_own = descriptor.HasField("hits_addend")
    hits = descriptor.hits_addend.value if has_own else hits_of_request or 1
    return given["subject"], given["feature"], Decimal(hits)


def _add_status(status: Any, answer: QuotaAnswer, now: datetime) -> None:
    """Whole numbers of 32 bits, rounded down."""
    status.code = OK if answer.allowed else OVER_LIMIT
    if answer.limit is not None and answer.remaining is not None:
        status.current_limit.requests_per_unit = _clipped(answer.limit)
        status.current_limit.name = answer.feature
        status.limit_remaining = _clipped(answer.remaining)
        if answer.resets_at is not None:
            status.duration_until_reset.seconds = seconds_until(answer.resets_at, now)


def _headers(answers: Sequence[QuotaAnswer], named: QuotaAnswer, now: datetime) -> dict[str, str]:
    """Lists of all for RateLimit and its policy; the rest of the answer that is `named`."""
    every = [headers_of(answer, now) for answer in answers]
    headers = {"X-Quota-Status": str(status_of(named)), "X-Quota-Reason": named.reason, **headers_of(named, now)}
    for name in ("RateLimit-Policy", "RateLimit"):
        if listed := ", ".join(one[name] for one in every if name in one):
            headers[name] = listed
    return headers


def _clipped(quantity: Decimal) -> int:
    return min(max(int(quantity), 0), _UINT32_MAX)
