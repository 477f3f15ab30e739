"""Customers, their subjects and their subscriptions."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from rating.core.schema import SUBJECT, SUBSCRIPTION
from rating.core.subscriptions import plain_subscriptions
from store import Store
from store.customers import Customer
from store.errors import NotFound, Refused, SubjectTaken
from store.subscriptions import Subscription

JAN = datetime(2026, 1, 1, tzinfo=UTC)
FEB = datetime(2026, 2, 1, tzinfo=UTC)


def customer(key: str, *subjects: str, time_zone: str = "UTC", name: str = "", created_at: datetime = JAN) -> Customer:
    return Customer(key, name or key, time_zone, created_at, subjects)


def test_a_customer_comes_back_as_it_was_put(store: Store) -> None:
    acme = customer("acme", "key-1", "key-2", time_zone="Australia/Lord_Howe", name="Acme, Inc. 'quoted'")
    store.customers.put([acme])
    assert store.customers.get("acme") == acme
    assert store.customers.subjects_frame().rows() == [("key-1", "acme"), ("key-2", "acme")]


def test_putting_again_replaces_everything_but_the_creation(store: Store) -> None:
    store.customers.put([customer("acme", "a", "b")])
    store.customers.put([customer("acme", "b", "c", name="New", created_at=FEB)])
    assert store.customers.get("acme") == customer("acme", "b", "c", name="New", created_at=JAN)
    assert store.customers.subjects_frame().rows() == [("b", "acme"), ("c", "acme")]


def test_a_subject_can_move_when_both_customers_are_put_together(store: Store) -> None:
    store.customers.put([customer("a", "moves"), customer("b")])
    store.customers.put([customer("a"), customer("b", "moves")])
    assert store.customers.subjects_frame().rows() == [("moves", "b")]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        pytest.param([customer("b", "taken")], SubjectTaken, "belongs to customer 'a'", id="a subject of another"),
        pytest.param([customer("b", time_zone="Mars/Base")], Refused, "no IANA time zone", id="an unknown time zone"),
        pytest.param(
            [customer("b", time_zone="../etc/passwd")], Refused, "no IANA time zone", id="a path as time zone"
        ),
        pytest.param([customer("b"), customer("b")], Refused, "given 2 times", id="a customer twice"),
        pytest.param([customer("b", "s"), customer("c", "s")], Refused, "'s' is given 2 times", id="a subject twice"),
    ],
)
def test_a_refused_list_changes_nothing(store: Store, given: list[Customer], error: type, message: str) -> None:
    store.customers.put([customer("a", "taken")])
    with pytest.raises(error, match=message):
        store.customers.put([customer("fine", "also fine"), *given])
    assert [c.key for c in store.customers.page(after=None, limit=10)] == ["a"]
    assert store.customers.subjects_frame().rows() == [("taken", "a")]


def test_an_unknown_customer_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="no customer 'x'"):
        store.customers.get("x")


def test_pages_of_customers_join_without_gap_or_overlap(store: Store) -> None:
    keys = sorted(f"c{i}" for i in range(25))
    store.customers.put([customer(key) for key in keys])
    seen: list[str] = []
    while page := store.customers.page(after=seen[-1] if seen else None, limit=7):
        seen += [c.key for c in page]
    assert seen == keys


def test_ten_thousand_customers_are_put_at_once_and_again(store: Store) -> None:
    many = [customer(f"c{i}", f"s{i}", f"t{i}") for i in range(10_000)]
    store.customers.put(many)
    store.customers.put(many)
    store.subscriptions.put([Subscription(c.key, c.key, "pro", JAN) for c in many], plans={"pro"})
    assert store.customers.count() == 10_000
    assert store.customers.subjects_frame().height == 20_000
    assert store.subscriptions.subscriptions_frame().height == 10_000


def test_the_frames_have_the_schemas_of_the_core(store: Store) -> None:
    assert store.customers.subjects_frame().schema == SUBJECT
    assert store.subscriptions.subscriptions_frame().schema == SUBSCRIPTION
    store.customers.put([customer("acme", "s", time_zone="Asia/Kathmandu")])
    store.subscriptions.put(
        [Subscription("sub", "acme", "pro", JAN, FEB), Subscription("t", "acme", "pro", FEB)], plans=["pro"]
    )
    frame = store.subscriptions.subscriptions_frame()
    assert frame.schema == SUBSCRIPTION
    rows = [("sub", "acme", "pro", "Asia/Kathmandu", JAN, FEB), ("t", "acme", "pro", "Asia/Kathmandu", FEB, None)]
    assert frame.equals(plain_subscriptions(rows))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(Subscription("s", "nobody", "pro", JAN), "no customer 'nobody'", id="an unknown customer"),
        pytest.param(Subscription("s", "acme", "gold", JAN), "no plan 'gold'; its plans are pro", id="an unknown plan"),
        pytest.param(Subscription("s", "acme", "pro", JAN, JAN), "not after its start", id="an empty period"),
        pytest.param(Subscription("s", "acme", "pro", FEB, JAN), "not after its start", id="an end before the start"),
    ],
)
def test_a_subscription_that_cannot_be_billed_is_refused(store: Store, given: Subscription, message: str) -> None:
    store.customers.put([customer("acme")])
    with pytest.raises(Refused, match=message):
        store.subscriptions.put([Subscription("fine", "acme", "pro", JAN), given], plans={"pro"})
    assert store.subscriptions.page(customer=None, after=None, limit=10) == []


def test_an_instant_comes_back_as_the_same_instant_in_utc(store: Store) -> None:
    local = datetime(2026, 3, 1, 0, 0, 0, 123456, tzinfo=timezone(timedelta(hours=-5, minutes=-30)))
    store.customers.put([customer("acme")])
    store.subscriptions.put([Subscription("s", "acme", "pro", local)], plans={"pro"})
    got = store.subscriptions.get("s").starts_at
    assert got == local
    assert got.tzinfo is UTC


def test_a_plan_is_in_use_until_its_last_subscription_has_ended(store: Store) -> None:
    store.customers.put([customer("acme")])
    given = [Subscription("1", "acme", "old", JAN, FEB), Subscription("2", "acme", "new", JAN)]
    store.subscriptions.put(given, plans={"old", "new"})
    assert store.subscriptions.plans_in_use(now=FEB - timedelta(microseconds=1)) == {"old", "new"}
    assert store.subscriptions.plans_in_use(now=FEB) == {"new"}
