"""From an exception to an answer: RFC 9457 problem details. Nothing else decides on a status of failure.

`type` is a stable name, `detail` says what happened and what to do, `problems` has one entry for each thing that is
wrong. A bug of ours answers 500 with a request id and nothing of its inside; the log has the rest under that id.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api.observing.request_ids import request_id_of
from api.observing.requests import route_of
from api.signal_stream import TooManyStreams
from ingest.errors import (
    BodyTooLarge,
    CommitUnknown,
    DiskFull,
    InflatedTooLarge,
    NotCommitted,
    Overloaded,
    PropertyConflict,
    TooManyColumns,
    TooManyEvents,
    UnreadableBody,
    UnsupportedContentType,
    UnsupportedEncoding,
)
from rating.catalog import CatalogInvalid
from rating.core.money import AmountOverflow
from rating.run_table import LinesDamaged
from rating.uncounted import FeatureNotCounted
from store.errors import (
    BackfillInTheWay,
    BackfillNotOpen,
    CreditVoided,
    DatabaseFull,
    DatabaseUnavailable,
    DatabaseUncertain,
    IdTaken,
    NotFound,
    NotReproducible,
    PlanInUse,
    Refused,
    RunInProgress,
    SubjectTaken,
    TooManyBackfills,
    TooManySnapshots,
    UsageGoesBack,
)

log = logging.getLogger("tallystick.api")

PROBLEM_JSON = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """How a class of exception is answered. `retry_after_seconds` is sent where waiting helps."""

    status: int
    slug: str
    retry_after_seconds: int | None = None


KINDS: dict[type[Exception], Kind] = {
    CatalogInvalid: Kind(422, "catalog-invalid"),
    UnsupportedEncoding: Kind(415, "unsupported-encoding"),
    UnsupportedContentType: Kind(415, "unsupported-content-type"),
    UnreadableBody: Kind(400, "unreadable-body"),
    BodyTooLarge: Kind(413, "body-too-large"),
    InflatedTooLarge: Kind(413, "inflated-too-large"),
    TooManyEvents: Kind(413, "too-many-events"),
    TooManyColumns: Kind(413, "too-many-columns"),
    PropertyConflict: Kind(409, "property-conflict"),
    Overloaded: Kind(503, "overloaded", retry_after_seconds=1),
    DiskFull: Kind(507, "disk-full", retry_after_seconds=1),
    NotCommitted: Kind(503, "not-committed", retry_after_seconds=1),
    CommitUnknown: Kind(503, "commit-unknown", retry_after_seconds=1),
    DatabaseUnavailable: Kind(503, "database-unavailable", retry_after_seconds=1),
    DatabaseUncertain: Kind(503, "commit-unknown", retry_after_seconds=1),
    DatabaseFull: Kind(507, "disk-full", retry_after_seconds=1),
    NotFound: Kind(404, "not-found"),
    NotReproducible: Kind(409, "not-reproducible"),
    SubjectTaken: Kind(409, "subject-taken"),
    PlanInUse: Kind(409, "plan-in-use"),
    BackfillInTheWay: Kind(409, "backfill-in-the-way"),
    IdTaken: Kind(409, "id-taken"),
    RunInProgress: Kind(409, "run-in-progress"),
    TooManyStreams: Kind(503, "too-many-streams", retry_after_seconds=10),
    UsageGoesBack: Kind(409, "usage-goes-back"),
    CreditVoided: Kind(409, "credit-voided"),
    BackfillNotOpen: Kind(409, "backfill-not-open"),
    TooManyBackfills: Kind(409, "too-many-backfills"),
    TooManySnapshots: Kind(409, "too-many-snapshots"),
    Refused: Kind(422, "refused"),
    LinesDamaged: Kind(500, "lines-damaged"),
    AmountOverflow: Kind(422, "amount-overflow"),
    FeatureNotCounted: Kind(503, "feature-not-counted"),
    ClientDisconnect: Kind(408, "request-timeout"),  # gone before the end of its body: nobody reads it
}
"""The exceptions that are raised on purpose. An exception is answered as the nearest of its classes here."""


def problem_response(
    status: int,
    detail: str,
    *,
    slug: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """A problem document; `more` are further members, those without a value are left out."""
    title = HTTPStatus(status).phrase
    body: dict[str, Any] = {
        "type": f"urn:tallystick:problem:{slug or title.lower().replace(' ', '-')}",
        "title": title,
        "status": status,
        "detail": detail,
    }
    body.update({name: value for name, value in more.items() if value is not None})
    return Response(orjson.dumps(body), status, dict(headers or {}), media_type=PROBLEM_JSON)


def install(app: FastAPI) -> None:
    """Answer every exception of `app` with a problem document."""
    for raised, kind in KINDS.items():
        app.add_exception_handler(raised, _answer_with(kind))
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def _answer_with(kind: Kind) -> Any:
    async def answer(request: Request, error: Exception) -> Response:
        seconds = getattr(error, "retry_after_seconds", kind.retry_after_seconds)
        more = {"problems": _problems_of(error), "request_id": _of_failure(request, kind.status)}
        waits = {"Retry-After": str(seconds)} if seconds is not None else {}
        return problem_response(kind.status, str(error), slug=kind.slug, headers=waits, **more)

    return answer


def _problems_of(error: Exception) -> list[Any] | None:
    """The single things that are wrong: sentences of the store, or path, value, message and cure of the catalog."""
    problems: Sequence[Any] | None = getattr(error, "problems", None)
    if problems is None:
        return None
    return [{"message": p} if isinstance(p, str) else _public(p) for p in problems]


def _public(problem: Any) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in ("path", "value", "message", "cure")}


async def _invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [
        {"path": ".".join(str(part) for part in found["loc"]), "message": found["msg"]} for found in error.errors()
    ]
    detail = "; ".join(f"{p['path']}: {p['message']}" for p in problems[:5])
    return problem_response(422, detail, slug="invalid-request", problems=problems)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    return problem_response(status, error.detail, headers=error.headers, request_id=_of_failure(request, status))


def _of_failure(request: Request, status: int) -> str | None:
    """The request id, where somebody may want to look for it in the log."""
    return request_id_of(request) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None


async def _unexpected(request: Request, error: Exception) -> Response:
    request_id = request_id_of(request)
    route = route_of(request.scope)  # not the path: it may name a customer
    log.error("request %s failed: %s %s", request_id, request.method, route, exc_info=error)
    detail = "a fault of the server; its log has the cause under the request id"
    return problem_response(500, detail, request_id=request_id)
