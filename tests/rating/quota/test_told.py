"""What is told of limits that are reached: once, again behind room that was told, and the same over any restart."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.core.quota.seam import CustomerState, LevelChange, LevelName
from rating.entitled_quota import EntitledQuota
from tests.rating.quota.accounts import JANUARY
from tests.rating.quota.live import Live, catalog_of, terms_of

DAY = timedelta(days=1)
MONTH: Any = {"limit": "100"}
ACCOUNT: Any = {"limit": "100", "enforcement": "soft", "thresholds": ["80%", "60"]}


class Told:
    """A live quota and its outbox, of which only the ids outlive a restart: a change that is known is not told."""

    def __init__(self, entitlement: Any) -> None:
        self.catalog = catalog_of({"plan": {"tokens": entitlement}})
        self.live = Live(self.catalog, terms_of(self.catalog), JANUARY + DAY)
        self.recorded: list[LevelChange] = []
        self.levels: dict[tuple[str, str], LevelChange] = {}
        self.arms: dict[LevelName, int] = {}
        self.grants: list[dict[str, Any]] = []

    @property
    def kinds(self) -> list[str]:
        """A level that is restored beside its kind."""
        self.record()
        return [f"{c.kind} {c.level}" if c.kind == "restored" else c.kind for c in self.recorded]

    def use(self, *amounts: Any) -> None:
        self.live.use(*amounts)
        self.live.quota.tick(self.live.now)

    def grant(self, amount: int) -> None:
        """One grant more, or with less than nothing: the last one is voided."""
        if amount > 0:
            at = self.live.now
            made = {"grant": f"g{len(self.grants)}", "amount": str(amount), "effective_at": at, "created_at": at}
            self.grants.append(made)
        elif self.grants:
            self.grants.pop()
        self.live.put(terms_of(self.catalog, grants=self.grants))
        self.live.quota.tick(self.live.now)

    def restart(self, *, is_recorded: bool) -> None:
        """The process ends, with what waits recorded or not, and another begins."""
        if is_recorded:
            self.record()
        self.live.changes.clear()
        quota = EntitledQuota(self.live._since, self.live.changes.extend, lambda: self.live.now)
        quota.open_levels([*self.levels.values()], self.arms)
        quota.rebuild(self.live.terms, self.live.now)
        self.live.quota = quota
        quota.tick(self.live.now)

    def record(self) -> None:
        """What store/outbox.py does with a change."""
        known = {change.key for change in self.recorded}
        for change in self.live.changes:
            if change.key in known:
                continue
            known.add(change.key)
            self.recorded.append(change)
            if change.kind != "restored":
                self.levels[change.kind, change.level] = change
                continue
            over = ("negative",) if change.level == "negative" else ("100%", "negative")
            self.levels = {name: c for name, c in self.levels.items() if len(over) == 1 and c.level not in over}
            for level in over if change.because != "reset" else ():
                name = change.name._replace(level=level)
                self.arms[name] = self.arms.get(name, 0) + 1
        self.live.changes.clear()

    def is_told(self) -> tuple[bool, bool]:
        """Whether who was told everything takes the quota for exhausted, and for beyond its limit."""
        self.record()
        exhausted = negative = False
        for change in self.recorded:
            if change.kind == "restored":
                negative = False
                exhausted = exhausted and change.level == "negative"
            exhausted |= change.kind == "exhausted"
            negative |= change.kind == "negative"
        return exhausted, negative


@pytest.mark.parametrize("entitlement", [MONTH, ACCOUNT])
def test_what_is_used_beyond_the_limit_is_told_once_and_that_it_is_over(entitlement: Any) -> None:
    told = Told(entitlement)
    told.use(100)
    told.use(1, 1)
    told.use(5)
    told.use(-7)
    assert [c for c in told.kinds if c != "threshold"] == ["exhausted", "negative", "restored negative"]
    told.use(-1)
    assert told.kinds[-1] == "restored 100%"
    told.use(2)
    assert told.kinds[-2:] == ["exhausted", "negative"]
    told.use(-50)
    assert told.kinds[-1] == "restored 100%"
    assert len({change.key for change in told.recorded}) == len(told.recorded)


def test_a_threshold_before_and_behind_a_top_up_is_two_signals_and_a_restart_raises_neither_again() -> None:
    told = Told(ACCOUNT)
    told.use(80)
    told.grant(100)
    told.use(79)
    assert told.kinds == ["threshold", "threshold"]
    told.use(1)
    told.record()
    levels = [(c.level, c.limit) for c in told.recorded]
    assert levels == [("60", 100), ("80%", 100), ("80%", 200)]
    for is_recorded in (True, False):
        told.restart(is_recorded=is_recorded)
        told.record()
    assert [(c.level, c.limit) for c in told.recorded] == levels


def test_a_grant_that_is_voided_leaves_the_balance_negative() -> None:
    told = Told(MONTH)
    told.grant(50)
    told.use(140)
    assert told.kinds == []
    told.grant(-1)
    assert told.kinds == ["exhausted", "negative"]
    assert [(c.limit, c.used) for c in told.recorded] == [(100, 140), (100, 140)]
    told.grant(10)
    told.grant(100)
    assert told.kinds[-1] == "restored 100%"
    told.grant(-1)
    assert told.is_told() == (True, True)


def test_a_state_does_not_hide_that_there_is_room_again() -> None:
    told = Told(ACCOUNT)
    told.use(100)
    suspended = CustomerState("s", "acme", (), "suspended", None, None, "used up", JANUARY, None)
    told.live.quota.put_states([suspended])
    told.grant(10)
    assert told.kinds[-1] == "restored 100%"


def test_a_soft_limit_that_is_used_up_is_not_restored_by_a_look() -> None:
    told = Told(ACCOUNT)
    told.use(150)
    told.grant(1)
    assert "restored 100%" not in told.kinds


def test_a_top_up_of_an_account_of_months_is_told_also_beside_a_counter_of_months() -> None:
    told = Told(ACCOUNT)
    told.catalog = catalog_of({"plan": {"tokens": ACCOUNT, "other": {"limit": "1000"}}})
    told.live.put(terms_of(told.catalog))
    told.use(100)
    told.grant(10)
    assert told.kinds[-1] == "restored 100%"


@pytest.mark.parametrize("used", [100, 101, 150])
@pytest.mark.parametrize("window", ["hour", "month", "lifetime", {"rolling": "1d", "step": "6h"}])
def test_a_soft_limit_that_is_used_up_is_not_restored_by_a_change_of_terms(used: int, window: Any) -> None:
    soft = {"limit": "100", "enforcement": "soft", "window": window}
    lower, other = {**soft, "limit": "90"}, {"limit": "5"}
    beside = {"feature": "other", "limit": "9", "effective_at": JANUARY}
    told = Told(soft)
    told.use(used)
    told.catalog = catalog_of(
        {"plan": {"tokens": soft, "other": other}, "next": {"tokens": soft}, "low": {"tokens": lower}}
    )
    began, now, rest = JANUARY, told.live.now, []
    for plan in ("plan", "next", "low", "plan"):
        held = [("sub", "plan", p, start, end) for p, start, end in [*rest, (plan, began, None)]]
        told.live.put(terms_of(told.catalog, held, overrides=[beside] * (plan == "low")))
        told.live.quota.tick(told.live.now)
        rest, began = [*rest, (plan, began, now)], now
        told.live.now = now = now + timedelta(minutes=1)
        told.restart(is_recorded=True)
    assert "exhausted" in told.kinds
    assert "restored 100%" not in told.kinds
    told.live.put(terms_of(told.catalog, overrides=[{"limit": "200", "effective_at": JANUARY}]))
    told.live.quota.tick(told.live.now)
    assert told.kinds[-1] == "restored 100%"


def test_a_window_that_ends_long_before_the_next_start_is_restored_there() -> None:
    told = Told({"limit": "100", "window": "day"})
    told.use(120)
    told.record()
    told.live.now += 40 * DAY
    told.restart(is_recorded=True)
    assert told.kinds == ["exhausted", "negative", "restored 100%"]
    assert told.recorded[-1].because == "reset"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.lists(st.integers(-60, 80), min_size=1, max_size=3)),
        st.tuples(st.just("grant"), st.sampled_from([-1, 30, 50])),
        st.tuples(st.just("restart"), st.booleans()),
    ),
    max_size=10,
)


@settings(max_examples=80, deadline=None)
@given(entitlement=st.sampled_from([MONTH, ACCOUNT]), steps=STEPS)
def test_who_was_told_everything_knows_where_the_quota_stands(entitlement: Any, steps: Sequence[Any]) -> None:
    """Whatever is used, taken back, granted and voided, and whenever the process ends, before or behind recording."""
    told = Told(entitlement)
    for name, given_with in steps:
        if name == "use":
            told.use(*given_with)
        elif name == "grant":
            told.grant(given_with)
        else:
            told.restart(is_recorded=given_with)
        answer = told.live.quota.check("acme", "tokens", Decimal(0), told.live.now)
        assert answer.used is not None
        assert answer.limit is not None
        assert told.is_told() == (answer.used >= answer.limit, answer.used > answer.limit)
        assert len({change.key for change in told.recorded}) == len(told.recorded)
