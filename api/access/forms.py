"""Forms of the dashboard, against requests that another site makes a browser send.

Each carries the token of its session: in the header `X-CSRF-Token` (htmx), or in the field `csrf`.
"""

from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from api.access.errors import NotAllowed
from api.access.sessions import is_form_token

FORM = "application/x-www-form-urlencoded"
BYTES_MAX = 1 << 20


async def checked_form(scope: Scope, receive: Receive, session_token: str) -> Receive:
    """Receives the same body again. Raises NotAllowed without the right token."""
    headers = Headers(scope=scope)
    given = headers.get("x-csrf-token")
    if given is None and headers.get("content-type", "").split(";")[0].strip().lower() == FORM:
        body = await read_body(receive)
        given = form_fields(body).get("csrf")
        receive = _again(body, receive)
    if given is None or not is_form_token(session_token, given):
        raise NotAllowed("this form is not of this session: load the page again (field `csrf`, header X-CSRF-Token)")
    return receive


async def read_body(receive: Receive) -> bytes:
    """All of a form. Raises NotAllowed for one that is larger than any here."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message["type"] == "http.request" and message.get("more_body", False)
        if len(body) > BYTES_MAX:
            raise NotAllowed(f"the form is larger than {BYTES_MAX} bytes")
    return body


def form_fields(body: bytes) -> dict[str, str]:
    """The last of each name."""
    found = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in found.items()}


def _again(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return messages.pop() if messages else await receive()

    return receiving
