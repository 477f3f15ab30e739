"""Users of the dashboard, their logins and their sessions.

A session is a random token in a cookie; its SHA-256 is kept. It ends when it was not used for a while, when it is old,
when its user logs out, is removed, or gets another role or password. The token that forms must send (against requests
of other sites) is made of the session's, so nothing more is kept.
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hmac import compare_digest
from threading import Lock

from api.access.audit import about
from api.access.buckets import SECOND, Bucket, RateLimit
from api.access.caller import SCOPES, Caller, Role
from api.access.errors import NotAuthenticated, TooManyRequests
from api.access.passwords import hashed, is_right
from store.changes import Now
from store.errors import NotFound
from store.users import SessionRecord, UserRecord, Users

TRIES_OF_A_NAME = RateLimit(5, 150)
TRIES_OF_AN_ADDRESS = RateLimit(20, 100)
_TRIED_MAX = 10_000
_WRONG = "the name or the password is not right"


@dataclass(frozen=True)
class SessionLimits:
    """How long a session lives without use, and at all."""

    idle: timedelta
    whole: timedelta


class Sessions:
    """Every method may be called from any thread."""

    def __init__(self, records: Users, limits: SessionLimits, now: Now) -> None:
        self._records, self._limits, self._now = records, limits, now
        self._changing = Lock()
        self._tries = Tries()
        found = records.all()
        self.exist = bool(found)
        self._users = {user.name: user for user in found if user.removed_at is None}
        self._sessions = {each.token_hash: each for each in records.sessions()}
        self._used: dict[str, datetime] = {}  # beside the sessions, so that to use one never brings it back

    def caller(self, token: str) -> Caller:
        """Whose session it is. Raises NotAuthenticated."""
        key, now = _hash(token), self._now()
        session = self._sessions.get(key)
        user = None if session is None else self._users.get(session.user)
        if session is None or user is None or not self._lives(session, now):
            raise NotAuthenticated("the session has ended: log in again at /login")
        self._used[key] = now
        return Caller(user.name, "session", user.name, SCOPES[Role(user.role)])

    def log_in(self, name: str, password: str, address: str) -> str:
        """A new session's token. Raises NotAuthenticated, and TooManyRequests after too many wrong ones."""
        self._tries.begin(name, address)
        user = self._users.get(name)
        if not is_right(user.password_hash if user else None, password) or user is None:
            raise NotAuthenticated(_WRONG)
        self._tries.succeeded(name, address)
        token, now = secrets.token_urlsafe(32), self._now()
        session = SessionRecord(_hash(token), name, now, now)
        with self._changing:
            self._drop([key for key, each in self._sessions.items() if not self._lives(each, now)])
            self._records.add_session(session)
            self._sessions[session.token_hash] = session
        return token

    def log_out(self, token: str) -> None:
        """End a session, if it is one."""
        with self._changing:
            self._drop([_hash(token)])

    def knows(self, name: str) -> bool:
        """Whether there is such a user."""
        return name in self._users

    def users(self) -> list[UserRecord]:
        """By name."""
        return sorted(self._users.values(), key=lambda user: user.name)

    def get(self, name: str) -> UserRecord:
        """Raises NotFound."""
        found = self._users.get(name)
        if found is None:
            raise NotFound("user", name)
        return found

    def add(self, name: str, role: Role, password: str) -> UserRecord:
        """Raises Refused when the name is taken, or the password is too short."""
        record = UserRecord(name, str(role), hashed(password), self._now(), None)
        about(object=name)
        with self._changing:
            self._records.add(record)
            self._users[name] = record
            self.exist = True
        return record

    def change(self, name: str, role: Role | None, password: str | None) -> UserRecord:
        """Another role or password; the sessions of the user end. Raises NotFound and Refused."""
        user = self.get(name)
        changed = replace(
            user,
            role=user.role if role is None else str(role),
            password_hash=user.password_hash if password is None else hashed(password),
        )
        with self._changing:
            self._records.change(name, role=changed.role, password_hash=changed.password_hash)
            self._users[name] = changed
            self._forget(name)
        return changed

    def remove(self, name: str) -> UserRecord:
        """The user, with the sessions. Raises NotFound."""
        user = self.get(name)
        with self._changing:
            self._records.change(name, removed_at=self._now())
            self._users.pop(name, None)
            self._forget(name)
        return user

    def note_used(self) -> None:
        """Write when sessions were used last; called now and then."""
        self._records.note_used({key: at for key, at in list(self._used.items()) if key in self._sessions})

    def _lives(self, session: SessionRecord, now: datetime) -> bool:
        used_at = self._used.get(session.token_hash, session.used_at)
        return now < min(used_at + self._limits.idle, session.created_at + self._limits.whole)

    def _forget(self, name: str) -> None:
        for key in [key for key, session in self._sessions.items() if session.user == name]:
            self._end(key)

    def _drop(self, keys: list[str]) -> None:
        there = [key for key in keys if key in self._sessions]
        if there:
            self._records.end_sessions(there)
            for key in there:
                self._end(key)

    def _end(self, key: str) -> None:
        self._sessions.pop(key, None)
        self._used.pop(key, None)


class Tries:
    """How often somebody tried to log in, by name and by address; the longest unused are forgotten."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()
        self._lock = Lock()

    def begin(self, name: str, address: str) -> None:
        """Raises TooManyRequests."""
        now = time.monotonic_ns()
        with self._lock:
            limits = (TRIES_OF_A_NAME, TRIES_OF_AN_ADDRESS)
            buckets = [self._bucket(key, limit, now) for key, limit in zip(_keys(name, address), limits, strict=True)]
            waits = max(bucket.take(now) for bucket in buckets)
        if waits:
            seconds = -(-waits // SECOND)
            detail = f"too many wrong passwords; try again in {seconds} s"
            raise TooManyRequests(detail, {"Retry-After": str(seconds)})

    def succeeded(self, name: str, address: str) -> None:
        with self._lock:
            for key in _keys(name, address):
                if key in self._buckets:
                    self._buckets[key].give_back()

    def _bucket(self, key: tuple[str, str], limit: RateLimit, now: int) -> Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(limit, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > _TRIED_MAX:
            self._buckets.popitem(last=False)
        return bucket


def form_token(session_token: str) -> str:
    """What a form of this session must send."""
    return hashlib.sha256(f"form {session_token}".encode()).hexdigest()


def is_form_token(session_token: str, given: str) -> bool:
    return compare_digest(form_token(session_token).encode(), given.encode())


def _keys(name: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("name", _hash(name)), ("address", address)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
