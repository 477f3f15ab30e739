"""Changes of the billing cycle of a subscription."""

import sqlalchemy as sa
from alembic import op

from store.columns import Instant

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for column in (sa.Column("interval", sa.String), sa.Column("intervals", sa.Integer), sa.Column("anchor", Instant)):
        op.add_column("subscription_changes", column)
