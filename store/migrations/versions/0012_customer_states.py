"""What checks obey of a customer."""

import sqlalchemy as sa
from alembic import op

from store.columns import Instant, Number

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "customer_states",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("customer", sa.String, sa.ForeignKey("customers.key"), nullable=False),
        sa.Column("features", sa.JSON, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("plan", sa.String),
        sa.Column("amount", Number),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since", Instant, nullable=False),
        sa.Column("until", Instant),
        sa.Column("signal", sa.String),
        sa.Column("ended_at", Instant),
        sa.Column("ended_because", sa.String),
        sa.Column("change", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_customer_states_customer", "customer_states", ["customer"])
