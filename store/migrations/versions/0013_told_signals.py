"""How often a level of a quota was restored within its window, and how far signals were passed on to brokers."""

import sqlalchemy as sa
from alembic import op

from store.columns import Instant

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "level_arms",
        sa.Column("scope", sa.String, primary_key=True),
        sa.Column("owner", sa.String, primary_key=True),
        sa.Column("feature", sa.String, primary_key=True),
        sa.Column("window", sa.String, primary_key=True),
        sa.Column("level", sa.String, primary_key=True),
        sa.Column("arm", sa.Integer, nullable=False),
        sa.Column("window_end", Instant),
    )
    op.create_table(
        "signal_cursors",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("cursor", sa.BigInteger, nullable=False),
    )
