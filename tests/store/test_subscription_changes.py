"""What was agreed of subscriptions over time: recorded once, never altered, known as of any change."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rating.core.schema import SUBSCRIPTION
from rating.core.subscriptions import PLAN_ITEM, TERMS, subscriptions_of
from rating.core.timeline import CHANGE
from store import Store, open_store
from store.customers import Customer
from store.errors import IdTaken, NotFound, Refused
from store.subscription_changes import AskedChange
from store.subscriptions import Subscription

JAN, FEB, MAR, APR, MAY = (datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 6))
PLANS = {"free", "pro", "max", "seat"}
ACME = Customer("acme", "acme", "UTC", JAN, ())
COLUMNS = ("item", "plan", "seats", "state", "starts_at", "ends_at")


@pytest.fixture
def sold(store: Store) -> Store:
    """`s` of acme, on plan pro since January."""
    store.customers.put([ACME])
    store.subscriptions.put([Subscription("s", "acme", "pro", JAN)], plans=PLANS)
    return store


def change(key: str, at: datetime, **values: Any) -> AskedChange:
    return AskedChange(id=key, effective_at=at, given={"at": at.isoformat(), "values": str(values)}, **values)


def rows(store: Store, known: int | None = None) -> list[tuple[Any, ...]]:
    return store.subscriptions.subscriptions_frame(known).select(COLUMNS).rows()


def test_changes_cut_a_subscription_into_times_in_which_nothing_changes(sold: Store) -> None:
    asked = [
        change("1", MAR, item=PLAN_ITEM, plan="max", seats=Decimal("2.5")),
        change("2", FEB, item="more/seats", plan="seat", seats=Decimal(5)),
        change("3", APR, state="paused"),
        change("4", MAY, state="active", item="more/seats"),
    ]
    recorded = sold.subscription_changes.add("s", asked, plans=PLANS)
    assert [(c.id, c.sequence, c.subscription, c.effective_at) for c in recorded] == [
        ("1", 1, "s", MAR), ("2", 2, "s", FEB), ("3", 3, "s", APR), ("4", 4, "s", MAY),
    ]  # fmt: skip
    assert rows(sold) == [
        ("more/seats", "seat", 5, "active", FEB, APR),
        ("more/seats", "seat", 5, "active", MAY, None),
        ("plan", "pro", 1, "active", JAN, MAR),
        ("plan", "max", Decimal("2.5"), "active", MAR, APR),
    ]
    assert sold.subscription_changes.page("s") == recorded
    assert sold.subscription_changes.page("s", after=1, limit=2) == recorded[1:3]


def test_a_change_is_taken_back_at_its_instant_and_what_was_known_stays_known(sold: Store) -> None:
    before = sold.changes.last()
    sold.subscription_changes.add("s", [change("1", FEB, item=PLAN_ITEM, plan="max")], plans=PLANS)
    between = sold.changes.last()
    sold.subscription_changes.add("s", [change("2", FEB, item=PLAN_ITEM, plan="pro")], plans=PLANS)
    pro, split = [("plan", "pro", 1, "active", JAN, None)], ("plan", "pro", 1, "active", JAN, FEB)
    assert (rows(sold, before), rows(sold)) == (pro, pro)
    assert rows(sold, between) == [split, ("plan", "max", 1, "active", FEB, None)]
    assert [c.id for c in sold.subscription_changes.page("s", change=between)] == ["1"]
    assert sold.subscriptions.timeline("s", before)[1].equals(sold.subscriptions.subscriptions_frame(before))


def test_the_same_change_again_is_no_change(sold: Store) -> None:
    first = sold.subscription_changes.add("s", [change("1", FEB, state="ended")], plans=PLANS)
    last = sold.changes.last()
    again = [change("1", FEB, state="ended")]
    assert sold.subscription_changes.add("s", again, plans=PLANS) == first
    assert sold.changes.last() == last
    both = sold.subscription_changes.add("s", [*again, change("2", MAR, state="active")], plans=PLANS)
    assert [(c.id, c.sequence) for c in both] == [("1", 1), ("2", 2)]


def test_an_id_is_of_one_change(sold: Store) -> None:
    sold.subscriptions.put([Subscription("t", "acme", "pro", JAN)], plans=PLANS)
    sold.subscription_changes.add("s", [change("1", FEB, state="ended")], plans=PLANS)
    for key, asked in (("s", change("1", MAR, state="ended")), ("t", change("1", FEB, state="ended"))):
        with pytest.raises(IdTaken, match="'1' is there already"):
            sold.subscription_changes.add(key, [change("2", FEB, state="paused"), asked], plans=PLANS)
    assert [c.id for c in sold.subscription_changes.page("s")] == ["1"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        pytest.param(change("2", FEB, item=PLAN_ITEM, plan="gold"), "no plan 'gold'", id="an unknown plan"),
        pytest.param(change("2", FEB, item="x", seats=Decimal(2)), "no item 'x'", id="an unknown item"),
        pytest.param(
            change("2", JAN - timedelta(microseconds=1), state="paused"),
            "before the subscription begins",
            id="too early",
        ),
        pytest.param(change("1", FEB, state="paused"), "given 2 times", id="an id twice"),
    ],
)
def test_a_refused_list_of_changes_records_nothing(sold: Store, asked: AskedChange, message: str) -> None:
    last = sold.changes.last()
    with pytest.raises(Refused, match=message):
        sold.subscription_changes.add("s", [change("1", FEB, state="paused"), asked], plans=PLANS)
    assert sold.subscription_changes.page("s") == []
    assert sold.changes.last() == last


def test_an_item_may_be_changed_from_when_it_has_a_plan(sold: Store) -> None:
    sold.subscription_changes.add("s", [change("1", MAR, item="x", plan="seat")], plans=PLANS)
    with pytest.raises(Refused, match="no item 'x' at 2026-02-01"):
        sold.subscription_changes.add("s", [change("2", FEB, item="x", seats=Decimal(2))], plans=PLANS)
    sold.subscription_changes.add("s", [change("3", MAR, item="x", seats=Decimal(2))], plans=PLANS)
    assert rows(sold)[-1] == ("x", "seat", 2, "active", MAR, None)


def test_a_subscription_that_is_not_there_cannot_be_changed(store: Store) -> None:
    with pytest.raises(NotFound, match="no subscription 's'"):
        store.subscription_changes.add("s", [change("1", FEB, state="ended")], plans=PLANS)
    with pytest.raises(NotFound, match="no subscription 's'"):
        store.subscriptions.timeline("s")


def test_a_subscription_does_not_begin_behind_its_changes(sold: Store) -> None:
    sold.subscription_changes.add("s", [change("1", FEB, state="paused")], plans=PLANS)
    sold.subscriptions.put([Subscription("s", "acme", "pro", FEB)], plans=PLANS)
    with pytest.raises(Refused, match="it has a change at 2026-02-01"):
        sold.subscriptions.put([Subscription("s", "acme", "pro", MAR)], plans=PLANS)


@pytest.mark.parametrize(
    ("trial_ends_at", "message"),
    [pytest.param(JAN, "not after its start", id="no trial"), pytest.param(APR, "after its own end", id="too long")],
)
def test_a_trial_ends_within_its_subscription(sold: Store, trial_ends_at: datetime, message: str) -> None:
    given = Subscription("t", "acme", "pro", JAN, MAR, trial_ends_at=trial_ends_at)
    with pytest.raises(Refused, match=message):
        sold.subscriptions.put([given], plans=PLANS)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([("ended", FEB)], [("trial", JAN, FEB)], id="ended for good"),
        pytest.param([("paused", FEB), ("active", APR)], [("active", APR, None), ("trial", JAN, FEB)], id="paused"),
        pytest.param(
            [("paused", FEB), ("trial", FEB + timedelta(days=9))],
            [("active", MAR, None), ("trial", JAN, FEB), ("trial", FEB + timedelta(days=9), MAR)],
            id="paused, and back in the trial",
        ),
        pytest.param(
            [("trial", MAR), ("active", APR)], [("active", APR, None), ("trial", JAN, APR)], id="a longer trial"
        ),
        pytest.param([("active", FEB)], [("active", FEB, None), ("trial", JAN, FEB)], id="a shorter trial"),
    ],
)
def test_the_end_of_a_trial_ends_nothing_but_the_trial(
    sold: Store, changes: list[tuple[str, datetime]], expected: list[tuple[str, datetime, datetime | None]]
) -> None:
    sold.subscriptions.put([Subscription("s", "acme", "pro", JAN, trial_ends_at=MAR)], plans=PLANS)
    asked = [change(str(n), at, state=state) for n, (state, at) in enumerate(changes)]
    sold.subscription_changes.add("s", asked, plans=PLANS)
    frame = sold.subscriptions.subscriptions_frame()
    assert sorted(frame.select("state", "starts_at", "ends_at").rows(), key=str) == sorted(expected, key=str)


def test_all_terms_come_back_as_they_were_put(sold: Store) -> None:
    anchor = datetime(2025, 1, 31, 12, 0, 0, 1, tzinfo=UTC)
    terms = Subscription("t", "acme", "pro", JAN, MAY, "year", 2, anchor, Decimal("12.000000001"), FEB)
    sold.subscriptions.put([terms], plans=PLANS)
    assert sold.subscriptions.get("t") == terms
    trial, active = sold.subscriptions.subscriptions_frame().filter(subscription="t").rows(named=True)
    assert (trial["state"], trial["starts_at"], trial["ends_at"]) == ("trial", JAN, FEB)
    assert (active["state"], active["starts_at"], active["ends_at"]) == ("active", FEB, MAY)
    assert (active["interval"], active["intervals"], active["anchor"]) == ("year", 2, anchor)
    assert active["seats"] == Decimal("12.000000001")


def test_plans_and_prices_are_in_use_while_a_change_says_so(sold: Store) -> None:
    def in_use(now: datetime) -> tuple[set[str], set[str]]:
        return sold.subscriptions.plans_in_use(now=now), sold.subscriptions.prices_in_use(now=now)

    sold.subscriptions.put([Subscription("t", "acme", "free", JAN)], plans=PLANS)
    asked = [
        change("1", MAR, item=PLAN_ITEM, plan="max", prices={"fee": "other"}),
        change("2", FEB, item="x", plan="seat"),
        change("3", APR, item="x", state="ended"),
        change("4", APR, item=PLAN_ITEM, prices={}),
    ]
    sold.subscription_changes.add("s", asked, plans=PLANS)
    assert in_use(JAN) == ({"free", "pro", "seat", "max"}, {"other"})
    assert in_use(MAR) == ({"free", "seat", "max"}, {"other"})
    assert in_use(APR) == ({"free", "max"}, set())


def test_a_parent_pays(sold: Store) -> None:
    sold.customers.put([replace(ACME, parent="group"), replace(ACME, key="group")])
    before = sold.changes.last()
    frame = sold.subscriptions.subscriptions_frame()
    assert frame.select("customer", "billed_to").rows() == [("acme", "group")]
    assert sold.customers.get("acme").parent == "group"
    sold.customers.put([ACME])
    assert sold.subscriptions.subscriptions_frame().select("customer", "billed_to").rows() == [("acme", "acme")]
    assert sold.subscriptions.subscriptions_frame(before).equals(frame)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"b": "nobody"}, "no customer 'nobody' to be its parent", id="nobody"),
        pytest.param({"b": "b"}, "'b' cannot be its own parent", id="itself"),
        pytest.param({"b": "acme"}, "its parent 'acme' has a parent itself, 'group'", id="a child"),
        pytest.param({"b": None, "group": "b"}, "'acme': its parent 'group' has a parent itself", id="a grandparent"),
        pytest.param({"b": "c", "c": "b"}, "has a parent itself", id="a circle"),
    ],
)
def test_a_parent_that_cannot_be_one_is_refused(sold: Store, given: dict[str, str | None], message: str) -> None:
    sold.customers.put([replace(ACME, key="group"), replace(ACME, parent="group")])
    with pytest.raises(Refused, match=message):
        sold.customers.put([replace(ACME, key=key, parent=parent) for key, parent in given.items()])
    assert [c.key for c in sold.customers.page(after=None, limit=9)] == ["acme", "group"]
    assert sold.customers.get("group").parent is None


def test_customers_are_found_by_what_changed_of_them(sold: Store) -> None:
    sold.customers.put([replace(ACME, key=key, subjects=(key,)) for key in ("b", "c", "d")])
    sold.subscriptions.put([Subscription("t", "b", "pro", JAN)], plans=PLANS)
    since = sold.changes.last()
    assert sold.changes.changed_customers(since) == set()
    assert sold.changes.changed_customers(0) == {"acme", "b", "c", "d"}
    sold.subscription_changes.add("s", [change("1", FEB, state="paused")], plans=PLANS)
    assert sold.changes.changed_customers(since) == {"acme"}
    since = sold.changes.last()
    sold.customers.put([replace(ACME, key="c", subjects=()), replace(ACME, key="acme", subjects=("c",))])
    assert sold.changes.changed_customers(since) == {"acme", "c"}
    since = sold.changes.last()
    sold.subscriptions.put([Subscription("t", "d", "pro", JAN)], plans=PLANS)
    assert sold.changes.changed_customers(since) == {"b", "d"}
    since = sold.changes.last()
    sold.customers.put([replace(ACME, key="b", subjects=("b",), parent="d")])
    assert sold.changes.changed_customers(since) == {"b"}


INSTANTS = st.sampled_from([JAN + timedelta(days=day) for day in range(0, 120, 7)])
TERMS_OF = st.fixed_dictionaries(
    {
        "plan": st.sampled_from(sorted(PLANS)),
        "ends_at": st.sampled_from([None, APR, MAY]),
        "interval": st.sampled_from(["day", "week", "month", "year"]),
        "intervals": st.integers(1, 6),
        "anchor": st.none() | INSTANTS,
        "seats": st.decimals(0, 1000, places=9),
        "trial_ends_at": st.sampled_from([None, FEB, MAR]),
    }
)
CHANGES_OF = st.lists(
    st.fixed_dictionaries(
        {"effective_at": INSTANTS},
        optional={
            "plan": st.sampled_from(sorted(PLANS)),
            "seats": st.decimals(0, 1000, places=9),
            "state": st.sampled_from(["active", "trial", "paused", "ended"]),
            "prices": st.dictionaries(st.sampled_from("ab"), st.sampled_from("cdé")),
        },
    ),
    min_size=1,
    max_size=4,
)
STEPS = st.lists(
    st.tuples(st.just("put"), st.sampled_from("st"), TERMS_OF)
    | st.tuples(st.just("change"), st.sampled_from("st"), CHANGES_OF)
    | st.tuples(st.just("customer"), st.sampled_from(["UTC", "Asia/Kathmandu"]), st.sampled_from([None, "group"])),
    max_size=8,
)


class Model:
    """What was recorded, by hand: TERMS and CHANGE after each change."""

    def __init__(self, store: Store, customer: str) -> None:
        self.store, self.customer = store, customer
        self.zone, self.payer = "UTC", customer
        self.terms: dict[str, dict[str, Any]] = {}
        self.changes: list[dict[str, Any]] = []
        self.known: dict[int, pl.DataFrame] = {}
        self.put_customer("UTC", None)

    def key(self, name: str) -> str:
        return f"{self.customer}/{name}"

    def put_customer(self, zone: str, parent: str | None) -> None:
        self.store.customers.put([Customer(self.customer, "", zone, JAN, (), parent)])
        self.zone, self.payer = zone, parent or self.customer
        self.remember()

    def put(self, name: str, terms: dict[str, Any]) -> None:
        self.store.subscriptions.put(
            [Subscription(key=self.key(name), customer=self.customer, starts_at=JAN, **terms)], plans=PLANS
        )
        self.terms[name] = terms
        self.remember()

    def change(self, name: str, changes: list[dict[str, Any]]) -> None:
        """Of the plan, where one says anything of it; else of all."""
        if name not in self.terms:
            return
        asked = [
            {"item": PLAN_ITEM if {"plan", "seats", "prices"} & values.keys() else None, **values} for values in changes
        ]
        added = self.store.subscription_changes.add(
            self.key(name),
            [AskedChange(id=f"{self.key(name)}/{len(self.changes)}/{n}", given={}, **a) for n, a in enumerate(asked)],
            plans=PLANS,
        )
        prices = [{"prices": _text(a["prices"])} if "prices" in a else {} for a in asked]
        self.changes += [
            {"subscription": self.key(name), "sequence": c.sequence, "recorded_at": c.recorded_at, **a, **p}
            for c, a, p in zip(added, asked, prices, strict=True)
        ]
        self.remember()

    def remember(self) -> None:
        terms = [
            {"subscription": self.key(name), "customer": self.customer, "billed_to": self.payer,
             "time_zone": self.zone, "starts_at": JAN, **terms}
            for name, terms in self.terms.items()
        ]  # fmt: skip
        changes = [{name: change.get(name) for name in CHANGE} for change in self.changes]
        self.known[self.store.changes.last()] = subscriptions_of(
            pl.DataFrame(terms, schema=TERMS), pl.DataFrame(changes, schema=CHANGE)
        )


def _text(prices: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{price}": "{prices[price]}"' for price in sorted(prices)) + "}"


def test_the_frame_of_any_change_is_made_of_what_was_recorded_by_then(url: str) -> None:
    store = open_store(url)
    store.customers.put([replace(ACME, key="group")])
    examples = iter(range(10**6))

    @given(steps=STEPS)
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    def is_made_of_what_was_recorded(steps: list[Any]) -> None:
        model = Model(store, f"c{next(examples)}")
        for kind, of, values in steps:
            step: Any = {"put": model.put, "change": model.change, "customer": model.put_customer}[kind]
            step(of, values)
        own = pl.col("customer") == model.customer
        for known, expected in model.known.items():
            assert store.subscriptions.subscriptions_frame(known).filter(own).equals(expected)
        current = store.subscriptions.subscriptions_frame()
        assert current.filter(own).equals(expected)
        assert current.schema == SUBSCRIPTION
        for name in model.terms:
            _, found, _ = store.subscriptions.timeline(model.key(name))
            assert found.equals(expected.filter(subscription=model.key(name)))

    is_made_of_what_was_recorded()
    store.close()
