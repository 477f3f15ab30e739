"""Runs that close billing periods."""

import sqlalchemy as sa
from alembic import op

from store.columns import Instant

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("rating_runs", sa.Column("kind", sa.String, nullable=False, server_default="draft"))
    op.add_column("rating_runs", sa.Column("due_after", Instant))
    op.add_column("rating_runs", sa.Column("due_until", Instant))
    op.create_index("ix_rating_runs_due_until", "rating_runs", ["due_until"])
