"""The audit log of requests: a change that succeeded has exactly one entry.

The entry is written with the first transaction of the request that is committed: both are there, or neither. What was
done without the database (a correction in the journal) is logged before the answer; when that fails the request fails,
and is sent again. A service may say more of its change than the request does: `about`.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Connection
from starlette.types import Message, Receive

from api.access.caller import Caller
from store.audit_log import AuditRecords, AuditVerified, Change
from store.database import ALONGSIDE, writing

_HELD_BYTES_MAX = 64 * 1024
_SECRETS = frozenset({"password", "secret", "token", "key_secret"})
_HIDDEN = "(not shown)"


class AuditLog:
    """Who changed what."""

    def __init__(self, records: AuditRecords) -> None:
        self._records = records

    def record(
        self,
        caller: Caller,
        action: str,
        object: str,
        before: Any = None,
        after: Any = None,
        request_id: str | None = None,
    ) -> None:
        """Log a change in a transaction of its own; `before` and `after` are anything that JSON can hold."""
        self._records.append(
            Change(caller.kind, caller.id, caller.name, action, object, _json(before), _json(after), request_id)
        )

    def pending(self, caller: Caller, action: str, object: str, request_id: str | None) -> "Pending":
        """The entry of a request that has just begun."""
        return Pending(self._records, caller, action, object, request_id)

    def verify(self) -> AuditVerified:
        """Whether the log is whole."""
        return self._records.verify()


class Pending:
    """The entry of a request, until it is written. `body` is what the request asks for."""

    def __init__(self, records: AuditRecords, caller: Caller, action: str, object: str, request_id: str | None) -> None:
        self._records, self._caller, self._action, self._request_id = records, caller, action, request_id
        self.object = object
        self.before: Any = None
        self.after: Any = None
        self.body = Body()
        self.is_done = False
        self._is_within = False

    def write(self, connection: Connection) -> None:
        """With what `connection` is about to commit."""
        if not self.is_done:
            self._records.append_within(connection, self._change())
            self._is_within = True

    def written(self) -> None:
        self.is_done = self.is_done or self._is_within

    def finish(self) -> None:
        """Write it now, if no transaction of the request has."""
        if not self.is_done:
            with writing(self._records.engine):
                pass

    def _change(self) -> Change:
        after = self.body.json() if self.after is None else _json(self.after)
        caller = self._caller
        before = _json(self.before)
        return Change(caller.kind, caller.id, caller.name, self._action, self.object, before, after, self._request_id)


def about(*, object: str | None = None, before: Any = None, after: Any = None) -> None:
    """What the entry of this request says, if it has one; to be called before the change is committed."""
    pending = ALONGSIDE.get()
    if isinstance(pending, Pending):
        pending.object = pending.object if object is None else object
        pending.before = pending.before if before is None else before
        pending.after = pending.after if after is None else after


def nothing_changes() -> None:
    """This request only asks what would be: it has no entry."""
    pending = ALONGSIDE.get()
    if isinstance(pending, Pending):
        pending.is_done = True


class Body:
    """What has arrived of a request's body: its beginning, and a digest of all."""

    def __init__(self) -> None:
        self._held, self._size, self._digest = b"", 0, hashlib.sha256()

    def watched(self, receive: Receive) -> Receive:
        async def watching() -> Message:
            message = await receive()
            part = message.get("body", b"")
            self._size += len(part)
            self._digest.update(part)
            if self._size <= _HELD_BYTES_MAX:
                self._held += part
            return message

        return watching

    def json(self) -> bytes | None:
        """What was asked for, without secrets; of what is large or no JSON, size and digest. Null for nothing."""
        if not self._size:
            return None
        if self._size <= _HELD_BYTES_MAX:
            try:
                return _json(orjson.loads(self._held))
            except orjson.JSONDecodeError:
                pass
        return orjson.dumps({"bytes": self._size, "sha256": self._digest.hexdigest()})


def _json(value: Any) -> bytes | None:
    options = orjson.OPT_UTC_Z | orjson.OPT_SORT_KEYS
    return None if value is None else orjson.dumps(_without_secrets(value), default=str, option=options)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _HIDDEN if name in _SECRETS and item is not None else _without_secrets(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return value
