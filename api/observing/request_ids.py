"""The id of a request: as its caller has named it, or a new one. It is answered, logged, and in every 5xx."""

import random
import re
from collections.abc import Iterable
from contextvars import ContextVar
from itertools import count

from starlette.requests import Request

HEADER = b"x-request-id"
_well_formed = re.compile(rb"[\x21-\x7e]{1,128}").fullmatch
_numbers = count(random.getrandbits(48))  # a number behind random bits of the process: unlike every other, no secret
_process = f"{random.getrandbits(64):016x}"

current: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that this code works for, in its threads too; none in the threads that work for all."""


def id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The one that the caller gives where it is 1 to 128 visible ASCII characters, else a new one."""
    for name, value in headers:
        if name == HEADER:
            return value.decode("ascii") if _well_formed(value) else new_id()
    return f"{_process}{next(_numbers):016x}"  # new_id, without the call


def new_id() -> str:
    """128 bits in hex, unlike every other."""
    return f"{_process}{next(_numbers):016x}"


def request_id_of(request: Request) -> str:
    """As api/observing/requests.py has found it; a new one where that is not in front, as in tests."""
    found: str | None = request.scope.get("state", {}).get("request_id")
    return found or new_id()
