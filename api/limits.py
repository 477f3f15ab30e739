"""No request body is read beyond its limit, whatever its headers say."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem_response
from ingest.decode.media_types import is_columnar, media_type_of
from ingest.errors import BodyTooLarge


class BodyLimit:
    """ASGI middleware. Refuses by Content-Length where there is one, and counts what arrives where there is none.

    No route reads the body of a GET, so that is not looked at.
    """

    def __init__(self, app: ASGIApp, *, bytes_max: int, arrow_bytes_max: int) -> None:
        self.app = app
        self.bytes_max = bytes_max
        self.arrow_bytes_max = arrow_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "GET":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        columnar = is_columnar(media_type_of(headers.get("content-type", "")))
        bytes_max = self.arrow_bytes_max if columnar else self.bytes_max
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > bytes_max:
            await problem_response(413, _detail(bytes_max), slug="body-too-large")(scope, receive, send)
        else:
            await self.app(scope, _counting(receive, bytes_max), send)


def _counting(receive: Receive, bytes_max: int) -> Receive:
    arrived = 0

    async def counting() -> Message:
        nonlocal arrived
        message = await receive()
        arrived += len(message.get("body", b""))
        if arrived > bytes_max:
            raise BodyTooLarge(_detail(bytes_max))
        return message

    return counting


def _detail(bytes_max: int) -> str:
    return f"the body is larger than {bytes_max} bytes; send it in smaller parts"
