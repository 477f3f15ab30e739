"""Endpoints, their cursors, and deliveries."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from store import Store
from store import webhooks as module
from store.errors import NotFound, Refused
from store.signals import Signal
from store.webhooks import Attempt, Endpoint
from tests.recording import record_signals

NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)


def endpoint(key: str = "e", types: tuple[str, ...] = (), customers: tuple[str, ...] = ()) -> Endpoint:
    return Endpoint(key, "https://h.example/", types, customers, "whsec_AA==", None, None, "active", None, 0, NOW)


def raise_signals(store: Store, *names: str, type: str = "quota.exhausted") -> None:
    record_signals(store, [Signal(f"sig_{name}", type, name[0], NOW, {}) for name in names])


def made(store: Store, room: int = 100, key: str = "e") -> list[int]:
    return [delivery.signal for delivery in store.webhooks.fan_out({key: room})[key].deliveries]


def waiting(store: Store, key: str = "e") -> list[int]:
    return [delivery.signal for delivery in store.webhooks.waiting(key)]


def settle(store: Store, *sequences: int, state: str = "delivered") -> None:
    found = [each for each in store.webhooks.deliveries("e", None, after=0, limit=100) if each.signal in sequences]
    done = [replace(each, state=state, attempts=1, next_at=None) for each in found]  # type: ignore[arg-type]
    store.webhooks.mark(done, [Attempt("e", each.signal, NOW, 200, None, 5) for each in done])


def test_an_endpoint_gets_the_signals_from_its_making_on_as_far_as_there_is_room(store: Store) -> None:
    raise_signals(store, "a0")
    store.webhooks.add(endpoint())
    raise_signals(store, "a1", "b1", "a2")
    assert [made(store, 2), made(store, 2), made(store, 2)] == [[2, 3], [4], []]
    assert waiting(store) == [2, 3, 4]
    assert store.webhooks.get("e").cursor == 4


def test_what_an_endpoint_has_not_asked_for_moves_only_its_cursor(store: Store) -> None:
    store.webhooks.add(endpoint("t", types=("quota.threshold",)))
    store.webhooks.add(endpoint("c", customers=("b",)))
    raise_signals(store, "a1", "b1")
    raise_signals(store, "a2", type="quota.threshold")
    fanned = store.webhooks.fan_out({"t": 9, "c": 9, "gone": 9})
    assert {key: [d.signal for d in found.deliveries] for key, found in fanned.items()} == {"t": [3], "c": [2]}
    assert [each.cursor for each in store.webhooks.all()] == [3, 3]


def test_what_was_marked_waits_no_more_and_has_a_log(store: Store) -> None:
    store.webhooks.add(endpoint())
    raise_signals(store, "a1", "a2", "a3")
    made(store)
    settle(store, 1)
    settle(store, 2, state="dead")
    assert waiting(store) == [3]
    assert [a.signal for a in store.webhooks.attempts("e", [1, 2, 3])] == [1, 2]
    [standing] = store.webhooks.standing()
    assert (standing.waiting, standing.dead, standing.behind) == (1, 1, 0)
    assert [d.signal for d in store.webhooks.deliveries("e", "dead", after=0, limit=9)] == [2]


def test_signals_are_replayed_also_of_before_as_far_as_there_is_room(store: Store) -> None:
    raise_signals(store, "a1", "a2")
    store.webhooks.add(endpoint())
    raise_signals(store, "a3", "a4")
    made(store)
    settle(store, 3, 4)
    first = store.webhooks.replay("e", 0, None, 3)
    assert (first.replayed, first.next, waiting(store)) == (3, 3, [1, 2, 3])
    settle(store, 1, 2, 3)
    rest = store.webhooks.replay("e", 3, None, 3)
    assert (rest.replayed, rest.next, waiting(store)) == (1, None, [4])
    assert store.webhooks.replay("e", 0, 1, 3).replayed == 1


def test_what_was_given_up_is_tried_again(store: Store) -> None:
    store.webhooks.add(endpoint())
    raise_signals(store, "a1", "a2", "a3")
    made(store)
    settle(store, 1, 3, state="dead")
    assert store.webhooks.replay_dead("e", 2).replayed == 1
    assert waiting(store) == [1, 2]
    assert store.webhooks.replay_dead("e", 9).next is None
    assert waiting(store) == [1, 2, 3]


def test_an_endpoint_that_is_not_active_gets_nothing_and_loses_nothing(store: Store) -> None:
    store.webhooks.add(endpoint())
    store.webhooks.change("e", state="paused")
    raise_signals(store, "a1")
    assert store.webhooks.fan_out({"e": 9}) == {}
    store.webhooks.disable("e", "gone")
    assert store.webhooks.get("e").reason == "gone"
    store.webhooks.change("e", state="active", reason=None)
    assert made(store) == [1]


def test_an_endpoint_that_is_removed_takes_its_rows_with_it(store: Store) -> None:
    store.webhooks.add(endpoint())
    raise_signals(store, "a1")
    made(store)
    [delivery] = store.webhooks.waiting("e")
    store.webhooks.remove("e")
    store.webhooks.mark([delivery], [Attempt("e", 1, NOW, 200, None, 5)])  # its answer comes too late
    assert store.webhooks.fan_out({"e": 9}) == {}
    for missing in (lambda: store.webhooks.get("e"), lambda: store.webhooks.remove("e")):
        with pytest.raises(NotFound, match="webhook endpoint 'e'"):
            missing()


def test_two_secrets_sign_until_the_one_of_before_ends(store: Store) -> None:
    store.webhooks.add(endpoint())
    until = NOW + timedelta(hours=1)
    changed = store.webhooks.change("e", secret="new", secret_before="old", secret_before_until=until)
    assert changed == store.webhooks.get("e")
    assert (changed.secrets(NOW), changed.secrets(until)) == (["new", "old"], ["new"])


def test_endpoints_and_the_log_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENDPOINTS_MAX", 1)
    monkeypatch.setattr(module, "ATTEMPTS_KEPT", 3)
    monkeypatch.setattr(module, "_TRIMMED", 1)
    store.webhooks.add(endpoint())
    with pytest.raises(Refused, match="1 webhook endpoints"):
        store.webhooks.add(endpoint("f"))
    for number in range(9):
        store.webhooks.mark([], [Attempt("e", number, NOW, None, "refused", 1)])
    assert 3 <= len(store.webhooks.attempts("e", range(9))) <= 4


def test_of_what_is_marked_twice_at_once_the_last_holds(store: Store) -> None:
    store.webhooks.add(endpoint())
    raise_signals(store, "a1")
    made(store)
    [first] = store.webhooks.waiting("e")
    store.webhooks.mark([replace(first, attempts=1), replace(first, attempts=2)], [])
    assert store.webhooks.waiting("e")[0].attempts == 2
