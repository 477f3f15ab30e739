"""The question that gateways ask as an authorization over HTTP: `auth_request` of NGINX, ForwardAuth of Traefik and
Caddy, `ext_authz` of Envoy.

What may be trusted differs. A gateway sets header fields, or has the question in the address that it is configured
with; a gateway that sends the path of its client behind ours sends its query too. So the query is read only
where nothing is behind our path; and where two places, or one twice, do not say the same, a client may have spoken for
itself: that is refused.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from urllib.parse import parse_qsl

from starlette.responses import Response
from starlette.types import Scope

from api.errors import problem_response
from api.quota_answers import headers_of, status_of
from api.quota_questions import amount_of
from rating.core.quota.answer import QuotaAnswer
from store.errors import Refused

SUBJECT, FEATURE, AMOUNT = "X-Tallystick-Subject", "X-Tallystick-Feature", "X-Tallystick-Amount"
ONE = "1"
_NAMES = {"subject": SUBJECT, "feature": FEATURE, "amount": AMOUNT}
_DENIED = 403


@dataclass(frozen=True)
class GatewayQuestion:
    """May `subject` use `amount` more of `feature`? `deny` is the status of any refusal, where the gateway takes no
    other. A request of nobody has the subject that no customer has: none."""

    subject: str
    feature: str
    amount: Decimal
    deny: int | None


def question_of(scope: Scope, *, is_ours: bool) -> GatewayQuestion:
    """What a request asks; `is_ours` tells whether its query is the gateway's own. Raises Refused."""
    query = parse_qsl(_text(scope["query_string"]), keep_blank_values=True) if is_ours else []
    asked = {
        name: _only(header, {value for key, value in query if key == name} | _values(scope, header))
        for name, header in _NAMES.items()
    }
    if not asked["feature"]:
        raise Refused([f"the gateway does not say for which feature: set {FEATURE}, or ?feature= in its address"])
    deny = dict(query).get("deny")
    if deny not in (None, str(_DENIED)):
        raise Refused([f"deny is {deny[:80]!r}; leave it out, or send {_DENIED}"])
    amount = amount_of(asked["amount"] or ONE)
    return GatewayQuestion(asked["subject"], asked["feature"], amount, _DENIED if deny else None)


def authorization(answer: QuotaAnswer, now: datetime, deny: int | None) -> Response:
    """200 with nothing in it, or a problem document; the header fields say all that a gateway can pass on."""
    status = status_of(answer)
    headers = {"X-Quota-Status": str(status), "X-Quota-Reason": answer.reason, **headers_of(answer, now)}
    if answer.allowed:
        return Response(b"", status, headers, media_type="text/plain")
    slug = f"quota-{answer.reason.replace('_', '-')}"
    return problem_response(deny or status, answer.message, slug=slug, headers=headers)


def _only(name: str, said: Collection[str]) -> str:
    """Empty where nothing is said."""
    if len(said) > 1:
        raise Refused([f"{name} is given as {' and as '.join(sorted(said))}: let the gateway remove what clients send"])
    return next(iter(said), "")


def _values(scope: Scope, header: str) -> set[str]:
    return {_text(value) for name, value in scope["headers"] if name == header.lower().encode()}


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
