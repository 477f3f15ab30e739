"""Open the relational store: one database, one object for each aggregate."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine

from rating.disk import Disk
from store.api_keys import ApiKeys
from store.audit_log import AuditRecords
from store.backfills import Backfills
from store.catalogs import Catalogs
from store.changes import Changes, Now
from store.credits import CreditRecords
from store.customer_states import CustomerStates
from store.customers import Customers
from store.database import check, checkpoint, connect, disconnect, sqlite_path, writing
from store.durability import OnFailed
from store.errors import DatabaseUnavailable
from store.leases import Leases
from store.migrate import upgrade
from store.outbox import OutboxRecords
from store.pruning import Pruning
from store.quota_grants import QuotaGrants
from store.quota_overrides import QuotaOverrides
from store.rewriting import mark_clean_end, rewrite_after_unclean_end
from store.runs import Runs
from store.shadows import Shadows
from store.signals import Signals
from store.subscription_changes import SubscriptionChanges
from store.subscriptions import Subscriptions
from store.users import Users
from store.webhooks import Webhooks

PRIVATE = 0o600  # of a new database file: it holds the secrets that webhooks are signed with
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Store:
    engine: Engine
    customers: Customers
    subscriptions: Subscriptions
    subscription_changes: SubscriptionChanges
    catalogs: Catalogs
    runs: Runs
    signals: Signals
    outbox: OutboxRecords
    customer_states: CustomerStates
    webhooks: Webhooks
    pruning: Pruning
    backfills: Backfills
    credits: CreditRecords
    quota_grants: QuotaGrants
    quota_overrides: QuotaOverrides
    changes: Changes
    shadows: Shadows
    leases: Leases
    api_keys: ApiKeys
    users: Users
    audit: AuditRecords
    disk: Disk

    def close(self) -> None:
        """End, and leave word of it when every sync has succeeded."""
        path = sqlite_path(self.engine)
        is_durable = path is not None and _all_is_in_the_file(self.engine)
        disconnect(self.engine)
        if path is not None and is_durable:
            mark_clean_end(path, self.disk)


def utc_now() -> datetime:
    return datetime.now(UTC)


def open_store(url: str, *, on_failed: OnFailed | None = None, disk: Disk | None = None, now: Now = utc_now) -> Store:
    """Connect to `url` (SQLite or PostgreSQL), check the file, bring the schema up to date. `now` dates changes.

    `on_failed` is told when a sync fails: the process must end then. What a SQLite file holds after such an end, or a
    crash, is made durable first. Raises DatabaseDamaged when SQLite finds its own file inconsistent.
    """
    disk = disk or Disk()
    engine = connect(url, on_failed)
    path = sqlite_path(engine)
    is_used = path is not None and path.exists()
    try:
        if path is not None and not is_used and path.parent.is_dir():
            path.touch(mode=PRIVATE)
        check(engine)
        if path is not None and is_used:
            disconnect(engine)
            rewrite_after_unclean_end(path, disk)
        upgrade(engine)
    except BaseException:
        disconnect(engine)
        raise
    return Store(
        engine=engine,
        customers=Customers(engine, now),
        subscriptions=Subscriptions(engine, now),
        subscription_changes=SubscriptionChanges(engine, now),
        catalogs=Catalogs(engine),
        runs=Runs(engine),
        signals=Signals(engine),
        outbox=OutboxRecords(engine),
        customer_states=CustomerStates(engine, now),
        webhooks=Webhooks(engine, now),
        pruning=Pruning(engine),
        backfills=Backfills(engine),
        credits=CreditRecords(engine, now),
        quota_grants=QuotaGrants(engine, now),
        quota_overrides=QuotaOverrides(engine, now),
        changes=Changes(engine),
        shadows=Shadows(engine, now),
        leases=Leases(engine),
        api_keys=ApiKeys(engine),
        users=Users(engine),
        audit=AuditRecords(engine, now),
        disk=disk,
    )


def _all_is_in_the_file(engine: Engine) -> bool:
    try:
        with writing(engine):
            pass
        checkpoint(engine)
    except DatabaseUnavailable as error:
        _log.error("the database was not closed in order: %s", error)
        return False
    return True
