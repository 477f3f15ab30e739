"""Slices of a quota, and what was reported of them."""

import sqlalchemy as sa
from alembic import op

from store.columns import Instant, Number

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("customer", sa.String, nullable=False),
        sa.Column("feature", sa.String, nullable=False),
        sa.Column("granted", Number, nullable=False),
        sa.Column("used", Number, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("records", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("made_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
        sa.Column("segment_ends_at", Instant),
        sa.Column("ended_at", Instant),
        sa.Column("given", sa.JSON, nullable=False),
    )
    op.create_table(
        "lease_reports",
        sa.Column("lease", sa.String, sa.ForeignKey("leases.id"), primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("used", Number, nullable=False),
        sa.Column("delta", Number, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("event", sa.JSON),
        sa.Column("recorded", sa.Boolean, nullable=False),
    )
    op.create_index("ix_leases_customer", "leases", ["customer"])
    op.create_index("ix_leases_expires_at", "leases", ["expires_at"])
    op.create_index("ix_lease_reports_recorded", "lease_reports", ["recorded"])
