"""The catalog that is rated beside the one in force."""

import sqlalchemy as sa
from alembic import op

from store.columns import Instant

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "shadow_catalogs",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("plans", sa.JSON, nullable=False),
        sa.Column("set_at", Instant, nullable=False),
        sa.Column("ended_at", Instant),
        sa.PrimaryKeyConstraint("sequence", name="pk_shadow_catalogs"),
        sa.ForeignKeyConstraint(["version"], ["catalogs.version"], name="fk_shadow_catalogs_version"),
        sqlite_autoincrement=True,
    )
