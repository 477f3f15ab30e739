"""The tables of quotas: grants, overrides, leases, webhooks and states of customers. See tables.py for the others."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text
from sqlalchemy.types import JSON

from store.columns import SEQUENCE, Instant, Number, metadata

quota_grants = Table(
    "quota_grants",
    metadata,
    Column("id", String, primary_key=True),
    Column("customer", String, ForeignKey("customers.key"), nullable=False, index=True),
    Column("feature", String, nullable=False),
    Column("amount", Number, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("effective_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("voided_at", Instant),
    Column("recurs_every", String),
    Column("recurs_from", Instant),
    Column("rollover_minimum", Number),
    Column("rollover_maximum", Number),
    Column("given", JSON, nullable=False),
    Column("change", BigInteger, nullable=False),
    Column("void_change", BigInteger),
)
"""One row is an amount of a feature that a customer may use beside what its plans give. `given` is what was asked for,
to know it again; `change` and `void_change` are the numbers (of `changes`) of the grant and of its void."""

quota_overrides = Table(
    "quota_overrides",
    metadata,
    Column("id", String, primary_key=True),
    Column("customer", String, ForeignKey("customers.key"), nullable=False, index=True),
    Column("subject", String),
    Column("feature", String, nullable=False),
    Column("is_unlimited", Boolean, nullable=False),
    Column("limit", Number),
    Column("enforcement", String),
    Column("grace", Number),
    Column("window", JSON),
    Column("effective_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("reason", Text, nullable=False),
    Column("ended_at", Instant),
    Column("given", JSON, nullable=False),
    Column("change", BigInteger, nullable=False),
    Column("end_change", BigInteger),
)
"""One row stands in for what plans give of a feature on [`effective_at`, `expires_at`), until it is ended: of the
customer, or with a `subject` the limit of this subject alone. `given`, `change` and `end_change` are as in
`quota_grants`."""

leases = Table(
    "leases",
    metadata,
    Column("id", String, primary_key=True),
    Column("subject", String, nullable=False),
    Column("customer", String, nullable=False, index=True),
    Column("feature", String, nullable=False),
    Column("granted", Number, nullable=False),
    Column("used", Number, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("records", String, nullable=False),
    Column("state", String, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False, index=True),
    Column("segment_ends_at", Instant),
    Column("ended_at", Instant),
    Column("given", JSON, nullable=False),
)
"""One row is a slice of a quota that a gateway spends by itself. `used` is cumulative, by the report `sequence`;
`records` is usage (reports become events) or nothing; `state` is open, released or expired."""

lease_reports = Table(
    "lease_reports",
    metadata,
    Column("lease", String, ForeignKey("leases.id"), primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("used", Number, nullable=False),
    Column("delta", Number, nullable=False),
    Column("at", Instant, nullable=False),
    Column("event", JSON),
    Column("recorded", Boolean, nullable=False, index=True),
)
"""One row is a report of a lease and the `event` that it becomes, null where it becomes none: `recorded` once that is
in the log, and until then posted again at each start, under the same identity."""

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", String, primary_key=True),
    Column("url", Text, nullable=False),
    Column("types", JSON, nullable=False),
    Column("customers", JSON, nullable=False),
    Column("secret", String, nullable=False),
    Column("secret_before", String),
    Column("secret_before_until", Instant),
    Column("state", String, nullable=False),
    Column("reason", Text),
    Column("cursor", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
)
"""One row is where signals are delivered; `types` and `customers` are arrays, empty is all. `state` is active, paused
or disabled; the signals up to the sequence `cursor` have become deliveries."""

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("endpoint", String, ForeignKey("webhook_endpoints.id"), primary_key=True),
    Column("signal", BigInteger, primary_key=True, autoincrement=False),
    Column("customer", String, nullable=False),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Instant),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("delivered_at", Instant),
    Index("ix_webhook_deliveries_next_at", "state", "next_at"),
)
"""One row is one signal on its way to one endpoint. `state` is waiting, delivered or dead."""

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("sequence", SEQUENCE, primary_key=True),
    Column("endpoint", String, ForeignKey("webhook_endpoints.id"), nullable=False, index=True),
    Column("signal", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("status", Integer),
    Column("error", Text),
    Column("milliseconds", Integer, nullable=False),
    sqlite_autoincrement=True,
)
"""One row is one try to deliver a signal. The newest are kept."""

open_levels = Table(
    "open_levels",
    metadata,
    Column("key", String, primary_key=True),
    Column("customer", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("scope", String, nullable=False),
    Column("feature", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("window_end", Instant),
    Column("signal", String, nullable=False),
)
"""One row is a level that was raised and not restored yet: `key` is that of the signal that raised it."""

level_arms = Table(
    "level_arms",
    metadata,
    Column("scope", String, primary_key=True),
    Column("owner", String, primary_key=True),
    Column("feature", String, primary_key=True),
    Column("window", String, primary_key=True),
    Column("level", String, primary_key=True),
    Column("arm", Integer, nullable=False),
    Column("window_end", Instant),
)
"""One row is how often a level was restored in a window, which is called by its start, so that to reach it again is
another crossing. An empty `window` has no start."""

signal_cursors = Table(
    "signal_cursors",
    metadata,
    Column("name", String, primary_key=True),
    Column("cursor", BigInteger, nullable=False),
)
"""One row is another way out for signals: those up to the sequence `cursor` were passed on."""

customer_states = Table(
    "customer_states",
    metadata,
    Column("id", String, primary_key=True),
    Column("customer", String, ForeignKey("customers.key"), nullable=False, index=True),
    Column("features", JSON, nullable=False),
    Column("state", String, nullable=False),
    Column("plan", String),
    Column("amount", Number),
    Column("reason", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant),
    Column("signal", String),
    Column("ended_at", Instant),
    Column("ended_because", String),
    Column("change", BigInteger, nullable=False),
)
"""One row is what checks obey of a customer on [`since`, `until`), until it is ended: suspended, restricted (to the
limits of `plan`) or overage (up to `amount`), for `features` (an array, empty is all), and why."""
