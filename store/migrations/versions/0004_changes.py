"""Changes of accounts and credits, numbered; the versions of accounts. What is there now is the first version."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from store.columns import Instant

revision = "0004"
down_revision = "0003"

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_VERSIONS = {
    "customers": ("customer_versions", ("key", "name", "time_zone")),
    "subjects": ("subject_versions", ("subject", "customer")),
    "subscriptions": ("subscription_versions", ("key", "customer", "plan", "starts_at", "ends_at")),
}


def upgrade() -> None:
    _versions()
    op.add_column("rating_runs", sa.Column("last_change", sa.BigInteger))
    op.add_column("rating_runs", sa.Column("as_of", Instant))
    op.add_column("credit_grants", sa.Column("change", sa.BigInteger))
    op.add_column("credit_grants", sa.Column("void_change", sa.BigInteger))
    op.add_column("credit_refunds", sa.Column("change", sa.BigInteger))
    _first_versions()


def _versions() -> None:
    op.create_table(
        "changes",
        sa.Column("sequence", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("recorded_at", Instant, nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_changes"),
    )
    op.create_table(
        "customer_versions",
        sa.Column("key", sa.String, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("time_zone", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("key", "change", name="pk_customer_versions"),
    )
    op.create_table(
        "subject_versions",
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("customer", sa.String),
        sa.PrimaryKeyConstraint("subject", "change", name="pk_subject_versions"),
    )
    op.create_table(
        "subscription_versions",
        sa.Column("key", sa.String, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("customer", sa.String, nullable=False),
        sa.Column("plan", sa.String, nullable=False),
        sa.Column("starts_at", Instant, nullable=False),
        sa.Column("ends_at", Instant),
        sa.PrimaryKeyConstraint("key", "change", name="pk_subscription_versions"),
    )


def _first_versions() -> None:
    """Number 0 is what is there now. Of an empty database that was so from the beginning; else only from now on."""
    connection = op.get_bind()
    customers = sa.table("customers")
    is_used = connection.scalar(sa.select(sa.func.count()).select_from(customers)) != 0
    changes = sa.table("changes", sa.column("sequence"), sa.column("recorded_at", Instant))
    op.execute(changes.insert().values(sequence=0, recorded_at=datetime.now(UTC) if is_used else BEGINNING))
    for name, (versions, columns) in _VERSIONS.items():
        _copy(name, versions, columns)
    grants = sa.table("credit_grants", *map(sa.column, ("change", "void_change", "voided_at")))
    op.execute(grants.update().values(change=0))
    op.execute(grants.update().where(grants.c.voided_at.is_not(None)).values(void_change=0))
    op.execute(sa.table("credit_refunds", sa.column("change")).update().values(change=0))


def _copy(name: str, versions: str, columns: tuple[str, ...]) -> None:
    wanted = [*columns, "change"]
    current: list[sa.ColumnElement[object]] = [sa.column(column) for column in columns]
    stored = sa.select(*current, sa.literal_column("0")).select_from(sa.table(name))
    op.execute(sa.table(versions, *(sa.column(column) for column in wanted)).insert().from_select(wanted, stored))
