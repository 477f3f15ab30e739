"""Passwords of users: argon2id, with the parameters of RFC 9106 for machines with little memory."""

from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from store.errors import Refused

LENGTH_MIN, LENGTH_MAX = 12, 1024
AT_ONCE = 2
"""So many are hashed at a time: each takes 64 MiB and much of a processor."""

_hasher = PasswordHasher()
_turns = BoundedSemaphore(AT_ONCE)


def hashed(password: str) -> str:
    """Raises Refused for one that is too short."""
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise Refused([f"a password has {LENGTH_MIN} to {LENGTH_MAX} characters"])
    with _turns:
        return _hasher.hash(password)


def is_right(password_hash: str | None, password: str) -> bool:
    """It takes as long where there is no hash."""
    with _turns:
        try:
            _hasher.verify(password_hash or _nobody(), password)
        except (VerificationError, InvalidHashError):
            return False
    return password_hash is not None


def _nobody() -> str:
    if "hash" not in _kept:
        _kept["hash"] = _hasher.hash("the password of nobody")
    return _kept["hash"]


_kept: dict[str, str] = {}
