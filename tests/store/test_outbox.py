"""What is recorded with a signal: all of it or nothing, and each once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from rating.core.quota.seam import CustomerState, LevelName
from store import Store
from store.customers import Customer
from store.errors import IdTaken, NotFound
from store.outbox import Account, OpenLevel, Raised, Restored
from store.signals import Selection, Signal
from tests.recording import record_signals

NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)
END = datetime(2026, 11, 1, tzinfo=UTC)
ACCOUNT = Account("customer", "acme", "tokens")


@pytest.fixture
def sold(store: Store) -> Store:
    store.customers.put([Customer(key, key, "UTC", NOW, (key,)) for key in ("acme", "zeta")])
    return store


def signal(name: str, type: str = "quota.exhausted", customer: str = "acme") -> Signal:
    return Signal(f"sig_{name}", type, customer, NOW, {}, "tokens", "customer", customer)


def state(name: str, of_signal: str | None = None, until: datetime | None = None) -> CustomerState:
    return CustomerState(name, "acme", (), "suspended", None, None, "used up", NOW, until, of_signal)


def exhausted(name: str, *begins: CustomerState) -> Raised:
    return Raised(signal(name), opens=OpenLevel(name, "exhausted", END), begins=begins)


def restored(name: str) -> Raised:
    return Raised(signal(name, "quota.restored"), restores=Restored(ACCOUNT, "top_up"))


def nobody(_: Sequence[CustomerState]) -> None:
    """Nobody obeys."""


def record(store: Store, raised: Sequence[Raised]) -> list[list[str]]:
    """Which states were to be obeyed, each time that they changed."""
    told: list[list[str]] = []
    store.outbox.record(raised, NOW, lambda states: told.append([found.id for found in states]))
    return told


def open_levels(store: Store, now: datetime = NOW) -> list[str]:
    return [found.id.removeprefix("sig_") for found in store.outbox.open_levels(now)]


def types(store: Store, selected: Selection = Selection()) -> list[str]:  # noqa: B008  # it cannot be changed
    return [found.type for found in store.signals.after(0, limit=100, selected=selected)]


def test_a_signal_and_what_comes_with_it_are_recorded_once(sold: Store) -> None:
    raised = exhausted("a", state("s", "sig_a"))
    assert record(sold, [raised, raised]) == [["s"]]
    assert record(sold, [raised]) == []
    assert types(sold) == ["quota.exhausted", "customer.suspended"]
    assert open_levels(sold) == ["a"]
    assert [found.id for found in sold.customer_states.in_force()] == ["s"]


def test_what_a_person_has_ended_does_not_begin_again_with_the_same_signal(sold: Store) -> None:
    record(sold, [exhausted("a", state("s", "sig_a"))])
    sold.customer_states.end("acme", "s", nobody)
    assert not record(sold, [exhausted("a", state("s", "sig_a"))])
    assert sold.customer_states.in_force() == []


def test_a_quota_that_is_restored_closes_its_levels_and_ends_what_lasts_until_then(sold: Store) -> None:
    record(sold, [exhausted("a", state("s", "sig_a", END), state("manual", "sig_a"))])
    other = Raised(signal("z", customer="zeta"), opens=OpenLevel("z", "exhausted", END))
    record(sold, [other, restored("b")])
    assert open_levels(sold) == ["z"]
    assert [found.id for found in sold.customer_states.in_force()] == ["manual"]
    ended = sold.customer_states.get("s")
    assert ended.ended_because == "top_up"
    assert ended.ended_at is not None
    assert types(sold, Selection(customers=["acme"])) == [
        "quota.exhausted", "customer.suspended", "customer.suspended", "quota.restored", "customer.resumed"
    ]  # fmt: skip


def test_exhausted_and_restored_at_once_are_both_told_in_their_order(sold: Store) -> None:
    assert record(sold, [exhausted("a", state("s", "sig_a", END)), restored("b")]) == [[]]
    assert types(sold) == ["quota.exhausted", "customer.suspended", "quota.restored", "customer.resumed"]
    assert (open_levels(sold), sold.customer_states.in_force()) == ([], [])


def test_thresholds_go_with_their_window_and_exhausted_ones_stay_to_be_restored(sold: Store) -> None:
    threshold = Raised(signal("t", "quota.threshold"), opens=OpenLevel("t", "threshold", END))
    record(sold, [threshold, exhausted("a")])
    assert open_levels(sold, END - timedelta(seconds=1)) == ["t", "a"]
    assert open_levels(sold, END) == ["a"]


def test_each_level_is_another_crossing_once_it_was_restored_in_its_window(sold: Store) -> None:
    name = LevelName("customer", "acme", "tokens", NOW, "100%")
    for number in "ab":
        again = Restored(ACCOUNT, "top_up", again=(name, name._replace(level="negative")), window_end=END)
        for _ in range(2):
            record(sold, [Raised(signal(number, "quota.restored"), restores=again)])
    once = Restored(ACCOUNT, "correction", "negative", (name._replace(level="negative", window_start=None),))
    record(sold, [Raised(signal("c", "quota.restored"), restores=once)])
    lifetime = name._replace(level="negative", window_start=None)
    assert sold.outbox.arms(NOW) == {name: 2, name._replace(level="negative"): 2, lifetime: 1}
    assert sold.outbox.arms(END) == {lifetime: 1}


def test_what_is_no_longer_beyond_its_limit_may_be_exhausted_still(sold: Store) -> None:
    beyond = Raised(signal("n", "quota.negative"), OpenLevel("n", "negative", END), begins=(state("n", "sig_n", END),))
    record(sold, [exhausted("a", state("s", "sig_a", END)), beyond])
    back = Restored(ACCOUNT, "correction", "negative")
    assert record(sold, [Raised(signal("b", "quota.restored"), restores=back)]) == [["s"]]
    assert open_levels(sold) == ["a"]


def test_signals_are_selected_by_type_and_customer(sold: Store) -> None:
    record_signals(sold, [signal("1"), signal("2", "quota.threshold"), signal("3", customer="zeta")])
    assert types(sold, Selection(types=["quota.threshold"])) == ["quota.threshold"]
    assert types(sold, Selection(customers=["zeta", "nobody"])) == ["quota.exhausted"]
    assert types(sold, Selection(["quota.threshold"], ["zeta"])) == []


def test_a_state_that_is_asked_for_again_is_the_same_and_another_one_is_refused(sold: Store) -> None:
    first = sold.customer_states.begin(state("s"), nobody)
    assert sold.customer_states.begin(state("s"), nobody) == first
    with pytest.raises(IdTaken, match="another id"):
        sold.customer_states.begin(CustomerState("s", "acme", (), "overage", None, Decimal(5), "x", NOW, None), nobody)
    with pytest.raises(NotFound, match="nobody"):
        sold.customer_states.begin(CustomerState("n", "nobody", (), "suspended", None, None, "x", NOW, None), nobody)
    assert types(sold) == ["customer.suspended"]
    assert "acme" in sold.changes.changed_customers(0)


def test_a_state_ends_when_its_time_is_over_and_says_so_once(store: Store) -> None:
    clock = [NOW]
    records = type(store.customer_states)(store.engine, lambda: clock[0])
    store.customers.put([Customer("acme", "", "UTC", NOW, ())])
    records.begin(state("s", until=END), nobody)
    assert records.end_due(nobody) == 0
    clock[0] = END
    assert (records.end_due(nobody), records.end_due(nobody)) == (1, 0)
    assert types(store) == ["customer.suspended", "customer.resumed"]
    assert records.get("s").ended_because == "until"
    with pytest.raises(NotFound):
        records.end("zeta", "s", nobody)
