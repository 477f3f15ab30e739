"""Amounts beside what plans give, and what stands in for it."""

import sqlalchemy as sa
from alembic import op

from store.columns import Instant, Number

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "quota_grants",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("customer", sa.String, sa.ForeignKey("customers.key"), nullable=False),
        sa.Column("feature", sa.String, nullable=False),
        sa.Column("amount", Number, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("effective_at", Instant, nullable=False),
        sa.Column("expires_at", Instant),
        sa.Column("voided_at", Instant),
        sa.Column("recurs_every", sa.String),
        sa.Column("recurs_from", Instant),
        sa.Column("rollover_minimum", Number),
        sa.Column("rollover_maximum", Number),
        sa.Column("given", sa.JSON, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
        sa.Column("void_change", sa.BigInteger),
    )
    op.create_table(
        "quota_overrides",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("customer", sa.String, sa.ForeignKey("customers.key"), nullable=False),
        sa.Column("subject", sa.String),
        sa.Column("feature", sa.String, nullable=False),
        sa.Column("is_unlimited", sa.Boolean, nullable=False),
        sa.Column("limit", Number),
        sa.Column("enforcement", sa.String),
        sa.Column("grace", Number),
        sa.Column("window", sa.JSON),
        sa.Column("effective_at", Instant, nullable=False),
        sa.Column("expires_at", Instant),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("ended_at", Instant),
        sa.Column("given", sa.JSON, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
        sa.Column("end_change", sa.BigInteger),
    )
    op.create_index("ix_quota_grants_customer", "quota_grants", ["customer"])
    op.create_index("ix_quota_overrides_customer", "quota_overrides", ["customer"])
