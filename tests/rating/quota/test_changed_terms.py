"""Other terms count again the usage of the customers that they concern, and of nobody else, to what a recount of all
finds."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rating.quota.accounts import JANUARY
from tests.rating.quota.live import Live, catalog_of, terms_of

HOUR = timedelta(hours=1)
NOW = JANUARY + 20 * 24 * HOUR
GIVES = {
    "plan": {"tokens": {"limit": "100", "window": "day", "thresholds": ["50%"]}, "other": {"limit": "90"}},
    "more": {"tokens": {"limit": "40", "window": "lifetime"}, "other": {"limit": "50"}},
    "pool": {"tokens": {"limit": "300", "window": "month", "shared": True}},
}
CATALOG = catalog_of(GIVES)
KINDS: list[dict[str, Any]] = [
    {},
    {"grants": [{"grant": "g", "amount": "30", "effective_at": NOW - 5 * HOUR}]},
    {"grants": [{"grant": "g", "amount": "30", "effective_at": NOW, "feature": "other"}]},
    {"overrides": [{"limit": "10", "effective_at": NOW - 2 * HOUR}]},
    {"overrides": [{"limit": "10", "subject": "acme", "effective_at": JANUARY}]},
    {"subscriptions": [("sub", "plan", "more", JANUARY, None)]},
    {"subscriptions": [("sub", "plan", "plan", JANUARY, NOW), ("sub", "plan", "more", NOW, None)]},
    {"subscriptions": [("sub", "plan", "plan", JANUARY, None), ("p", "plan", "pool", JANUARY, None, "parent")]},
    {
        "subscriptions": [("sub", "plan", "plan", JANUARY, None), ("p", "plan", "pool", JANUARY, None, "parent")],
        "family": {"acme": "parent"},
    },
    {"subscriptions": []},
]
USES = st.lists(
    st.tuples(st.sampled_from(["acme", "acme-eu", "parent", "new"]), st.integers(-30, 3), st.integers(1, 60)),
    max_size=4,
)


@settings(max_examples=80)
@given(st.lists(st.tuples(USES, st.sampled_from(KINDS), st.booleans(), st.integers(0, 9)), min_size=1, max_size=5))
def test_what_is_left_is_what_a_recount_of_all_finds(steps: list[tuple[Any, dict[str, Any], bool, int]]) -> None:
    live = Live(CATALOG, terms_of(CATALOG), NOW)
    for uses, kind, has_new, passed in steps:
        for subject, at, amount in uses:
            live.use(amount, at=live.now + at * HOUR, subject=subject)
        live.now += passed * HOUR
        live.renew(terms_of(CATALOG, subjects={"new": "acme"} if has_new else {}, **kind))
        recounted = live.recounted()
        for subject in ("acme", "acme-eu", "parent", "new"):
            for feature in ("tokens", "other"):
                found = live.check(1, feature, subject)
                assert found == recounted.check(subject, feature, Decimal(1), live.now), (subject, feature)
        compared = live.quota.comparison()
        assert compared["counted"].to_list() == compared["metered"].to_list()


def test_only_the_usage_of_those_concerned_is_read_again() -> None:
    live = Live(CATALOG, terms_of(CATALOG), NOW)
    live.use(20)
    live.use(30, subject="parent")
    live.read.clear()
    live.renew(terms_of(CATALOG))
    live.renew(terms_of(CATALOG, subjects={"new": "fresh"}))
    live.renew(terms_of(CATALOG, subjects={"new": "fresh"}, **KINDS[1]))
    assert [set(subjects or ["all"]) for subjects in live.read if subjects != set()] == [{"new"}, {"acme", "acme-eu"}]
    assert live.check(0).remaining == 110


def test_what_was_on_its_way_while_terms_changed_is_counted_once() -> None:
    live = Live(CATALOG, terms_of(CATALOG), NOW)
    live.use(20)
    held_back = live.accept(30)
    others = live.accept(5, subject="parent")
    live.renew(terms_of(CATALOG, overrides=[{"limit": "70", "effective_at": NOW}]))  # the log has both events by now
    assert live.check(0).used == 50
    live.quota.count(pl.concat([held_back, others]))
    live.use(1)
    assert live.check(0).used == 51
    assert live.check(0, "other").used == 51
    compared = live.quota.comparison()
    assert compared["counted"].to_list() == compared["metered"].to_list()


def test_a_correction_on_its_way_while_terms_changed_is_counted_once() -> None:
    live = Live(CATALOG, terms_of(CATALOG), NOW)
    live.use(20)
    live.use(5)
    out = live.void(0)
    live.renew(terms_of(CATALOG, overrides=[{"limit": "70", "effective_at": NOW}]))
    assert live.check(0).used == 5
    live.quota.correct(out, out.clear(), 2)
    assert live.check(0).used == 5
    assert live.check(0, "other").used == 5
