"""Live quotas of every kind: signals at their levels, holds in all accounts, states, corrections, and a recount that
finds what was counted."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.core.quota.seam import QUOTA_ASKED, CustomerState, Hold, LevelChange
from tests.rating.quota.accounts import JANUARY, on
from tests.rating.quota.live import Live, catalog_of, terms_of

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
FEBRUARY = on("2026-02-01T00:00:00Z")


def live(entitlement: Any, now: datetime = JANUARY, more: dict[str, Any] | None = None, **terms: Any) -> Live:
    catalog = catalog_of({"plan": {"tokens": entitlement}, **(more or {})})
    return Live(catalog, terms_of(catalog, **terms), now)


def levels(quota: Live) -> list[tuple[str, str, str, str | None]]:
    return [(c.kind, c.level, f"{c.used.normalize():f}", c.id) for c in quota.changes]


def test_each_level_that_is_crossed_is_told_once_with_the_event_that_crossed_it() -> None:
    quota = live({"limit": "100", "thresholds": ["50%", "80", "120%"], "enforcement": "soft"})
    quota.use(30, 25, 30)
    assert levels(quota) == [("threshold", "50%", "55", "1"), ("threshold", "80", "85", "2")]
    quota.use(15, 30)
    beyond = [("negative", "negative", "130", "4"), ("threshold", "120%", "130", "4")]
    assert levels(quota)[2:] == [("exhausted", "100%", "100", "3"), *beyond]
    quota.use(5)
    assert len(quota.changes) == 5


def test_a_recount_finds_the_same_crossings_under_the_same_keys() -> None:
    quota = live({"limit": "100", "thresholds": ["50%"]})
    quota.use(30, 25, 60)
    before = list(quota.changes)
    quota.put(quota.terms)
    assert quota.changes == before
    recounted: list[LevelChange] = []
    quota.recounted(recounted)
    assert {(change.key, change.id, change.used) for change in recounted} == {(c.key, c.id, c.used) for c in before}


def test_a_reset_restores_what_was_exhausted() -> None:
    quota = live({"limit": "100", "window": "day"})
    quota.use(100)
    quota.now = JANUARY + DAY - SECOND
    quota.quota.tick(quota.now)
    assert [change.kind for change in quota.changes] == ["exhausted"]
    quota.now = JANUARY + DAY
    quota.quota.tick(quota.now)
    quota.quota.tick(quota.now)
    assert [(c.kind, c.because) for c in quota.changes[1:]] == [("restored", "reset")]


def test_counters_of_months_are_restored_too() -> None:
    quota = live({"limit": "100"})
    quota.use(100)
    quota.quota.tick(FEBRUARY)
    assert [(c.kind, c.because) for c in quota.changes] == [("exhausted", None), ("restored", "reset")]


def test_a_top_up_restores_and_the_next_crossing_is_another_one() -> None:
    quota = live({"limit": "100", "window": "day"})
    quota.use(100)
    catalog = catalog_of({"plan": {"tokens": {"limit": "100", "window": "day"}}})
    quota.put(terms_of(catalog, grants=[{"grant": "top-up", "amount": "50", "effective_at": JANUARY}]))
    quota.quota.tick(quota.now)
    quota.use(50)
    assert [(c.kind, c.because, c.limit) for c in quota.changes] == [
        ("exhausted", None, 100),
        ("restored", "top_up", 100),
        ("exhausted", None, 150),
    ]
    assert len({change.key for change in quota.changes}) == 3


def test_what_is_held_counts_as_taken_in_every_account() -> None:
    quota = live(
        {"limit": "100", "shared": True},
        more={"child": {"tokens": {"limit": "80"}}},
        subscriptions=[
            ("sub", "plan", "plan", JANUARY, None, "parent"),
            ("child", "plan", "child", JANUARY, None, "acme"),
        ],
        family={"acme": "parent"},
    )
    hold = quota.quota.hold("h", "acme", "tokens", Decimal(60), Decimal(60), quota.now)
    assert hold == Hold("h", "acme", "tokens", Decimal(60), FEBRUARY)
    assert quota.check(21).reason == "would_exceed"
    assert quota.check(41, subject="parent").reason == "would_exceed"
    assert sorted(quota.quota.reserved().select("owner", "reserved", "holds").rows()) == [
        ("acme", 60, 1),
        ("parent", 60, 1),
    ]
    quota.quota.shrink("h", Decimal(10))
    assert quota.check(30).allowed
    quota.quota.drop("h")
    assert quota.check(80).allowed


def test_no_more_is_held_than_there_is_in_the_tightest_account() -> None:
    quota = live(
        {"limit": "100", "window": "day"}, overrides=[{"limit": "10", "subject": "acme", "effective_at": JANUARY}]
    )
    held = quota.quota.hold("a", "acme", "tokens", Decimal(60), Decimal(1), quota.now)
    assert isinstance(held, Hold)
    assert held.amount == 10
    refused = quota.quota.hold("b", "acme", "tokens", Decimal(60), Decimal(1), quota.now)
    assert not isinstance(refused, Hold)
    assert (refused.reason, refused.scope) == ("exhausted", "key")


def state(kind: Any, **more: Any) -> CustomerState:
    usual = {"features": (), "plan": None, "amount": None, "reason": "unpaid", "since": JANUARY, "until": None}
    return CustomerState(id="s", customer="acme", state=kind, **{**usual, **more})


@pytest.mark.parametrize("window", ["month", "day"])
def test_states_are_obeyed_by_the_next_check(window: str) -> None:
    quota = live({"limit": "100", "window": window}, more={"free": {"tokens": {"limit": "20", "window": window}}})
    quota.use(100)
    quota.quota.put_states([state("overage", amount=Decimal(5))])
    assert [quota.check(n).reason for n in (5, 6)] == ["in_grace", "would_exceed"]
    quota.quota.put_states([state("suspended", features=("tokens",)), state("overage", amount=Decimal(5))])
    assert (quota.check(1).reason, quota.check(1).message) == ("suspended", "unpaid")
    quota.quota.put_states([])
    assert quota.check(1).reason == "exhausted"


@pytest.mark.parametrize("window", ["month", "day"])
def test_a_restricted_customer_has_the_limits_of_another_plan(window: str) -> None:
    quota = live({"limit": "100", "window": window}, more={"free": {"tokens": {"limit": "20", "window": window}}})
    quota.use(15)
    quota.quota.put_states([state("restricted", plan="free")])
    assert [(quota.check(n).reason, quota.check(n).limit) for n in (5, 6)] == [("allowed", 20), ("would_exceed", 20)]
    assert quota.check(5).state == "restricted to plan free: unpaid"
    quota.quota.put_states([state("restricted", plan="free", until=JANUARY + SECOND)])
    quota.now += SECOND
    assert quota.check(85).allowed


def test_many_checks_at_once_are_the_checks_one_by_one() -> None:
    quota = live({"limit": "100", "enforcement": {"grace": "5"}}, more={"other": {"other": {"limit": "3"}}})
    quota.use(98)
    pairs = [
        ("acme", "tokens", 1),
        ("acme", "tokens", 6),
        ("acme", "tokens", 8),
        ("nobody", "tokens", 1),
        ("acme", "x", 1),
    ]
    asked = pl.DataFrame(pairs, schema=QUOTA_ASKED, orient="row")
    answered = quota.quota.check_many(asked, quota.now)
    one_by_one = [quota.quota.check(s, f, Decimal(n), quota.now) for s, f, n in pairs]
    assert answered["reason"].to_list() == [answer.reason for answer in one_by_one]
    assert answered["reason"].to_list() == ["allowed", "in_grace", "would_exceed", "not_entitled", "not_entitled"]


def test_a_correction_takes_off_and_adds() -> None:
    quota = live({"limit": "100", "window": "day"})
    quota.use(60, 30)
    out = quota._frame().slice(0, 1).collect()
    quota.quota.correct(out, out.clear(), 3)
    assert quota.check().used == 30


def test_what_is_asked_of_features_that_are_not_there_leaves_nothing_behind() -> None:
    quota = live({"limit": "100", "window": "day"})
    for number in range(50):
        quota.check(feature=f"unknown-{number}")
        quota.check(subject=f"nobody-{number}")
    assert quota.quota._accounts is not None
    assert quota.quota._accounts._accounts == {}


ENTITLEMENTS = [
    {"limit": "50", "window": "day"},
    {"limit": "50", "rollover": {"maximum": "40"}},
    {"limit": "50", "window": {"every": "3d"}, "overage": "carry"},
    {"limit": "50", "window": {"rolling": "6h", "step": "1h"}},
    {"limit": "50", "window": "lifetime", "enforcement": "soft", "grants": {"g": {"amount": "9", "recurs": "2d"}}},
]
STEPS = st.lists(
    st.tuples(st.integers(0, 20), st.lists(st.integers(-5, 30), min_size=1, max_size=3), st.integers(0, 60)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(entitlement=st.sampled_from(ENTITLEMENTS), steps=STEPS, has_grant=st.booleans())
def test_counting_event_by_event_is_counting_the_log(entitlement: Any, steps: Any, has_grant: bool) -> None:
    gift = {"grant": "gift", "amount": "20", "effective_at": JANUARY + DAY, "expires_at": JANUARY + 4 * DAY}
    quota = live(entitlement, grants=[gift] if has_grant else [])
    for hours, amounts, hours_late in steps:
        quota.now += timedelta(hours=hours)
        quota.use(*amounts, at=max(quota.now - timedelta(hours=hours_late), JANUARY))
        answer = quota.check()
        assert answer == quota.recounted().check("acme", "tokens", Decimal(0), quota.now)
