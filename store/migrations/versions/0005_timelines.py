"""Billing cycles, seats and trials of subscriptions, their changes over time, and customers who pay for others."""

import sqlalchemy as sa
from alembic import op

from store.columns import Instant

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for table in ("subscriptions", "subscription_versions"):
        for column in _terms():
            op.add_column(table, column)
    for table in ("customers", "customer_versions"):
        op.add_column(table, sa.Column("parent", sa.String))
    op.create_index("ix_customers_parent", "customers", ["parent"])
    for table in ("customer_versions", "subject_versions", "subscription_versions"):
        op.create_index(f"ix_{table}_change", table, ["change"])
    _changes()


def _terms() -> list[sa.Column[object]]:
    return [
        sa.Column("interval", sa.String, nullable=False, server_default="month"),
        sa.Column("intervals", sa.Integer, nullable=False, server_default="1"),
        sa.Column("anchor", Instant),
        sa.Column("seats", sa.String, nullable=False, server_default="1"),
        sa.Column("trial_ends_at", Instant),
    ]


def _changes() -> None:
    op.create_table(
        "subscription_changes",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("subscription", sa.String, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("item", sa.String),
        sa.Column("effective_at", Instant, nullable=False),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.Column("plan", sa.String),
        sa.Column("seats", sa.String),
        sa.Column("state", sa.String),
        sa.Column("prices", sa.Text),
        sa.Column("given", sa.JSON, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_subscription_changes"),
        sa.UniqueConstraint("sequence", name="uq_subscription_changes_sequence"),
        sa.ForeignKeyConstraint(["subscription"], ["subscriptions.key"], name="fk_subscription_changes_subscription"),
    )
    op.create_index("ix_subscription_changes_subscription", "subscription_changes", ["subscription"])
    op.create_index("ix_subscription_changes_change", "subscription_changes", ["change"])
