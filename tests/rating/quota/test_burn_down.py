"""What is left of an account: as the ledger of credits has it, and as plain sums have it where nothing is granted."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.core.credits.burning import burn
from rating.core.credits.schema import BURN, GRANT, RESET, UNITS
from rating.core.quota.burn_down import Standing
from rating.core.quota.segments import account_segments, live_since
from rating.core.quota.terms import UNITS as SCALE
from rating.core.quota.terms import AccountTerms, QuotaGrant, Span
from rating.core.quota.windows import MONTH, WindowRule
from tests.rating.credits.frames import frame
from tests.rating.quota.accounts import JANUARY, account, grant, on, span, standing_at

DAY = timedelta(days=1)
DAYS = st.integers(0, 120).map(lambda days: JANUARY + days * DAY)
USES = st.dictionaries(
    st.integers(0, 2880).map(lambda hours: JANUARY + timedelta(hours=hours, minutes=7)), st.integers(0, 60), max_size=12
)


@st.composite
def grants(draw: st.DrawFn) -> tuple[QuotaGrant, ...]:
    made = []
    for number in range(draw(st.integers(0, 4))):
        at = draw(DAYS)
        lasts = draw(st.none() | st.integers(1, 90))
        voided = draw(st.none() | st.integers(0, 90))
        more: dict[str, Any] = {"priority": draw(st.integers(99, 101)), "created_at": draw(DAYS)}
        if draw(st.booleans()):
            more |= {"recurs_every": draw(st.sampled_from(["10d", "1mo"])), "recurs_from": draw(DAYS)}
        if draw(st.booleans()):
            more |= {"rollover_minimum": draw(st.integers(0, 9)), "rollover_maximum": draw(st.integers(0, 40))}
        more["expires_at"] = at + lasts * DAY if lasts else None
        more["voided_at"] = at + voided * DAY if voided is not None else None
        made.append(grant(f"g{number}", draw(st.integers(0, 80)), at, **more))
    return tuple(made)


def in_the_ledger(terms: AccountTerms, until: datetime, used: dict[datetime, int]) -> int:
    """What the ledger of credits leaves at `until`: the limit of each month is a grant that ends with it."""
    (only,) = terms.spans
    assert only.limit is not None
    months = [JANUARY.replace(month=number) for number in range(1, until.month + 2)]
    plan = [
        {"grant": f" {at.month}", "amount": Decimal(only.limit) / SCALE, "priority": only.priority, "created_at": at,
         "effective_at": at, "expires_at": end}
        for at, end in pairwise(months)
    ]  # fmt: skip
    given_rows = [
        {name: getattr(g, name) for name in GRANT if hasattr(g, name)}
        | {"grant": g.id, "amount": Decimal(g.amount) / SCALE}
        | {"rollover_minimum": Decimal(g.rollover_minimum) / SCALE}
        | {"rollover_maximum": None if g.rollover_maximum is None else Decimal(g.rollover_maximum) / SCALE}
        for g in terms.grants
    ]
    usual = {"customer": "c", "kind": "grant", "unit": UNITS}
    burns = [
        {"burn": n, "customer": "c", "unit": UNITS, "time": at, "sequence": n, "amount": Decimal(amount)}
        for n, (at, amount) in enumerate(sorted(used.items()))
        if at < until
    ]
    resets = [at for at in months[1:] if at <= until]
    burnt = burn(
        frame(GRANT, [{**usual, **row} for row in (*plan, *given_rows)]),
        frame(BURN, burns),
        until,
        overage="carry",
        resets=frame(RESET, [{"customer": "c", "at": at, "keeps_overage": only.carries} for at in resets]),
    )
    owing = burnt.paid if only.carries else burnt.paid.filter(pl.col("time") >= max([JANUARY, *resets]))
    return int((sum(burnt.balances["balance"], Decimal(0)) - sum(owing["unpaid"], Decimal(0))) * SCALE)


@settings(max_examples=40)
@given(
    limit=st.integers(0, 100),
    given_grants=grants(),
    carries=st.booleans(),
    used=USES,
    at=DAYS,
    priority=st.integers(99, 101),
)
def test_what_is_left_is_what_the_ledger_of_credits_leaves(
    limit: int,
    given_grants: tuple[QuotaGrant, ...],
    carries: bool,
    used: dict[datetime, int],
    at: datetime,
    priority: int,
) -> None:
    terms = account(span(limit, carries=carries, priority=priority), grants=given_grants)
    last = account_segments(terms, JANUARY, at)[-1].start
    standing = standing_at(terms, at, used)
    assert standing.available == in_the_ledger(terms, last, used)
    assert standing.available == sum(left for _, left in standing.order) - standing.owed


@given(given_grants=grants(), used=USES, at=DAYS, carries=st.booleans(), rollover=st.none() | st.just((3, 40)))
def test_what_is_known_from_live_since_on_is_enough(
    given_grants: tuple[QuotaGrant, ...],
    used: dict[datetime, int],
    at: datetime,
    carries: bool,
    rollover: tuple[int, int] | None,
) -> None:
    terms = account(span(50, carries=carries, rollover=rollover), grants=given_grants)
    assert live_since(terms, at) <= at
    shown = [_shown(standing_at(terms, at, used, since)) for since in (None, JANUARY)]
    assert shown[0] == shown[1]


def _shown(standing: Standing) -> tuple[Any, ...]:
    return standing.available, standing.owed, standing.order, standing.window_used_before, standing.segment.end


@settings(max_examples=100)
@given(
    edges=st.lists(DAYS, min_size=1, max_size=6, unique=True).map(sorted),
    windows=st.lists(
        st.sampled_from([MONTH, WindowRule("week"), WindowRule("rolling", "20d", "1d"), WindowRule("lifetime")]),
        min_size=3,
        max_size=3,
    ),
    given_grants=grants(),
    used=USES,
    at=DAYS,
    earlier=st.integers(0, 40),
    carries=st.booleans(),
)
def test_what_is_known_from_live_since_on_is_enough_behind_time_without_a_plan(
    edges: list[datetime],
    windows: list[WindowRule],
    given_grants: tuple[QuotaGrant, ...],
    used: dict[datetime, int],
    at: datetime,
    earlier: int,
    carries: bool,
) -> None:
    ends: list[datetime | None] = [*edges[1::2], *([None] if len(edges) % 2 else [])]
    pairs = zip(edges[::2], ends, windows, strict=False)
    terms = account(*(span(50, a, b, window=w, carries=carries) for a, b, w in pairs), grants=given_grants)
    shown = [
        _shown(standing_at(terms, at, used, since)) for since in (None, live_since(terms, at - earlier * DAY), JANUARY)
    ]
    assert shown[0] == shown[1] == shown[2]


@given(
    limits=st.lists(st.integers(0, 100), min_size=1, max_size=6),
    used=USES,
    at=DAYS,
    window=st.sampled_from([MONTH, WindowRule("week"), WindowRule("quarter"), WindowRule("every", "10d")]),
)
def test_without_grants_a_window_leaves_its_limit_less_its_use(
    limits: list[int], used: dict[datetime, int], at: datetime, window: WindowRule
) -> None:
    terms = account(*_changing(limits, window))
    standing = standing_at(terms, at, used)
    start, begin = standing.segment.window_start, standing.segment.start
    assert start is not None
    before = sum(amount for t, amount in used.items() if max(start, JANUARY) <= t < begin) * SCALE
    assert standing.window_used_before == before
    assert standing.available == (standing.segment.limit or 0) - before


@given(
    limits=st.lists(st.integers(0, 100), min_size=1, max_size=6),
    used=USES,
    at=DAYS,
    rolling=st.sampled_from([("10d", "1d"), ("1d", "6h"), ("2d", "2d"), ("3mo", "1mo")]),
)
def test_a_rolling_window_leaves_its_limit_less_the_use_of_its_tiles(
    limits: list[int], used: dict[datetime, int], at: datetime, rolling: tuple[str, str]
) -> None:
    terms = account(*_changing(limits, WindowRule("rolling", *rolling)))
    standing = standing_at(terms, at, used)
    start, begin = standing.segment.window_start, standing.segment.start
    assert start is not None
    before = sum(amount for t, amount in used.items() if start <= t < begin) * SCALE
    assert standing.window_used_before == before
    assert standing.available == (standing.segment.limit or 0) - before


def _changing(limits: list[int], window: WindowRule) -> list[Span]:
    """The first limit for 17 days, then the next, the last for good."""
    starts = [JANUARY + n * 17 * DAY for n in range(len(limits))]
    ends = [*starts[1:], None]
    return [span(limit, start, end, window=window) for limit, start, end in zip(limits, starts, ends, strict=True)]


@given(used=USES, at=DAYS, given_grants=grants(), carries=st.booleans())
def test_segments_tile_the_time(
    used: dict[datetime, int], at: datetime, given_grants: tuple[QuotaGrant, ...], carries: bool
) -> None:
    terms = account(span(50, carries=carries), grants=given_grants, zone="Australia/Lord_Howe")
    segments = account_segments(terms, JANUARY, at)
    assert segments[0].start == JANUARY
    assert segments[-1].start <= at
    assert segments[-1].end is None or segments[-1].end > at
    assert all(a.end == b.start and a.start < b.start for a, b in pairwise(segments))


def left(standing: Standing) -> int | None:
    return None if standing.available is None else standing.available // SCALE


FEBRUARY, MARCH = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)


def test_a_top_up_pays_what_is_owed_first() -> None:
    terms = account(span(100), grants=(grant("top-up", 50, on("2026-01-10T00:00:00Z")),))
    standing = standing_at(terms, on("2026-01-10T00:00:00Z"), {on("2026-01-05T00:00:00Z"): 110})
    assert (left(standing), standing.order) == (40, (("top-up", 40 * SCALE), ("", 0)))


def test_what_rolls_over_is_what_was_left_up_to_a_maximum_and_accumulates() -> None:
    terms = account(span(100, rollover=(0, 120)))
    assert left(standing_at(terms, FEBRUARY, {on("2026-01-05T00:00:00Z"): 70})) == 130
    assert left(standing_at(terms, MARCH, {on("2026-01-05T00:00:00Z"): 70})) == 220, "130 left, at most 120 of them"


def test_a_minimum_rolls_over_also_of_nothing() -> None:
    terms = account(span(100, rollover=(10, 50)))
    assert left(standing_at(terms, FEBRUARY, {on("2026-01-05T00:00:00Z"): 100})) == 110


def test_what_is_owed_is_carried_over_until_it_is_paid() -> None:
    used = {on("2026-01-05T00:00:00Z"): 250}
    terms = account(span(100, carries=True))
    assert [left(standing_at(terms, at, used)) for at in (FEBRUARY, MARCH)] == [-50, 50]
    assert left(standing_at(account(span(100)), FEBRUARY, used)) == 100


def test_a_lower_limit_owes_what_was_burnt_above_it_and_a_higher_one_pays_it() -> None:
    terms = account(
        span(100, end=on("2026-01-10T00:00:00Z")),
        span(50, on("2026-01-10T00:00:00Z"), on("2026-01-20T00:00:00Z")),
        span(120, on("2026-01-20T00:00:00Z")),
    )
    used = {on("2026-01-05T00:00:00Z"): 80}
    lower = standing_at(terms, on("2026-01-12T00:00:00Z"), used)
    assert (left(lower), lower.owed) == (-30, 30 * SCALE)
    assert left(standing_at(terms, on("2026-01-22T00:00:00Z"), used)) == 40


def test_what_is_used_where_nothing_entitles_is_not_counted() -> None:
    terms = account(span(100, end=on("2026-01-10T00:00:00Z")), span(100, on("2026-01-20T00:00:00Z")))
    used = {on("2026-01-05T00:00:00Z"): 30, on("2026-01-15T00:00:00Z"): 1000}
    assert not standing_at(terms, on("2026-01-15T00:00:00Z"), used).is_entitled
    assert left(standing_at(terms, on("2026-01-20T00:00:00Z"), used)) == 70


def test_another_window_begins_anew() -> None:
    terms = account(
        span(100, end=on("2026-01-10T00:00:00Z")), span(10, on("2026-01-10T00:00:00Z"), window=WindowRule("day"))
    )
    used = {on("2026-01-05T00:00:00Z"): 90}
    assert left(standing_at(terms, on("2026-01-10T00:00:00Z"), used)) == 10


def test_usage_below_zero_gives_room_where_it_is_and_nothing_behind_it() -> None:
    terms = account(span(100), grants=(grant("later", 1, on("2026-01-10T00:00:00Z")),))
    standing = standing_at(terms, on("2026-01-12T00:00:00Z"), {on("2026-01-05T00:00:00Z"): -50})
    assert (left(standing), standing.window_used_before) == (101, -50 * SCALE)


def test_grants_alone_entitle_and_never_reset() -> None:
    terms = account(grants=(grant("gift", 40, expires_at=MARCH),))
    standing = standing_at(terms, FEBRUARY, {})
    assert (left(standing), standing.segment.window_end, standing.segment.end) == (40, None, MARCH)
    assert not standing_at(terms, MARCH, {}).is_entitled


def test_a_grant_behind_the_end_of_a_plan_pays_what_is_used_from_then_on() -> None:
    end = on("2026-01-10T00:00:00Z")
    used = {on("2026-01-05T00:00:00Z"): 130, on("2026-01-15T00:00:00Z"): 7, on("2026-01-22T00:00:00Z"): 9}
    for begins in (on("2026-01-20T00:00:00Z"), end):
        terms = account(span(100, end=end), grants=(grant("gift", 40, begins), grant("more", 0, FEBRUARY)))
        for since in (None, JANUARY):
            standing = standing_at(terms, FEBRUARY, used, since)
            of_gift = sum(n for at, n in used.items() if at >= begins)
            assert (standing.window_used_before, left(standing)) == (of_gift * SCALE, 40 - of_gift)


def test_a_grant_that_outlives_a_plan_has_left_what_the_plan_did_not_burn_of_it() -> None:
    terms = account(span(100, end=on("2026-01-10T00:00:00Z")), grants=(grant("gift", 40),))
    standing = standing_at(terms, on("2026-01-10T00:00:00Z"), {on("2026-01-05T00:00:00Z"): 15})
    assert (standing.window_used_before, left(standing)) == (0, 25)


def test_a_plan_that_goes_on_in_its_window_has_used_what_was_used_before_and_of_grants_between() -> None:
    terms = account(
        span(100, end=on("2026-01-10T00:00:00Z")),
        span(100, on("2026-01-20T00:00:00Z")),
        grants=(grant("gift", 4, on("2026-01-12T00:00:00Z"), expires_at=on("2026-01-14T00:00:00Z")),),
    )
    used = {on("2026-01-05T00:00:00Z"): 30, on("2026-01-13T00:00:00Z"): 10}
    standing = standing_at(terms, on("2026-01-20T00:00:00Z"), used)
    assert (standing.window_used_before, left(standing)) == (40 * SCALE, 64), "6 of the 10 were above the grant"


def test_what_grants_alone_owe_ends_with_them_where_another_window_begins() -> None:
    terms = account(span(100, FEBRUARY), grants=(grant("gift", 4, expires_at=FEBRUARY),))
    standing = standing_at(terms, FEBRUARY, {on("2026-01-13T00:00:00Z"): 10}, JANUARY)
    assert (standing.window_used_before, left(standing)) == (0, 100)


def test_an_unlimited_span_burns_no_grant() -> None:
    terms = account(span(None), grants=(grant("gift", 40),))
    standing = standing_at(terms, MARCH, {on("2026-01-05T00:00:00Z"): 1000})
    assert (left(standing), standing.order) == (None, (("gift", 40 * SCALE),))
