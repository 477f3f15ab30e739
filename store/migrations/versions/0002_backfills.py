"""Backfills."""

import sqlalchemy as sa
from alembic import op

from store.columns import Instant

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "backfills",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("range_start", Instant, nullable=False),
        sa.Column("range_end", Instant, nullable=False),
        sa.Column("types", sa.JSON, nullable=False),
        sa.Column("subjects", sa.JSON, nullable=False),
        sa.Column("opened_at", Instant, nullable=False),
        sa.Column("opened_sequence", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger),
        sa.Column("staged_events", sa.BigInteger),
        sa.Column("committed_at", Instant),
        sa.Column("ended_at", Instant),
        sa.PrimaryKeyConstraint("id", name="pk_backfills"),
        sa.UniqueConstraint("number", name="uq_backfills_number"),
    )
    op.create_index("ix_backfills_state", "backfills", ["state"])
    op.create_index("ix_backfills_opened_at", "backfills", ["opened_at", "id"])
