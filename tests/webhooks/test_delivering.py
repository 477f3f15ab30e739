"""T21 of RELIABILITY: whatever a receiver does and whenever we end, it gets all signals, in order for each customer."""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from api import pruning
from api.pruning import Kept, Pruner
from api.webhooks import delivering
from api.webhooks.delivering import Deliverer, Limits
from api.webhooks.endpoints import new_secret
from api.webhooks.resolving import Rules
from api.webhooks.sending import Sender, Sent
from store import Store, open_store
from store.signals import Signal
from store.webhooks import Endpoint
from tests.recording import record_signals
from tests.webhooks.receiver import Receiver, receiving

NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)
SENDER = Sender(Rules(private=True, http=True, ports=frozenset()), seconds=5, agent="test")
IMPATIENT = replace(SENDER, seconds=0.2)
FAULTS = ["ok", "ok", "ok", "500", "404", "reset", "redirect", "repeat", "garbage", "huge", "half", "half head"]
WAIT_SECONDS = 60.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a twentieth of a second, given up after a thousand."""

    def pause(attempts: int, days: int, chance: float) -> timedelta | None:
        return timedelta(seconds=0.02) if attempts < days else None

    monkeypatch.setattr(delivering, "pause", pause)
    monkeypatch.setattr(delivering, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(delivering, "END_SECONDS", 0.5)


def add(store: Store, url: str, key: str = "e", **changes: Any) -> str:
    secret = new_secret()
    made = Endpoint(key, url, (), (), secret, None, None, "active", None, 0, NOW)
    store.webhooks.add(replace(made, **changes))
    return secret


def raise_signals(store: Store, count: int, customers: int = 4, start: int = 0, type: str = "quota.exhausted") -> None:
    numbers = range(start, start + count)
    record_signals(store, [Signal(f"sig_{n}", type, f"customer-{n % customers}", NOW, {}) for n in numbers])


def now() -> datetime:
    return datetime.now(UTC)


def deliverer(
    store: Store,
    sender: Sender = SENDER,
    waiting_max: int = 100,
    tries: int = 1_000,
    pruner: Pruner | None = None,
) -> Deliverer:
    return Deliverer(store, sender, now, Limits(waiting_max, tries), random.Random(1).random, pruner)


@contextmanager
def delivering_to(store: Store, **options: Any) -> Iterator[Deliverer]:
    running = deliverer(store, **options)
    running.start()
    try:
        yield running
    finally:
        running.close()


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it does not become so"
        time.sleep(0.01)


def is_done(store: Store, key: str = "e") -> bool:
    standing = next(each for each in store.webhooks.standing() if each.endpoint == key)
    return (standing.waiting, standing.behind) == (0, 0)


def in_order(receiver: Receiver) -> bool:
    """Whether what was taken ascends for each customer."""
    taken: dict[str, list[int]] = defaultdict(list)
    for came in receiver.taken:
        taken[came.signal["customer"]].append(came.signal["sequence"])
    return all(sequences == sorted(sequences) for sequences in taken.values())


def test_each_signal_arrives_once_signed_and_in_order(store: Store, receiver: Receiver) -> None:
    secret = add(store, receiver.url)
    with delivering_to(store) as running:
        raise_signals(store, 20)
        running.wake()
        until(lambda: is_done(store))
    assert sorted(came.id for came in receiver.came) == sorted(f"sig_{n}" for n in range(20))
    assert in_order(receiver)
    receiver.verify(secret)
    first = receiver.came[0]
    assert first.signal["id"] == first.id
    assert first.headers["user-agent"] == "test"
    assert {a.status for a in store.webhooks.attempts("e", range(30))} == {200}


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_receiver_does_it_gets_all_of_it_in_order(store: Store, receiver: Receiver, seed: int) -> None:
    chance = random.Random(seed)
    receiver.behave = lambda _: chance.choice(FAULTS)
    secret = add(store, receiver.url)
    with delivering_to(store, waiting_max=10) as running:
        for start in range(0, 30, 10):
            raise_signals(store, 10, start=start)
            running.wake()
        until(lambda: is_done(store))
    assert {came.id for came in receiver.taken} == {f"sig_{n}" for n in range(30)}
    assert in_order(receiver)
    receiver.verify(secret)
    assert receiver.elsewhere == []


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_a_slow_endpoint_and_one_that_is_down_delay_no_other(store: Store, receiver: Receiver, behaviour: str) -> None:
    with receiving() as slow, receiving() as down:
        pass
    with receiving() as slow:
        slow.behave = lambda _: behaviour
        add(store, slow.url, "slow")
        add(store, down.url, "down")
        add(store, receiver.url)
        raise_signals(store, 30, customers=30)
        with delivering_to(store, sender=IMPATIENT):
            until(lambda: is_done(store))
            assert not is_done(store, "slow")
    assert len(receiver.taken) == 30


def test_one_customer_whose_signal_is_not_taken_holds_up_no_other_customer(store: Store, receiver: Receiver) -> None:
    receiver.behave = lambda key: "500" if key == "sig_0" else "ok"
    add(store, receiver.url)
    raise_signals(store, 12)
    with delivering_to(store):
        until(lambda: len(receiver.taken) == 9)  # those of the three others
    waiting = [delivery.signal for delivery in store.webhooks.waiting("e")]
    assert waiting == [1, 5, 9]


def test_a_delivery_that_is_given_up_lets_the_next_one_go_and_can_be_replayed(store: Store, receiver: Receiver) -> None:
    receiver.behave = lambda key: "500" if key == "sig_0" else "ok"
    add(store, receiver.url)
    raise_signals(store, 3, customers=1)
    with delivering_to(store, tries=3) as running:
        until(lambda: is_done(store))
        assert [came.id for came in receiver.came] == ["sig_0"] * 3 + ["sig_1", "sig_2"]
        [dead] = store.webhooks.deliveries("e", "dead", after=0, limit=9)
        assert (dead.signal, dead.attempts, dead.last_status, dead.next_at) == (1, 3, 500, None)
        receiver.behave = lambda _: "ok"
        store.webhooks.replay_dead("e", 100)
        running.changed()
        until(lambda: is_done(store) and store.webhooks.standing()[0].dead == 0)
    assert receiver.came[-1].id == "sig_0"


def test_a_receiver_that_is_gone_gets_nothing_more_until_it_is_wanted_again(store: Store, receiver: Receiver) -> None:
    receiver.behave = lambda _: "410"
    add(store, receiver.url)
    raise_signals(store, 5, customers=1)
    with delivering_to(store) as running:
        until(lambda: store.webhooks.get("e").state == "disabled")
        assert "410" in str(store.webhooks.get("e").reason)
        raise_signals(store, 1, customers=1, start=5)
        running.wake()
        time.sleep(0.1)
        assert len(receiver.came) == 1
        receiver.behave = lambda _: "ok"
        store.webhooks.change("e", state="active", reason=None)
        running.changed()
        until(lambda: is_done(store))
    assert [came.id for came in receiver.taken] == [f"sig_{n}" for n in range(6)]


def test_the_queue_is_bounded_and_what_is_not_in_it_is_in_the_outbox(store: Store, receiver: Receiver) -> None:
    receiver.behave = lambda _: "500"
    add(store, receiver.url)
    raise_signals(store, 50)
    with delivering_to(store, waiting_max=10):
        until(lambda: store.webhooks.standing()[0].waiting == 10 and len(receiver.came) > 20)
        [standing] = store.webhooks.standing()
        assert (standing.waiting, standing.behind) == (10, 40)
        receiver.behave = lambda _: "ok"
        until(lambda: is_done(store))
    assert len(receiver.taken) == 50
    assert in_order(receiver)


class Killed(BaseException):
    """The process has ended here."""


class Crashing:
    """A deliverer that ends somewhere: in front of or behind a send, in front of or behind a mark."""

    PLACES = ("before send", "after send", "before mark", "after mark")

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch, place: str, behind: int) -> None:
        self.place, self.left, self.is_dead = place, behind, False
        self.sender = replace(SENDER)
        send, mark = SENDER.send, store.webhooks.mark
        object.__setattr__(self.sender, "send", self._around("send", send))
        monkeypatch.setattr(type(store.webhooks), "mark", lambda _, *given: self._around("mark", mark)(*given))

    def _around(self, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def around(*given: Any) -> Any:
            self._die_at(f"before {name}")
            done = do(*given)
            self._die_at(f"after {name}")
            return done

        return around

    def _die_at(self, place: str) -> None:
        """Once dead, no thread does anything more."""
        if place == self.place and not self.is_dead:
            self.left -= 1
            self.is_dead = self.left <= 0
        if self.is_dead:
            raise Killed


def run_with_crashes(store: Store, monkeypatch: pytest.MonkeyPatch, crashes: Sequence[tuple[str, int]]) -> int:
    """Deliver what there is; each of `crashes` ends a deliverer at a place, behind so many passes. How many did."""
    died = 0
    for place, behind in crashes:
        with monkeypatch.context() as patched:
            crashing = Crashing(store, patched, place, behind)
            running = deliverer(store, crashing.sender, waiting_max=16)
            running.start()
            deadline = time.monotonic() + 2.0
            while not crashing.is_dead and not is_done(store) and time.monotonic() < deadline:
                time.sleep(0.005)
            died += crashing.is_dead
            crashing.is_dead = True  # whoever still runs finds so
            running._ending.set()
            running._woken.set()
            running._threads[0].join(10)
            for _ in range(delivering.THREADS):
                running._work.put(None)
            for thread in running._threads:
                thread.join(10)
                assert not thread.is_alive()
    with delivering_to(store, waiting_max=16):
        until(lambda: is_done(store))
    return died


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # Killed, in a thread
@pytest.mark.parametrize("place", Crashing.PLACES)
def test_no_crash_loses_a_signal_or_its_order(
    store: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    chance = random.Random(place)
    receiver.behave = lambda _: chance.choice(FAULTS)
    secret = add(store, receiver.url)
    raise_signals(store, 40)
    assert run_with_crashes(store, monkeypatch, [(place, behind) for behind in (1, 3, 2)])
    outbox = [signal.id for signal in store.signals.after(0, limit=1_000)]
    assert sorted(came.id for came in receiver.taken) == sorted(outbox)
    assert in_order(receiver)
    receiver.verify(secret)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("seed", range(20))
def test_no_crash_loses_a_signal_or_its_order_for_long(
    store: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    receiver.behave = lambda _: chance.choice(FAULTS)
    secret = add(store, receiver.url)
    raise_signals(store, 100, customers=chance.choice([1, 4, 100]))
    places = [chance.choice(Crashing.PLACES) for _ in range(10)]
    crashes = [(place, chance.randint(1, 4 if "mark" in place else 20)) for place in places]  # many are marked at once
    assert run_with_crashes(store, monkeypatch, crashes)
    assert {came.id for came in receiver.taken} == {f"sig_{n}" for n in range(100)}
    assert in_order(receiver)
    receiver.verify(secret)


def test_while_the_database_is_full_nothing_is_lost(store: Store, receiver: Receiver) -> None:
    """What was sent and cannot be marked is not sent again by this process."""
    add(store, receiver.url)
    raise_signals(store, 8)
    pages = [1 << 30]
    event.listen(
        store.engine, "begin", lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={pages[0]}")
    )
    with delivering_to(store) as running:
        until(lambda: is_done(store))
        pages[0] = 1
        raise_in_spite_of_it(store, pages, running)
        until(lambda: len(receiver.came) == 16)
        pages[0] = 1 << 30
        until(lambda: is_done(store))
    assert len(receiver.came) == 16


def raise_in_spite_of_it(store: Store, pages: list[int], running: Deliverer) -> None:
    pages[0] = 1 << 30
    raise_signals(store, 8, start=8)
    running.wake()
    until(lambda: store.webhooks.get("e").cursor == 16)
    pages[0] = 1


def test_a_change_of_one_endpoint_reads_what_waits_for_that_one_alone(
    store: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.behave = lambda _: "500"
    for key in ("e", "other"):
        add(store, receiver.url, key)
    raise_signals(store, 4)
    read: list[str] = []
    waiting = store.webhooks.waiting
    monkeypatch.setattr(type(store.webhooks), "waiting", lambda _, key: read.append(key) or waiting(key))
    with delivering_to(store) as running:
        until(lambda: len(receiver.came) > 8)
        assert sorted(read) == ["e", "other"]
        store.webhooks.change("e", state="paused")
        running.changed("e")
        store.webhooks.change("e", state="active")
        running.changed("e")
        until(lambda: read[2:] in (["e"], ["e", "e"]))
        store.webhooks.remove("other")
        running.changed("other")
        receiver.behave = lambda _: "ok"
        until(lambda: is_done(store))
    assert set(read[2:]) == {"e"}


def test_what_was_delivered_long_ago_goes_while_nothing_is_delivered(
    store: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(pruning, "REST_SECONDS", 0.02)
    add(store, receiver.url)
    raise_signals(store, 6, type="customer.resumed")
    pruner = Pruner(store.pruning, Kept(30, 90), lambda: now() + timedelta(days=40), lambda: None)
    with delivering_to(store, pruner=pruner):
        until(lambda: len(store.signals.after(0, limit=9)) == 1)
    assert len(receiver.taken) == 6


def test_a_fault_of_ours_ends_no_thread(store: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, receiver.url)
    raise_signals(store, 4)
    broken = replace(SENDER)
    results: Iterator[Sent | None] = iter([None, None])

    def send(*given: Any) -> Sent:
        if next(results, "whole") is None:
            raise RuntimeError("a bug")
        return SENDER.send(*given)

    object.__setattr__(broken, "send", send)
    with delivering_to(store, sender=broken):
        until(lambda: is_done(store))
    assert {came.id for came in receiver.taken} == {f"sig_{n}" for n in range(4)}
