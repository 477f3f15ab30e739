"""API keys and subject tokens: made, rotated, revoked, and known again by each request.

All that are in force are in memory: a request costs a look-up by id and a SHA-256, and who is revoked is refused from
then on. This process is the only one on its data directory, so memory and database say the same.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hmac import compare_digest
from threading import Lock

from api.access import tokens
from api.access.audit import about
from api.access.buckets import SECOND, Bucket, RateLimit
from api.access.caller import Caller, Scope, scopes_of
from api.access.errors import NotAuthenticated, TooManyRequests
from store.api_keys import ApiKeys, KeyKind, KeyRecord
from store.changes import Now
from store.errors import NotFound, Refused

ROTATION_HOURS = 24
_PREFIXES = (tokens.KEY.encode(), tokens.TOKEN.encode())
_WRONG = "the API key is not known; make one with `tallystick keys create`"
_NOT_OURS = "the Authorization header has no API key: send `Authorization: Bearer tsk_...`"


@dataclass(frozen=True)
class Made:
    """A key, and what it is called with: shown this once."""

    record: KeyRecord
    token: str


class _Known:
    """A key in force. Its fields are read by the event loop, and replaced whole."""

    __slots__ = ("before", "before_until", "bucket", "caller", "ends_at", "hash", "made_by", "used_at")

    def __init__(self, record: KeyRecord, now: int) -> None:
        self.caller = _caller(record)
        self.hash = bytes.fromhex(record.secret_hash)
        self.before = bytes.fromhex(record.secret_before_hash) if record.secret_before_hash else None
        self.before_until = record.secret_before_until
        self.ends_at = record.expires_at
        limit = _limit(record)
        self.bucket = Bucket(limit, now) if limit is not None else None
        self.made_by = record.made_by
        self.used_at: datetime | None = None


class KeyService:
    """Every method may be called from any thread."""

    def __init__(self, records: ApiKeys, now: Now) -> None:
        self._records, self._now = records, now
        self._changing = Lock()
        self._known: dict[bytes, _Known] = {}
        found = records.all()
        self.exist = bool(found)
        for record in found:
            self._keep(record)

    def caller(self, token: bytes) -> Caller:
        """Whose key `token` is. Raises NotAuthenticated and TooManyRequests."""
        known = self._known.get(token[tokens.ID])
        now = self._now()
        if known is None or not _is_right(known, tokens.secret_hash(token), now):
            raise NotAuthenticated(_WRONG if token[: len(tokens.KEY)] in _PREFIXES else _NOT_OURS)
        if known.ends_at is not None and known.ends_at <= now:
            raise NotAuthenticated(f"the API key has expired at {known.ends_at.isoformat()}; make another one")
        known.used_at = now
        if known.bucket is not None:
            _take(known.bucket)
        return known.caller

    def is_in_force(self, key_id: str) -> bool:
        """Whether a key is neither revoked nor expired."""
        known = self._known.get(key_id.encode())
        return known is not None and (known.ends_at is None or self._now() < known.ends_at)

    def all(self, kind: KeyKind) -> list[KeyRecord]:
        """Oldest first, with when they were used last."""
        return [self._with_use(record) for record in self._records.all() if record.kind == kind]

    def get(self, key_id: str, kind: KeyKind | None = None) -> KeyRecord:
        """Raises NotFound."""
        found = self._records.get(key_id)
        if kind is not None and found.kind != kind:
            raise NotFound(kind, key_id)
        return self._with_use(found)

    def create(self, name: str, scopes: Sequence[Scope], expires_at: datetime | None, limit: RateLimit | None) -> Made:
        """A key. Raises Refused, also for a first one that may not make others."""
        if not scopes:
            raise Refused(["a key needs a scope: ingest, quota, read, rate, catalog or admin"])
        with self._changing:
            if not self.exist and Scope.admin not in scopes:
                raise Refused(["the first key needs the scope admin: without one nobody could make the next"])
            return self._add("key", name, sorted(set(scopes)), expires_at, limit)

    def create_token(self, subject: str | None, customer: str | None, seconds: int, *, made_by: Caller) -> Made:
        """A token that reads what is about one subject, or one customer; it ends with the key that made it. Raises
        Refused."""
        if (subject is None) == (customer is None):
            raise Refused(["give either `subject` or `customer`"])
        with self._changing:
            if not self.exist:
                raise Refused(["make a key first, with the scope admin: from the first token on everybody needs one"])
            expires_at = self._now() + timedelta(seconds=seconds)
            parent = made_by.id if made_by.kind == "key" else None
            ends_at = self._records.get(parent).expires_at if parent is not None else None
            expires_at = expires_at if ends_at is None else min(expires_at, ends_at)
            name = subject or customer or ""
            return self._add("token", name, (), expires_at, None, subject=subject, customer=customer, made_by=parent)

    def revoke(self, key_id: str, kind: KeyKind) -> KeyRecord:
        """From now on it is refused, and the tokens that it made; again changes nothing. Raises NotFound."""
        with self._changing:
            record = self.get(key_id, kind)
            if record.revoked_at is not None:
                return record
            now = self._now()
            self._records.revoke(key_id, now, used_at=record.last_used_at)
            for each in [key for key, known in self._known.items() if key_id in (known.caller.id, known.made_by)]:
                self._known.pop(each, None)
        return replace(record, revoked_at=now)

    def rotate(self, key_id: str, hours: int) -> Made:
        """Another secret; the one of before is good for so many more hours. Raises NotFound and Refused."""
        with self._changing:
            record = self.get(key_id, "key")
            if record.revoked_at is not None:
                raise Refused([f"key {key_id} is revoked; make another one"])
            token = tokens.new_token(tokens.KEY, key_id)
            changed = replace(
                record,
                secret_hash=tokens.secret_hash(token.encode()).hex(),
                secret_before_hash=record.secret_hash if hours else None,
                secret_before_until=self._now() + timedelta(hours=hours) if hours else None,
            )
            names = ("secret_hash", "secret_before_hash", "secret_before_until")
            self._records.change(key_id, **{name: getattr(changed, name) for name in names})
            self._keep(changed)
        return Made(changed, token)

    def note_used(self) -> None:
        """Write when keys were used last; called now and then."""
        used = {}
        for key_id, known in list(self._known.items()):
            at, known.used_at = known.used_at, None
            if at is not None:
                used[key_id.decode()] = at
        self._records.note_used(used)

    def _add(
        self,
        kind: KeyKind,
        name: str,
        scopes: Sequence[Scope],
        expires_at: datetime | None,
        limit: RateLimit | None,
        *,
        subject: str | None = None,
        customer: str | None = None,
        made_by: str | None = None,
    ) -> Made:
        now = self._now()
        if expires_at is not None and expires_at <= now:
            raise Refused([f"expires_at {expires_at.isoformat()} is not in the future"])
        key_id = tokens.new_id()
        token = tokens.new_token(tokens.KEY if kind == "key" else tokens.TOKEN, key_id)
        record = KeyRecord(
            id=key_id,
            kind=kind,
            name=name,
            scopes=tuple(str(scope) for scope in scopes),
            subject=subject,
            customer=customer,
            secret_hash=tokens.secret_hash(token.encode()).hex(),
            secret_before_hash=None,
            secret_before_until=None,
            limit_requests=limit.requests if limit else None,
            limit_seconds=limit.seconds if limit else None,
            created_at=now,
            expires_at=expires_at,
            revoked_at=None,
            last_used_at=None,
            made_by=made_by,
        )
        about(object=key_id)
        self._records.add(record)
        self.exist = True
        self._keep(record)
        return Made(record, token)

    def _keep(self, record: KeyRecord) -> None:
        if record.revoked_at is not None:
            self._known.pop(record.id.encode(), None)
        else:
            self._known[record.id.encode()] = _Known(record, time.monotonic_ns())

    def _with_use(self, record: KeyRecord) -> KeyRecord:
        known = self._known.get(record.id.encode())
        return record if known is None or known.used_at is None else replace(record, last_used_at=known.used_at)


def _is_right(known: _Known, given: bytes, now: datetime) -> bool:
    """In a time that says nothing about the secret."""
    if compare_digest(known.hash, given):
        return True
    before, until = known.before, known.before_until
    return before is not None and until is not None and now < until and compare_digest(before, given)


def _take(bucket: Bucket) -> None:
    waits = bucket.take(time.monotonic_ns())
    if waits:
        seconds, limit = -(-waits // SECOND), bucket.limit
        headers = {
            "Retry-After": str(seconds),
            "RateLimit-Policy": f'"key";q={limit.requests};w={limit.seconds}',
            "RateLimit": f'"key";r=0;t={seconds}',
        }
        detail = f"this key may send {limit.requests} requests in {limit.seconds} s; try again in {seconds} s"
        raise TooManyRequests(detail, headers)


def _caller(record: KeyRecord) -> Caller:
    scopes = scopes_of(frozenset(Scope(scope) for scope in record.scopes))
    return Caller(record.id, record.kind, record.name, scopes, record.subject, record.customer)


def _limit(record: KeyRecord) -> RateLimit | None:
    if record.limit_requests is None or record.limit_seconds is None:
        return None
    return RateLimit(record.limit_requests, record.limit_seconds)
