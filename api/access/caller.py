"""Who sends a request, and what that allows."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Scope(StrEnum):
    """What a caller may do."""

    ingest = "ingest"
    """Send usage events, corrections and backfills."""
    quota = "quota"
    """Ask, consume and lease quotas; read signals."""
    read = "read"
    """Read everything but secrets."""
    rate = "rate"
    """Make and close rating runs; credits and refunds."""
    catalog = "catalog"
    """Change the catalog, customers, subscriptions, entitlements and webhooks."""
    admin = "admin"
    """All of these; keys, users and the audit log besides."""


class Role(StrEnum):
    """What a user of the dashboard is."""

    admin = "admin"
    finance = "finance"
    developer = "developer"
    viewer = "viewer"


EVERYTHING = frozenset(Scope)
SCOPES: dict[Role, frozenset[Scope]] = {
    Role.admin: EVERYTHING,
    Role.finance: frozenset({Scope.read, Scope.rate}),
    Role.developer: frozenset({Scope.ingest, Scope.quota, Scope.read, Scope.catalog}),
    Role.viewer: frozenset({Scope.read}),
}
"""What the users of a role may do."""

CallerKind = Literal["local", "key", "token", "session"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. A token has no scope: it reads what is about its `subject`, or its `customer` and the subjects of
    that."""

    id: str
    kind: CallerKind
    name: str
    scopes: frozenset[Scope]
    subject: str | None = None
    customer: str | None = None


def scopes_of(given: frozenset[Scope]) -> frozenset[Scope]:
    """With all that is in them: admin is everything."""
    return EVERYTHING if Scope.admin in given else given


LOCAL = Caller("local", "local", "this machine", EVERYTHING)
"""Whoever is on this machine, while nobody has made a key."""
