"""Accounts as they were: every version is kept, in the order of the changes that made them."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.config import Config

from rating.core.subscriptions import plain_subscriptions
from store import Store, open_store
from store.changes import record_change
from store.customers import Customer
from store.database import connect, disconnect, writing
from store.errors import NotReproducible, SubjectTaken
from store.migrate import MIGRATIONS
from store.subscriptions import Subscription

JAN, FEB, MAR = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3))
ACME = Customer("acme", "Acme", "UTC", JAN, ("a", "b"))
BETA = Customer("beta", "Beta", "Asia/Tokyo", JAN, ())
PRO = Subscription("s", "acme", "pro", JAN)


def test_what_accounts_were_stays_known(store: Store) -> None:
    store.customers.put([ACME, BETA])
    store.subscriptions.put([PRO], plans={"pro"})
    before = store.changes.last()
    frames = store.customers.subjects_frame(), store.subscriptions.subscriptions_frame()
    store.customers.put([replace(ACME, subjects=("b",), time_zone="Europe/Madrid"), replace(BETA, subjects=("a",))])
    store.subscriptions.put([replace(PRO, plan="free", ends_at=MAR)], plans={"free"})
    assert store.customers.subjects_frame(before).equals(frames[0])
    assert store.subscriptions.subscriptions_frame(before).equals(frames[1])
    assert store.customers.subjects_frame(before).rows() == [("a", "acme"), ("b", "acme")]
    assert store.subscriptions.subscriptions_frame(before).equals(
        plain_subscriptions([("s", "acme", "pro", "UTC", JAN, None)])
    )
    last = store.changes.last()
    assert store.customers.subjects_frame(last).rows() == [("a", "beta"), ("b", "acme")]
    assert store.subscriptions.subscriptions_frame(last).equals(
        plain_subscriptions([("s", "acme", "free", "Europe/Madrid", JAN, MAR)])
    )
    assert store.customers.subjects_frame(last).equals(store.customers.subjects_frame())
    assert store.subscriptions.subscriptions_frame(last).equals(store.subscriptions.subscriptions_frame())


def test_a_subject_that_nobody_has_any_more_is_nobodys(store: Store) -> None:
    store.customers.put([ACME])
    store.customers.put([replace(ACME, subjects=())])
    assert store.customers.subjects_frame(store.changes.last()).rows() == []
    assert store.customers.subjects_frame(0).rows() == []
    assert store.customers.subjects_frame(1).height == 2


def test_the_same_again_is_no_change(store: Store) -> None:
    store.customers.put([ACME])
    store.subscriptions.put([PRO], plans={"pro"})
    last = store.changes.last()
    store.customers.put([replace(ACME, created_at=FEB, subjects=("b", "a"))])
    store.subscriptions.put([PRO], plans={"pro"})
    assert store.changes.last() == last


def test_what_is_refused_is_no_change(store: Store) -> None:
    store.customers.put([ACME])
    with pytest.raises(SubjectTaken):
        store.customers.put([BETA, replace(BETA, key="gamma", subjects=("a",))])
    assert store.changes.last() == 1
    assert store.customers.subjects_frame(1).equals(store.customers.subjects_frame())


def test_changes_are_found_by_their_instants(url: str) -> None:
    clock = [FEB]
    store = open_store(url, now=lambda: clock[0])
    store.customers.put([ACME])
    clock[0] = MAR
    store.customers.put([BETA])
    microsecond = timedelta(microseconds=1)
    asked = (JAN, FEB - microsecond, FEB, MAR - microsecond, MAR, MAR + microsecond)
    assert [store.changes.at(instant) for instant in asked] == [0, 0, 1, 1, 2, 2]
    clock[0] = JAN  # a clock that is set back does not put a change before others
    store.customers.put([replace(ACME, name="New")])
    assert (store.changes.at(JAN), store.changes.at(MAR)) == (0, 3)
    store.close()


def test_an_abandoned_change_takes_no_number(store: Store) -> None:
    with suppress(ValueError), writing(store.engine) as connection:
        assert record_change(connection, JAN) == 1
        raise ValueError("not now")
    assert store.changes.last() == 0
    with writing(store.engine) as connection:
        assert record_change(connection, JAN) == 1


def upgraded(url: str, revision: str) -> None:
    """Bring a database to an earlier schema."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = connect(url)
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    disconnect(engine)


def test_an_upgrade_begins_with_what_is_there(url: str) -> None:
    upgraded(url, "0003")
    engine = connect(url)
    with writing(engine) as connection:
        for statement in (
            "INSERT INTO customers VALUES ('acme', 'Acme', 'UTC', '2026-01-01 00:00:00')",
            "INSERT INTO subjects VALUES ('a', 'acme')",
            "INSERT INTO subscriptions VALUES ('s', 'acme', 'pro', '2026-01-01 00:00:00', NULL)",
        ):
            connection.exec_driver_sql(statement)
    disconnect(engine)
    store = open_store(url)
    assert store.changes.last() == 0
    assert store.customers.subjects_frame(0).rows() == [("a", "acme")]
    assert store.subscriptions.subscriptions_frame(0).equals(
        plain_subscriptions([("s", "acme", "pro", "UTC", JAN, None)])
    )
    with pytest.raises(NotReproducible, match="their history begins at"):
        store.changes.at(JAN)
    assert store.changes.at(datetime.now(UTC)) == 0
    store.customers.put([replace(ACME, subjects=())])
    assert store.customers.subjects_frame(0).rows() == [("a", "acme")]
    store.close()


def test_the_history_of_an_empty_database_begins_with_nothing(store: Store) -> None:
    assert store.changes.at(JAN) == store.changes.last() == 0
    assert store.customers.subjects_frame(0).is_empty()
