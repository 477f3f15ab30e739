"""The tables of access: API keys and subject tokens, users and their sessions, and the audit log."""

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, String, Table, Text
from sqlalchemy.types import JSON

from store.columns import Instant, metadata

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("subject", String),
    Column("customer", String),
    Column("secret_hash", String, nullable=False),
    Column("secret_before_hash", String),
    Column("secret_before_until", Instant),
    Column("limit_requests", Integer),
    Column("limit_seconds", Integer),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("last_used_at", Instant),
    Column("made_by", String),
)
"""One row is one key, or (`kind` token) one token that reads what is about its `subject` or `customer`. Of a secret
only the SHA-256 is here: it has 256 random bits, so nothing slower is needed. `secret_before_hash` is the secret of
before a rotation, good until its instant. `limit_requests` in `limit_seconds` is the rate limit, null where there is
none; `made_by` is the key that made a token. Rows are never removed: what was revoked stays known."""

users = Table(
    "users",
    metadata,
    Column("name", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("password_hash", String, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("removed_at", Instant),
)
"""One row is one user of the dashboard; the hash is argon2's."""

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String, primary_key=True),
    Column("user", String, ForeignKey("users.name"), nullable=False, index=True),
    Column("created_at", Instant, nullable=False),
    Column("used_at", Instant, nullable=False),
)
"""One row is one login that has not ended. `used_at` is written now and then."""

audit_log = Table(
    "audit_log",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("caller_kind", String, nullable=False),
    Column("caller", String, nullable=False),
    Column("caller_name", String, nullable=False),
    Column("action", String, nullable=False),
    Column("object", String, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("before_digest", String),
    Column("after_digest", String),
    Column("request_id", String),
    Column("previous_hash", String, nullable=False),
    Column("hash", String, nullable=False),
)
"""One row is one change that somebody made: who, what, of what, and JSON of before and after (of what is large only the
digest). Rows are added, never altered; `hash` is over the row and the hash of the row before (store/audit_log.py)."""
