"""Grants of prepaid credits, and their refunds."""

import sqlalchemy as sa
from alembic import op

from store.columns import Instant

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "credit_grants",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("customer", sa.String, nullable=False),
        sa.Column("subscription", sa.String),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("unit", sa.String, nullable=False),
        sa.Column("amount", sa.String, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("effective_at", Instant, nullable=False),
        sa.Column("expires_at", Instant),
        sa.Column("voided_at", Instant),
        sa.Column("features", sa.JSON, nullable=False),
        sa.Column("meters", sa.JSON, nullable=False),
        sa.Column("prices", sa.JSON, nullable=False),
        sa.Column("increment", sa.String),
        sa.Column("factor", sa.String),
        sa.Column("recurs_every", sa.String),
        sa.Column("recurs_from", Instant),
        sa.Column("rollover_minimum", sa.String),
        sa.Column("rollover_maximum", sa.String),
        sa.Column("cost_basis", sa.String),
        sa.Column("given", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_credit_grants"),
        sa.ForeignKeyConstraint(["customer"], ["customers.key"], name="fk_credit_grants_customer"),
    )
    op.create_index("ix_credit_grants_customer", "credit_grants", ["customer"])
    op.create_table(
        "credit_refunds",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("customer", sa.String, nullable=False),
        sa.Column("line", sa.String, nullable=False),
        sa.Column("unit", sa.String, nullable=False),
        sa.Column("amount", sa.String, nullable=False),
        sa.Column("run", sa.String, nullable=False),
        sa.Column("refunded_at", Instant, nullable=False),
        sa.Column("parts", sa.JSON, nullable=False),
        sa.Column("given", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_credit_refunds"),
        sa.ForeignKeyConstraint(["customer"], ["customers.key"], name="fk_credit_refunds_customer"),
        sa.ForeignKeyConstraint(["run"], ["rating_runs.id"], name="fk_credit_refunds_run"),
    )
    op.create_index("ix_credit_refunds_customer", "credit_refunds", ["customer"])
    op.create_index("ix_credit_refunds_line", "credit_refunds", ["line"])
    op.create_index("ix_credit_refunds_refunded_at", "credit_refunds", ["refunded_at"])
