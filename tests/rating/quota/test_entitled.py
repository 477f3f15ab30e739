"""What an owner is entitled to over time is, at every instant, what its plans, add-ons and overrides say then."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rating.core.quota.entitled import Agreed, Gives, Override, PlanGives, given_at, series_of, spans_of
from rating.core.quota.segments import span_at
from rating.core.quota.terms import AccountTerms
from rating.core.quota.windows import MONTH, WindowRule
from tests.rating.quota.accounts import JANUARY, on

DAY = timedelta(days=1)
CYCLE = ("UTC", "month", 1, None)
DAYS = st.integers(0, 40).map(lambda days: JANUARY + days * DAY)
GIVES = {
    "small": Gives("small", "metered", None, 100, MONTH, enforcement="grace", grace=5),
    "large": Gives("large", "metered", None, 1000, WindowRule("day"), shared=True),
    "endless": Gives("endless", "metered", None, None, MONTH),
    "there": Gives("there", "boolean", "true", None, MONTH),
}


@st.composite
def spans_of_time(draw: st.DrawFn) -> tuple[datetime, datetime | None]:
    start = draw(DAYS)
    lasts = draw(st.none() | st.integers(1, 20))
    return start, None if lasts is None else start + lasts * DAY


@st.composite
def agreements(draw: st.DrawFn) -> list[Agreed]:
    made = []
    for number in range(draw(st.integers(0, 4))):
        item = draw(st.sampled_from(["plan", "add-on"]))
        plan = draw(st.sampled_from([*GIVES, "nothing"]))
        made.append(Agreed(f"s{number}", item, plan, *draw(spans_of_time()), CYCLE))
    return made


@st.composite
def overridden(draw: st.DrawFn) -> list[Override]:
    spans = draw(st.lists(spans_of_time(), max_size=3))
    limits = st.none() | st.integers(0, 50)
    return [Override(f"o{n}", *span, draw(limits)) for n, span in enumerate(spans)]


@given(agreed=agreements(), overrides=overridden(), at=DAYS, hours=st.integers(-1, 1))
def test_each_span_says_what_holds_in_it(
    agreed: list[Agreed], overrides: list[Override], at: datetime, hours: int
) -> None:
    at += timedelta(hours=hours)
    spans = spans_of(agreed, GIVES, overrides)
    assert all(a.end is not None and a.end <= b.start for a, b in pairwise(spans))
    found = span_at(AccountTerms("c", "f", "UTC", spans), at)
    assert (None if found is None else (found.limit,)) == _limit_at(agreed, overrides, at)


def _limit_at(agreed: list[Agreed], overrides: list[Override], at: datetime) -> tuple[int | None] | None:
    """The limit, in a tuple of one; null: nothing entitles."""
    limits = [
        GIVES[a.plan].limit for a in agreed if a.plan in GIVES and GIVES[a.plan].kind == "metered" and a.holds(at)
    ]
    standing_in = [one for one in overrides if one.holds(at)]
    if standing_in:
        return (standing_in[-1].limit,)
    if not limits:
        return None
    return (None,) if None in limits else (sum(one for one in limits if one is not None),)


def agreed(plan: str, start: str, end: str | None = None, item: str = "plan") -> Agreed:
    return Agreed("s", item, plan, on(start), None if end is None else on(end), CYCLE)


def test_the_first_plan_says_all_but_the_amount_and_add_ons_come_last() -> None:
    both = [agreed("large", "2026-01-01T00:00:00Z", item="add-on"), agreed("small", "2026-01-02T00:00:00Z")]
    first, second = spans_of(both, GIVES)
    assert (first.limit, first.window.kind) == (1000, "day")
    assert (second.limit, second.window, second.grace, second.shared) == (1100, MONTH, 5, True)


def test_what_an_override_does_not_say_the_plan_says() -> None:
    override = Override("o", on("2026-01-02T00:00:00Z"), None, 7, window=WindowRule("week"))
    last = spans_of([agreed("small", "2026-01-01T00:00:00Z")], GIVES, [override])[-1]
    assert (last.limit, last.window.kind, last.enforcement, last.grace, last.plan) == (7, "week", "grace", 5, None)


def test_a_change_of_seats_cuts_nothing() -> None:
    rows = [agreed("small", "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"), agreed("small", "2026-01-05T00:00:00Z")]
    assert len(spans_of(rows, GIVES)) == 1


def test_what_is_there_goes_before_what_is_not() -> None:
    gives: dict[str, Any] = {**GIVES, "not": Gives("not", "boolean", "false", None, MONTH)}
    both = [agreed("not", "2026-01-01T00:00:00Z"), agreed("there", "2026-01-02T00:00:00Z", item="add-on")]
    found = [given_at(both, gives, on(f"2026-01-0{day}T12:00:00Z")) for day in (1, 2)]
    assert [one and one.plan for one in found] == ["not", "there"]


def test_grants_of_a_plan_begin_with_it_and_end_with_it() -> None:
    gives = {("f", "small"): [PlanGives("bonus", 5, "1mo", "2mo", 1, 0, None)]}
    [series] = series_of([agreed("small", "2026-01-31T00:00:00Z", "2026-04-15T00:00:00Z")], "f", gives)
    made = series.grants(on("2027-01-01T00:00:00Z"))
    assert [(grant.id, grant.ends_at) for grant in made] == [
        ("s/f/bonus/2026-01-31T00:00:00+00:00", on("2026-03-31T00:00:00Z")),
        ("s/f/bonus/2026-02-28T00:00:00+00:00", on("2026-04-15T00:00:00Z")),
        ("s/f/bonus/2026-03-31T00:00:00+00:00", on("2026-04-15T00:00:00Z")),
    ]
