"""Where signals are delivered, and which levels were raised."""

import sqlalchemy as sa
from alembic import op

from store.columns import SEQUENCE, Instant

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("types", sa.JSON, nullable=False),
        sa.Column("customers", sa.JSON, nullable=False),
        sa.Column("secret", sa.String, nullable=False),
        sa.Column("secret_before", sa.String),
        sa.Column("secret_before_until", Instant),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("cursor", sa.BigInteger, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("endpoint", sa.String, sa.ForeignKey("webhook_endpoints.id"), primary_key=True),
        sa.Column("signal", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("customer", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", Instant),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_error", sa.Text),
        sa.Column("delivered_at", Instant),
    )
    op.create_table(
        "webhook_attempts",
        sa.Column("sequence", SEQUENCE, primary_key=True),
        sa.Column("endpoint", sa.String, sa.ForeignKey("webhook_endpoints.id"), nullable=False),
        sa.Column("signal", sa.BigInteger, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Column("milliseconds", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "open_levels",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("customer", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("scope", sa.String, nullable=False),
        sa.Column("feature", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("window_end", Instant),
        sa.Column("signal", sa.String, nullable=False),
    )
    op.create_index("ix_webhook_deliveries_next_at", "webhook_deliveries", ["state", "next_at"])
    op.create_index("ix_webhook_attempts_endpoint", "webhook_attempts", ["endpoint"])
    op.add_column("signals", sa.Column("feature", sa.String))
    op.add_column("signals", sa.Column("scope", sa.String))
    op.add_column("signals", sa.Column("owner", sa.String))
    op.create_index("ix_signals_customer", "signals", ["customer", "sequence"])
