"""First tables: customers, subjects, subscriptions, catalogs, rating runs, signals."""

import sqlalchemy as sa
from alembic import op

from store.columns import Instant

revision = "0001"
down_revision = None

SEQUENCE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _customers()
    _catalogs()
    _runs_and_signals()


def _customers() -> None:
    op.create_table(
        "customers",
        sa.Column("key", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("time_zone", sa.String, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_customers"),
    )
    op.create_table(
        "subjects",
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("customer", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_subjects"),
        sa.ForeignKeyConstraint(["customer"], ["customers.key"], name="fk_subjects_customer"),
    )
    op.create_index("ix_subjects_customer", "subjects", ["customer"])
    op.create_table(
        "subscriptions",
        sa.Column("key", sa.String, nullable=False),
        sa.Column("customer", sa.String, nullable=False),
        sa.Column("plan", sa.String, nullable=False),
        sa.Column("starts_at", Instant, nullable=False),
        sa.Column("ends_at", Instant),
        sa.PrimaryKeyConstraint("key", name="pk_subscriptions"),
        sa.ForeignKeyConstraint(["customer"], ["customers.key"], name="fk_subscriptions_customer"),
    )
    op.create_index("ix_subscriptions_customer", "subscriptions", ["customer"])
    op.create_index("ix_subscriptions_plan", "subscriptions", ["plan"])


def _catalogs() -> None:
    op.create_table(
        "catalogs",
        sa.Column("version", sa.String, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_catalogs"),
    )
    op.create_table(
        "catalog_applications",
        sa.Column("sequence", SEQUENCE, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("applied_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_catalog_applications"),
        sa.ForeignKeyConstraint(["version"], ["catalogs.version"], name="fk_catalog_applications_version"),
        sqlite_autoincrement=True,
    )


def _runs_and_signals() -> None:
    op.create_table(
        "rating_runs",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("period", sa.String, nullable=False),
        sa.Column("catalog_version", sa.String, nullable=False),
        sa.Column("table_version", sa.BigInteger, nullable=False),
        sa.Column("last_sequence", sa.BigInteger, nullable=False),
        sa.Column("code_version", sa.String, nullable=False),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("finished_at", Instant),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("digest", sa.String),
        sa.Column("report", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_rating_runs"),
        sa.ForeignKeyConstraint(["catalog_version"], ["catalogs.version"], name="fk_rating_runs_catalog_version"),
    )
    op.create_index("ix_rating_runs_started_at", "rating_runs", ["started_at", "id"])
    op.create_table(
        "signals",
        sa.Column("sequence", SEQUENCE, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("type", sa.String, nullable=False),
        sa.Column("customer", sa.String, nullable=False),
        sa.Column("raised_at", Instant, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_signals"),
        sa.UniqueConstraint("id", name="uq_signals_id"),
        sqlite_autoincrement=True,
    )
