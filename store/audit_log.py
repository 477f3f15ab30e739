"""The log of changes that people and programs made: appended to, never altered, each entry chained to the one before.

The hash of an entry is over its fields and the hash of the entry before. Of what was before and after a change it
covers the digests, so that personal data in them can be erased and the chain still holds. Who can write to the database
can make a whole new chain: to be sure against that, keep the hash of the newest entry elsewhere (`verify` prints it).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime

import orjson
from sqlalchemy import Connection, Engine, insert, select

from store.access_tables import audit_log
from store.changes import Now
from store.database import reading, writing

JSON_BYTES_MAX = 4096
FIRST = "0" * 64
"""What stands for the hash of the entry before the first."""
_CHUNK = 1_000


@dataclass(frozen=True)
class AuditEntry:
    """One change; see the table. `before` and `after` are JSON, null where there is nothing or it is large."""

    sequence: int
    at: datetime
    caller_kind: str
    caller: str
    caller_name: str
    action: str
    object: str
    before: str | None
    after: str | None
    before_digest: str | None
    after_digest: str | None
    request_id: str | None
    previous_hash: str
    hash: str


@dataclass(frozen=True)
class Change:
    """What is to be logged. `before` and `after` are JSON."""

    caller_kind: str
    caller: str
    caller_name: str
    action: str
    object: str
    before: bytes | None = None
    after: bytes | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class AuditVerified:
    """`problem` names the first entry that does not fit; null where all do. `head` is the hash of the newest."""

    entries: int
    head: str
    problem: str | None


_COLUMNS = [audit_log.c[field.name] for field in fields(AuditEntry)]


@dataclass(frozen=True)
class AuditRecords:
    engine: Engine
    now: Now

    def append(self, change: Change) -> None:
        """Log a change in a transaction of its own."""
        with writing(self.engine) as connection:
            self.append_within(connection, change)

    def append_within(self, connection: Connection, change: Change) -> None:
        """Log a change with what else the transaction does, or not at all. Writers come one after the other."""
        newest = select(audit_log.c.sequence, audit_log.c.hash).order_by(audit_log.c.sequence.desc()).limit(1)
        last = connection.execute(newest).one_or_none()
        entry = AuditEntry(
            sequence=1 if last is None else last.sequence + 1,
            at=self.now(),
            caller_kind=change.caller_kind,
            caller=change.caller,
            caller_name=change.caller_name,
            action=change.action,
            object=change.object,
            before=_kept(change.before),
            after=_kept(change.after),
            before_digest=_digest(change.before),
            after_digest=_digest(change.after),
            request_id=change.request_id,
            previous_hash=FIRST if last is None else last.hash,
            hash="",
        )
        connection.execute(insert(audit_log).values(**vars(replace(entry, hash=hash_of(entry)))))

    def page(self, *, after: int, limit: int, action: str | None = None, object: str | None = None) -> list[AuditEntry]:
        """Entries behind sequence `after`, oldest first."""
        query = select(*_COLUMNS).where(audit_log.c.sequence > after)
        if action is not None:
            query = query.where(audit_log.c.action == action)
        if object is not None:
            query = query.where(audit_log.c.object == object)
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(audit_log.c.sequence).limit(limit)).mappings()
            return [AuditEntry(**row) for row in rows]

    def verify(self) -> AuditVerified:
        """Whether every entry is as it was written, and none is missing before the newest."""
        count, head = 0, FIRST
        for entry in self._all():
            problem = _problem(entry, count, head)
            if problem is not None:
                return AuditVerified(count, head, problem)
            count, head = count + 1, entry.hash
        return AuditVerified(count, head, None)

    def _all(self) -> Iterator[AuditEntry]:
        after = 0
        while page := self.page(after=after, limit=_CHUNK):
            yield from page
            after = page[-1].sequence


def hash_of(entry: AuditEntry) -> str:
    """SHA-256 of the fields as a JSON array, which keeps them apart. The contents of before and after are in it by
    their digests."""
    at = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
    chained = (entry.previous_hash, entry.sequence, at, entry.caller_kind, entry.caller, entry.caller_name)
    said = (entry.action, entry.object, entry.before_digest, entry.after_digest, entry.request_id)
    return hashlib.sha256(orjson.dumps([*chained, *said])).hexdigest()


def _problem(entry: AuditEntry, count: int, head: str) -> str | None:
    name = f"entry {entry.sequence}"
    if entry.sequence != count + 1:
        return f"{name} comes behind entry {count}: what is between them is missing"
    if entry.previous_hash != head:
        return f"{name} does not belong behind entry {count}: one of them was replaced"
    if entry.hash != hash_of(entry):
        return f"{name} is not as it was written"
    for content, digest in ((entry.before, entry.before_digest), (entry.after, entry.after_digest)):
        if content is not None and _digest(content.encode()) != digest:
            return f"{name}: what was before or after is not as it was written"
    return None


def _kept(content: bytes | None) -> str | None:
    return content.decode() if content is not None and len(content) <= JSON_BYTES_MAX else None


def _digest(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()
