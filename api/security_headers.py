"""What browsers are told about pages: nothing is loaded from elsewhere, and nobody puts them into a frame.

What holds for every answer is sent by the server itself (EVERYWHERE), which costs nothing; a page has its policy
besides.
There are no CORS headers: scripts of other sites read nothing.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

EVERYWHERE = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
DOCS_POLICY = PAGE_POLICY.replace(
    "default-src 'self'", "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"
)
"""The page of the API starts by a script within it."""


class PagePolicy:
    """ASGI middleware: answers of HTML have a Content-Security-Policy, this one where they bring none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        policy = DOCS_POLICY if scope["path"] == "/docs" else PAGE_POLICY

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_page_without_policy(message):
                header = (b"content-security-policy", policy.encode())
                message = {**message, "headers": [*message.get("headers", []), header]}
            await send(message)

        await self._app(scope, receive, sending)


def _is_page_without_policy(message: Message) -> bool:
    headers = dict(message.get("headers", []))
    return headers.get(b"content-type", b"").startswith(b"text/html") and b"content-security-policy" not in headers
