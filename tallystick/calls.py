"""Every call as a request and the reading of its answer: pure, shared by both clients."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from tallystick import answers
from tallystick.errors import Problem
from tallystick.events import Event, batch_body
from tallystick.exact_json import decimal_text, dumps, instant_text, loads
from tallystick.retrying import Retrying, is_sent_again

T = TypeVar("T")
JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """Names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """`is_repeatable` is whether it may be sent again when it is not known whether it was done."""

    method: str
    path: str
    read: Callable[[Reply], T]
    query: Query = ()
    content: bytes | None = None
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True
    refusals: frozenset[int] = frozenset()
    """Statuses that are answers of this call, not problems, where `mark` is in the body."""
    mark: bytes = b'"allowed"'


def result_of(call: Call[T], reply: Reply) -> T:
    """Raises Problem."""
    if is_answer(call, reply):
        return call.read(reply)
    raise problem_of(reply)


def is_answer(call: Call[Any], reply: Reply) -> bool:
    return reply.status < 300 or (reply.status in call.refusals and call.mark in reply.content)


def is_asked_again(call: Call[Any], reply: Reply | None, tries: int, policy: Retrying) -> bool:
    """What may have been done, and would be done twice, is asked again only where it was turned away."""
    if tries >= policy.tries_max or (reply is not None and is_answer(call, reply)):
        return False
    status = None if reply is None else reply.status
    return is_sent_again(status) and (call.is_repeatable or status == 429)


def problem_of(reply: Reply) -> Problem:
    try:
        content = loads(reply.content)
    except ValueError:
        content = None
    return Problem(reply.status, content if isinstance(content, dict) else {})


def post_events(events: Sequence[Event], is_atomic: bool = False) -> Call[answers.Kept]:
    sent = tuple(events)

    def read(reply: Reply) -> answers.Kept:
        kept = answers.kept_of(reply.content, sent)
        if kept is None:
            raise problem_of(reply)
        return kept

    query = (("atomic", "true"),) if is_atomic else ()
    kind = "application/cloudevents-batch+json"
    refusals = frozenset({422})
    return Call("POST", "/v1/events", read, query, batch_body(sent), kind, refusals=refusals, mark=b'"accepted"')


def check_quota(subject: str, feature: str, amount: Decimal | int | str) -> Call[answers.Quota]:
    path = f"/v1/quota/{_part(subject)}/{_part(feature)}"
    read = _json(answers.quota_of)
    return Call("GET", path, read, (("amount", decimal_text(amount)),), refusals=frozenset({402, 403, 429}))


def consume(
    subject: str, feature: str, amount: Decimal | int | str, *, source: str, id: str, data: Mapping[str, Any] | None
) -> Call[answers.Consumed]:
    asked = {"id": id, "source": source, "subject": subject, "feature": feature, "amount": decimal_text(amount)}
    given = asked if data is None else {**asked, "data": data}
    read = _json(answers.consumed_of)
    return Call("POST", "/v1/quota/consume", read, content=_body(given), refusals=frozenset({402, 403, 429}))


def usage(
    meter: str,
    start: datetime | None,
    end: datetime | None,
    subject: str | None,
    customer: str | None,
    group_by: Sequence[str],
    window: str | None,
    time_zone: str,
) -> Call[answers.Usage]:
    query = _query(**{"from": start, "to": end}, subject=subject, customer=customer, window=window, time_zone=time_zone)
    groups = tuple(("group_by", name) for name in group_by)
    return Call("GET", f"/v1/meters/{_part(meter)}/usage", _json(answers.usage_of), query + groups)


def put_customer(key: str, given: Mapping[str, Any]) -> Call[answers.Customer]:
    return Call("PUT", f"/v1/customers/{_part(key)}", _json(answers.customer_of), content=_body(given))


def customer(key: str) -> Call[answers.Customer]:
    return Call("GET", f"/v1/customers/{_part(key)}", _json(answers.customer_of))


def put_subscription(key: str, given: Mapping[str, Any]) -> Call[Mapping[str, Any]]:
    return Call("PUT", f"/v1/subscriptions/{_part(key)}", _json(dict), content=_body(given))


def apply_catalog(document: str | Mapping[str, Any], is_dry: bool) -> Call[answers.Applied]:
    """Text is YAML."""
    is_text = isinstance(document, str)
    content = document.encode() if isinstance(document, str) else _body(document)
    kind = "application/yaml" if is_text else JSON
    query = (("dry_run", "true"),) if is_dry else ()
    return Call("PUT", "/v1/catalog", _json(answers.applied_of), query, content, kind)


def catalog(version: str | None) -> Call[answers.Catalog]:
    return Call("GET", "/v1/catalog", _json(answers.catalog_of), _query(version=version))


def rate(period: str) -> Call[answers.Run]:
    """The same period on the same usage gives the same lines, so it may be sent again; that leaves a second run."""
    return Call(
        "POST", "/v1/rating-runs", _json(answers.run_of), content=_body({"period": period}), is_repeatable=False
    )


def close_due() -> Call[tuple[answers.Run, ...]]:
    read = _json(lambda answer: tuple(map(answers.run_of, answer["runs"])))
    return Call("POST", "/v1/rating-runs", read, content=_body({"due": True}), is_repeatable=False)


def lines(run: str, customer: str | None, after: str | None) -> Call[tuple[tuple[answers.Charged, ...], str | None]]:
    read = _json(lambda answer: (tuple(map(answers.line_of, answer["items"])), answer["next"]))
    return Call(
        "GET", f"/v1/rating-runs/{_part(run)}/lines", read, _query(customer=customer, after=after, limit="1000")
    )


def lines_arrow(run: str, customer: str | None) -> Call[bytes]:
    path = f"/v1/rating-runs/{_part(run)}/lines"
    return Call("GET", path, lambda reply: reply.content, _query(customer=customer), headers={"accept": ARROW})


def signals(customer: str | None, after: int) -> Call[Mapping[str, Any]]:
    return Call("GET", "/v1/signals", _json(dict), _query(customer=customer, after=str(after)))


def _json(shape: Callable[[Any], T]) -> Callable[[Reply], T]:
    return lambda reply: shape(loads(reply.content))


def _body(value: Mapping[str, Any]) -> bytes:
    return dumps(value).encode()


def _part(text: str) -> str:
    if not text or text in (".", ".."):
        raise ValueError(f"{text!r} cannot stand in an address")
    return quote(text, safe="")


def _query(**given: str | datetime | None) -> Query:
    return tuple(
        (name, instant_text(value) if isinstance(value, datetime) else value)
        for name, value in given.items()
        if value is not None
    )
