"""The tables of customers, catalogs, runs, signals, backfills and credits; those of quotas are in quota_tables.py. The
migrations under store/migrations/ build exactly these (a test compares)."""

from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text
from sqlalchemy.types import JSON

from store.columns import SEQUENCE, Instant, Number, metadata

customers = Table(
    "customers",
    metadata,
    Column("key", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("time_zone", String, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("parent", String, index=True),
)
"""One row is one customer; `time_zone` (IANA) is where its billing periods begin and end. `parent` is the customer who
pays for it, null when it pays itself; a parent has no parent (store/customers.py)."""

subjects = Table(
    "subjects",
    metadata,
    Column("subject", String, primary_key=True),
    Column("customer", String, ForeignKey("customers.key"), nullable=False, index=True),
)
"""One row is one subject of usage events and the customer who pays for it."""


def _terms() -> list[Column[Any]]:
    """What was agreed of a subscription beside its plan."""
    return [
        Column("interval", String, nullable=False, server_default="month"),
        Column("intervals", Integer, nullable=False, server_default="1"),
        Column("anchor", Instant),
        Column("seats", Number, nullable=False, server_default="1"),
        Column("trial_ends_at", Instant),
    ]


subscriptions = Table(
    "subscriptions",
    metadata,
    Column("key", String, primary_key=True),
    Column("customer", String, ForeignKey("customers.key"), nullable=False, index=True),
    Column("plan", String, nullable=False, index=True),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant),
    *_terms(),
)
"""One row is what was agreed at first of one subscription of a customer to a plan, in force on [`starts_at`,
`ends_at`): `interval` (day, week, month or year), `intervals` (how many make a period) and `anchor` (where one begins;
null: on the calendar) are its billing cycle. What was agreed since is in `subscription_changes`."""

subscription_changes = Table(
    "subscription_changes",
    metadata,
    Column("id", String, primary_key=True),
    Column("subscription", String, ForeignKey("subscriptions.key"), nullable=False, index=True),
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("item", String),
    Column("effective_at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("plan", String),
    Column("seats", Number),
    Column("state", String),
    Column("prices", Text),
    Column("given", JSON, nullable=False),
    Column("change", BigInteger, nullable=False, index=True),
    Column("interval", String),
    Column("intervals", Integer),
    Column("anchor", Instant),
)
"""One row is one change of a subscription, as CHANGE in rating/core/timeline.py has it; `prices` is JSON. `given` is
what was asked for, to know it again, and `change` the number (of `changes`) under which it was recorded. Rows are
added, never altered: a later row at the same instant takes one back."""

changes = Table(
    "changes",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("recorded_at", Instant, nullable=False),
)
"""One row is one change of accounts or credits: in the order of `sequence`, and `recorded_at` never goes back. Number 0
is what there was when changes were first numbered."""

customer_versions = Table(
    "customer_versions",
    metadata,
    Column("key", String, primary_key=True),
    Column("change", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String, nullable=False),
    Column("time_zone", String, nullable=False),
    Column("parent", String),
    Index("ix_customer_versions_change", "change"),
)
"""One row is a customer as it is from `change` on, until its next row. Rows are added, never altered."""

subject_versions = Table(
    "subject_versions",
    metadata,
    Column("subject", String, primary_key=True),
    Column("change", BigInteger, primary_key=True, autoincrement=False),
    Column("customer", String),
    Index("ix_subject_versions_change", "change"),
)
"""One row is who pays for a subject from `change` on, until its next row; a null customer is nobody any more."""

subscription_versions = Table(
    "subscription_versions",
    metadata,
    Column("key", String, primary_key=True),
    Column("change", BigInteger, primary_key=True, autoincrement=False),
    Column("customer", String, nullable=False),
    Column("plan", String, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant),
    *_terms(),
    Index("ix_subscription_versions_change", "change"),
)
"""One row is a subscription as it is from `change` on, until its next row. Rows are added, never altered."""

catalogs = Table(
    "catalogs",
    metadata,
    Column("version", String, primary_key=True),
    Column("document", Text, nullable=False),
)
"""One row is one catalog version: the hash of its canonical JSON, and that JSON."""

catalog_applications = Table(
    "catalog_applications",
    metadata,
    Column("sequence", SEQUENCE, primary_key=True),
    Column("version", String, ForeignKey("catalogs.version"), nullable=False),
    Column("applied_at", Instant, nullable=False),
    sqlite_autoincrement=True,
)
"""One row is one time that a catalog version came into force; the last row is the current one."""

shadow_catalogs = Table(
    "shadow_catalogs",
    metadata,
    Column("sequence", SEQUENCE, primary_key=True),
    Column("version", String, ForeignKey("catalogs.version"), nullable=False),
    Column("plans", JSON, nullable=False),
    Column("set_at", Instant, nullable=False),
    Column("ended_at", Instant),
    sqlite_autoincrement=True,
)
"""One row is one time that a catalog was rated beside the one in force; the one without `ended_at` is so now. `plans`
maps plans to those of the catalog."""

rating_runs = Table(
    "rating_runs",
    metadata,
    Column("id", String, primary_key=True),
    Column("period", String, nullable=False),
    Column("catalog_version", String, ForeignKey("catalogs.version"), nullable=False),
    Column("table_version", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("code_version", String, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("status", String, nullable=False),
    Column("digest", String),
    Column("report", JSON),
    Column("last_change", BigInteger),
    Column("as_of", Instant),
    Column("kind", String, nullable=False, server_default="draft"),
    Column("due_after", Instant),
    Column("due_until", Instant, index=True),
    Index("ix_rating_runs_started_at", "started_at", "id"),
)
"""One row is one rating run: its inputs, and once it is done the digest of its lines and its report. `last_change` is
up to which of `changes` it saw accounts and credits; null for a run from before these were numbered. A run with `as_of`
rated what was known at that instant; null: what was known when it began.
`status` is running, done, failed or interrupted (the process ended before the run did). `kind` is draft, final (it has
closed what became due on (`due_after`, `due_until`]) or restatement (of what was closed before `due_after`)."""

signals = Table(
    "signals",
    metadata,
    Column("sequence", SEQUENCE, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("type", String, nullable=False),
    Column("customer", String, nullable=False),
    Column("raised_at", Instant, nullable=False),
    Column("data", JSON, nullable=False),
    Column("feature", String),
    Column("scope", String),
    Column("owner", String),
    Index("ix_signals_customer", "customer", "sequence"),
    sqlite_autoincrement=True,
)
"""One row is one signal of the outbox, in the order it was recorded. `id` is derived from what crossed, so that
recording it again changes nothing. Amounts in `data` are text."""

backfills = Table(
    "backfills",
    metadata,
    Column("id", String, primary_key=True),
    Column("state", String, nullable=False, index=True),
    Column("range_start", Instant, nullable=False),
    Column("range_end", Instant, nullable=False),
    Column("types", JSON, nullable=False),
    Column("subjects", JSON, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("opened_sequence", BigInteger, nullable=False),
    Column("number", BigInteger, unique=True),
    Column("staged_events", BigInteger),
    Column("committed_at", Instant),
    Column("ended_at", Instant),
    Index("ix_backfills_opened_at", "opened_at", "id"),
)
"""One row is one backfill: the range [`range_start`, `range_end`) that it replaces, of `types` and `subjects` (arrays;
empty is all). `state` is open, committed, reverted or dropped; `number` counts commits."""

credit_grants = Table(
    "credit_grants",
    metadata,
    Column("id", String, primary_key=True),
    Column("customer", String, ForeignKey("customers.key"), nullable=False, index=True),
    Column("subscription", String),
    Column("kind", String, nullable=False),
    Column("unit", String, nullable=False),
    Column("amount", String, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("effective_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("voided_at", Instant),
    Column("features", JSON, nullable=False),
    Column("meters", JSON, nullable=False),
    Column("prices", JSON, nullable=False),
    Column("increment", String),
    Column("factor", String),
    Column("recurs_every", String),
    Column("recurs_from", Instant),
    Column("rollover_minimum", String),
    Column("rollover_maximum", String),
    Column("cost_basis", String),
    Column("given", JSON, nullable=False),
    Column("change", BigInteger),
    Column("void_change", BigInteger),
)
"""One row is one grant of prepaid credits to a customer, as rating/core/credits/schema.py has it; decimals are text.
`features`, `meters` and `prices` are arrays of keys, empty is all; `given` is what was asked for, to know it again.
`change` and `void_change` are the numbers (of `changes`) under which the grant and its void were recorded."""

credit_refunds = Table(
    "credit_refunds",
    metadata,
    Column("id", String, primary_key=True),
    Column("customer", String, ForeignKey("customers.key"), nullable=False, index=True),
    Column("line", String, nullable=False, index=True),
    Column("unit", String, nullable=False),
    Column("amount", String, nullable=False),
    Column("run", String, ForeignKey("rating_runs.id"), nullable=False),
    Column("refunded_at", Instant, nullable=False, index=True),
    Column("parts", JSON, nullable=False),
    Column("given", JSON, nullable=False),
    Column("change", BigInteger),
)
"""One row is one refund of what credits paid of a charge line, by the ledger of `run`. `parts` say which grant gets
what back, and of which event where units paid; decimals are text, `given` and `change` are as in `credit_grants`."""
