"""Accounts of every kind, counted in arrays and asked without a lock: what is used is what the meter makes of the
window, whenever events come and however far the clock has gone, and a recount finds the same."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Event
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.core.quota.seam import QUOTA_ASKED
from rating.core.quota.windows import WindowRule, window_at
from rating.standings import LazyAnswer
from tests.rating.quota.accounts import JANUARY
from tests.rating.quota.live import Live, catalog_of, terms_of

HOUR = timedelta(hours=1)
WINDOWS: dict[str, WindowRule] = {kind: WindowRule(kind) for kind in ("hour", "day", "week", "month", "quarter")}  # type: ignore[arg-type]
MORE: dict[str, dict[str, Any]] = {
    "thresholds": {"thresholds": ["25%", "80%"]},
    "soft": {"enforcement": "soft"},
    "grace": {"enforcement": {"grace": "20"}},
    "carry": {"overage": "carry"},
    "rollover": {"rollover": {"maximum": "30"}},
    "shared": {"shared": True, "thresholds": ["50%"]},
}
STEPS = st.lists(
    st.tuples(
        st.integers(0, 40),  # hours that pass before
        st.sampled_from([-30, -1, 0, 0, 0, 2]),  # hours from then to the time of the events
        st.sampled_from(["acme", "acme-eu", "parent", "nobody"]),
        st.lists(st.integers(0, 60), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60)
@given(st.sampled_from(sorted(WINDOWS)), st.sampled_from(sorted(MORE)), STEPS, st.booleans())
def test_what_is_used_is_what_was_metered(
    window: str, more: str, steps: list[tuple[int, int, str, list[int]]], is_checked: bool
) -> None:
    more = "soft" if window == "hour" and more in ("carry", "rollover") else more  # nothing goes on from hours
    catalog = catalog_of({"plan": {"tokens": {"limit": "100", "window": window, **MORE[more]}}})
    agreed = [("sub", "plan", "plan", JANUARY, None), ("paid", "plan", "plan", JANUARY, None, "parent")]
    live = Live(catalog, terms_of(catalog, agreed, zone="America/New_York"), JANUARY + 50 * HOUR)
    used: list[tuple[str, datetime, int]] = []
    for passed, later, subject, amounts in steps:
        live.now += passed * HOUR
        at = live.now + later * HOUR
        live.use(*amounts, at=at, subject=subject)
        used += [(subject.removesuffix("-eu"), at, amount) for amount in amounts]
        if is_checked:
            for whose in ("acme", "parent"):
                live.check(1, subject=whose)
    rule = WINDOWS[window]
    here = window_at(rule, live.now, "America/New_York")
    recounted = live.recounted()
    for customer, subjects in {"acme": ["acme", "acme-eu"], "parent": ["parent"]}.items():
        own = [n for c, at, n in used if c == customer and window_at(rule, at, "America/New_York") == here]
        for subject in subjects:
            answer = live.check(0, subject=subject)
            assert answer.used == sum(own)
            assert answer == recounted.check(subject, "tokens", Decimal(0), live.now)
            assert answer == live.check(0, subject=subject)  # of the standing that is known now
    compared = live.quota.comparison()
    assert compared["counted"].to_list() == compared["metered"].to_list()


@pytest.mark.parametrize("more", sorted(MORE))
def test_an_answer_of_a_standing_is_the_answer_of_the_account(more: str) -> None:
    catalog = catalog_of({"plan": {"tokens": {"limit": "100", "window": "day", **MORE[more]}}})
    live = Live(catalog, terms_of(catalog), JANUARY)
    for amount in (30, 70, 10, 10, 30):
        live.use(amount)
        views = live.quota.views("acme", "tokens", live.now)
        for asked in ("0", "1", "9.5", "20.1", "71"):
            answer = live.check(asked)
            assert isinstance(answer, LazyAnswer)
            assert (answer.used, answer.remaining) == (
                Decimal(views[0].standing.window_used_before + views[0].used).scaleb(-9),
                max(Decimal(views[0].room or 0).scaleb(-9), Decimal(0)),
            )
            assert (answer.allowed, answer.reason) == (answer.in_words().allowed, answer.in_words().reason)


@pytest.mark.parametrize("more", sorted(MORE))
@pytest.mark.parametrize("used", [0, 60, 100, 115, 130])
def test_many_at_once_get_the_answers_of_one_by_one(more: str, used: int) -> None:
    catalog = catalog_of({"plan": {"tokens": {"limit": "100", "window": "day", **MORE[more]}}})
    live = Live(catalog, terms_of(catalog), JANUARY)
    live.use(used)
    amounts = [Decimal(n) for n in ("0", "0.000000001", "5", "20", "40", "40.000000001", "60", "500")]
    asked = pl.DataFrame({"subject": "acme", "feature": "tokens", "amount": amounts}, schema=QUOTA_ASKED)
    found = live.quota.check_many(pl.concat([asked, asked.with_columns(subject=pl.lit("nobody"))]), live.now)
    one_by_one = [live.check(amount, subject=subject) for subject in ("acme", "nobody") for amount in amounts]
    for name in found.columns:
        assert found[name].to_list() == [getattr(answer, name) for answer in one_by_one], name


def test_an_account_is_an_object_only_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rating.accounts.KEPT_MAX", 0)
    catalog = catalog_of({"plan": {"tokens": {"limit": "100", "window": "day", "thresholds": ["50%"]}}})
    live = Live(catalog, terms_of(catalog, grants=[{"grant": "g", "amount": "50", "effective_at": JANUARY}]), JANUARY)
    for amount in (40, 40, 40, 40):
        live.use(amount)
        live.now += 6 * HOUR
    assert [(c.level, c.used) for c in live.changes] == [("50%", 80), ("100%", 160), ("negative", 160)]
    live.use(30)  # the next day: 10 are owed of before, and forgotten
    assert live.check(0).remaining == 70


def test_a_check_beside_a_thread_that_counts_sees_whole_groups() -> None:
    catalog = catalog_of({"plan": {"tokens": {"limit": "100000", "window": "day", "thresholds": ["50%"]}}})
    live = Live(catalog, terms_of(catalog), JANUARY)
    live.use(0)
    groups = [live.accept(*[3] * 4) for _ in range(60)]
    live.check(1)  # a standing is known
    done = Event()

    def ask() -> list[Decimal | None]:
        seen = []
        while not done.is_set():
            seen.append(live.check(1).used)
        return seen

    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(ask) for _ in range(2)]
        for group in groups:
            live.quota.count(group)
        done.set()
        for asked in asking:
            seen = [used or Decimal(0) for used in asked.result()]
            assert seen == sorted(seen)
            assert all(used % 12 == 0 for used in seen)
    assert live.check(1).used == 720
