"""What was told long ago goes, and nothing that is needed."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from api import pruning
from api.pruning import Kept, Pruner
from store import Store
from store.pruning import FOUND_AGAIN
from store.signals import Signal
from store.webhooks import Attempt
from tests.recording import record_signals
from tests.store.test_webhooks import NOW, endpoint, made, waiting

DAY = timedelta(days=1)
LONG_AGO = NOW - 31 * DAY


def tell(store: Store, name: str, at: datetime = LONG_AGO, type: str = "customer.suspended", **data: Any) -> None:
    record_signals(store, [Signal(f"sig_{name}", type, "acme", at, data)])


def kept(store: Store) -> list[str]:
    return [signal.id.removeprefix("sig_") for signal in store.signals.after(0, limit=1_000)]


def pruned(store: Store, monkeypatch: pytest.MonkeyPatch, now: datetime = NOW, needed: int | None = None) -> int:
    """Prune until there is no more to do: in how many steps."""
    monkeypatch.setattr(pruning, "PAUSE_SECONDS", 0.0)
    pruner = Pruner(store.pruning, Kept(30, 90), lambda: now, lambda: needed)
    steps = 0
    while steps < 1_000 and pruner.next_at < pruning.time.monotonic() + 60:
        pruner.step()
        steps += 1
    return steps


def deliver(store: Store, state: str, at: datetime | None) -> None:
    store.webhooks.add(endpoint())
    store.webhooks.change("e", cursor=0)
    made(store)
    found = store.webhooks.deliveries("e", None, after=0, limit=1_000)
    done = [replace(each, state=state, next_at=None, delivered_at=at) for each in found]  # type: ignore[arg-type]
    store.webhooks.mark(done, [Attempt("e", each.signal, at or LONG_AGO, 200, None, 5) for each in done])


def test_old_signals_go_in_small_steps_and_the_newest_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "ROWS", 3)
    for number in range(8):
        tell(store, str(number))
    tell(store, "late", NOW - 29 * DAY)
    assert pruned(store, monkeypatch) == 3
    assert kept(store) == ["late"]
    pruned(store, monkeypatch, NOW + 9 * DAY)
    assert kept(store) == ["late"]
    tell(store, "new", NOW)
    assert store.signals.last_sequence() == 10


def test_a_signal_that_could_be_found_again_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next start would raise it again."""
    over, lately = ((NOW - days).isoformat() for days in (FOUND_AGAIN + DAY, 2 * DAY))
    tell(store, "over", type="quota.exhausted", window_end=over)
    tell(store, "lately", type="quota.exhausted", window_end=lately)
    tell(store, "open", type="quota.threshold", window_end=(NOW + DAY).isoformat())
    tell(store, "lifetime", type="quota.exhausted", window_end=None)
    tell(store, "ended", type="grant.expiring", expires_at=over)
    tell(store, "ending", type="grant.expiring", expires_at=lately)
    tell(store, "newest", NOW)
    pruned(store, monkeypatch)
    assert kept(store) == ["lately", "open", "lifetime", "ending", "newest"]


def test_what_was_delivered_goes_with_its_signal_and_what_waits_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(store, "a")
    deliver(store, "delivered", NOW - 31 * DAY)
    tell(store, "b")
    made(store)
    tell(store, "behind")
    tell(store, "newest", NOW)
    pruned(store, monkeypatch)
    assert (kept(store), waiting(store)) == (["b", "behind", "newest"], [2])
    assert store.webhooks.attempts("e", [1]) == []


def test_what_was_given_up_is_kept_for_longer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(store, "a")
    deliver(store, "dead", None)
    tell(store, "newest", NOW)
    pruned(store, monkeypatch)
    assert kept(store) == ["a", "newest"]
    assert store.webhooks.replay_dead("e", 9).replayed == 1
    store.webhooks.mark([replace(store.webhooks.waiting("e")[0], state="dead", next_at=None)], [])
    pruned(store, monkeypatch, NOW + 60 * DAY)
    assert kept(store) == ["newest"]


def test_what_was_delivered_again_lately_and_what_another_way_out_needs_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(store, "a")
    deliver(store, "delivered", NOW - DAY)
    tell(store, "newest", NOW)
    store.webhooks.change("e", cursor=2)
    pruned(store, monkeypatch)
    assert kept(store) == ["a", "newest"]
    store.webhooks.remove("e")
    pruned(store, monkeypatch, needed=0)
    assert kept(store) == ["a", "newest"]
    pruned(store, monkeypatch, needed=1)
    assert kept(store) == ["newest"]
