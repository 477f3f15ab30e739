"""What the client raises: the class says what to do next."""

from collections.abc import Mapping
from typing import Any


class TallystickError(Exception):
    """Any of these."""


class BufferFull(TallystickError):
    """An event was not taken: as many wait as may. Record it again later; the server does not keep up or is away."""


class Closed(TallystickError):
    """The client was closed before: nothing is recorded any more."""


class Unreachable(TallystickError):
    """No answer, whether or not the request was done. With the same ids it may be sent again."""


class Problem(TallystickError):
    """The server answered that it did not do it. `slug` is the stable name of what is wrong."""

    def __init__(self, status: int, content: Mapping[str, Any]) -> None:
        self.status = status
        self.content = content
        self.slug = str(content.get("type", "")).rstrip("/").replace("/", ":").rpartition(":")[2] or "unknown"
        super().__init__(f"{status} {self.slug}: {content.get('detail', 'the server does not say why')}")
