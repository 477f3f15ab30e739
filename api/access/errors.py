"""Why a request is turned away."""

from collections.abc import Mapping


class Denied(Exception):
    """The family; `status`, `slug` and `headers` are the answer."""

    status = 403
    slug = "forbidden"

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.headers = dict(headers or {})


class NotAuthenticated(Denied):
    """Nobody knows who asks."""

    status = 401
    slug = "not-authenticated"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, {"WWW-Authenticate": 'Bearer realm="tallystick"'})


class NotAllowed(Denied):
    """It is known who asks, and that may not."""

    slug = "not-allowed"


class NotYours(Denied):
    """Somebody else's: the answer does not tell whether it is there."""

    status = 404
    slug = "not-found"


class TooManyRequests(Denied):
    """Not now."""

    status = 429
    slug = "too-many-requests"
