"""The time of an account cut at the instants at which what may be used changes: between two of them only the sum of
usage matters.

It changes where a window begins, where plans, overrides and limits do, and where a grant ends, recurs or begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rating.core.quota.terms import AccountTerms, QuotaGrant, Span
from rating.core.quota.windows import BEGINNING, following, is_due, window_at


@dataclass(frozen=True, slots=True)
class Segment:
    """[start, end) of an account, in which nothing changes but what is used. `ends`, `recurs` and `begins` are the
    grants that do at `start`, and happen in that order; of the first segment of a list, `begins` has all in force."""

    start: datetime
    end: datetime | None  # null: never
    span: Span | None  # null: no plan and no override entitles
    window_start: datetime | None  # null: there is none, grants alone are used
    window_end: datetime | None  # null: never
    ends: tuple[QuotaGrant, ...]
    recurs: tuple[QuotaGrant, ...]
    begins: tuple[QuotaGrant, ...]

    @property
    def limit(self) -> int | None:
        """What plans or an override give in the window; null: unlimited, or nothing (see `span`)."""
        return self.span.limit if self.span is not None else None


def account_segments(account: AccountTerms, since: datetime, until: datetime) -> list[Segment]:
    """The segments of an account from `since`, where the first begins, up to the one that `until` is in."""
    grants = account_grants(account, until)
    segments: list[Segment] = []
    start: datetime | None = since
    while start is not None and (start <= until or not segments):
        segment = _segment(account, grants, start, is_first=not segments)
        segments.append(segment)
        start = segment.end
    return segments


def live_since(account: AccountTerms, at: datetime) -> datetime:
    """From where segments must be known to tell what is left at `at`: the window it is in, and before that for as long
    as grants were in force, or something went from one window into the next.
    What was before that says nothing, so that nothing depends on when an account was made."""
    grants = account_grants(account, at)
    since = _window_start(account, at)
    while True:
        alive = [g.effective_at for g in grants if g.effective_at < since and (g.ends_at is None or g.ends_at > since)]
        earlier = [_window_start(account, min(alive))] if alive else []
        if _goes_on(account, since):
            earlier.append(_window_start(account, account.spans[0].start))
        if not earlier or min(earlier) >= since:
            return since
        since = min(earlier)


def account_grants(account: AccountTerms, until: datetime) -> list[QuotaGrant]:
    """The grants of an account that begin by `until`, and the next of each series. Those that never are usable are
    none."""
    made = [*account.grants, *(grant for series in account.series for grant in series.grants(until))]
    return [grant for grant in made if grant.ends_at is None or grant.ends_at > grant.effective_at]


def span_at(account: AccountTerms, at: datetime) -> Span | None:
    """What plans and overrides entitle to at `at`."""
    holds = (span for span in account.spans if span.start <= at and (span.end is None or at < span.end))
    return next(holds, None)


def account_window(account: AccountTerms, span: Span, at: datetime) -> tuple[datetime, datetime | None]:
    """The window of `span` that `at` is in; a lifetime begins with the first span."""
    start, end = window_at(span.window, at, account.zone, span.cycle)
    if span.window.kind == "billing":
        return _cut(account.spans, span, start, end)
    return max(start, account.spans[0].start) if start == BEGINNING else start, end


def _cut(spans: Sequence[Span], span: Span, start: datetime, end: datetime | None) -> tuple[datetime, datetime | None]:
    """A billing window of `span`, cut where another cycle begins, as billing periods are (rating/core/cycles.py)."""
    first = last = spans.index(span)
    while _is_next(spans, first) and spans[first - 1].cycle == span.cycle:
        first -= 1
    while _is_next(spans, last + 1) and spans[last + 1].cycle == span.cycle:
        last += 1
    begins = spans[first].start if _is_next(spans, first) else start
    ends = spans[last].end if _is_next(spans, last + 1) else None
    return max(start, begins), end if ends is None or end is None else min(end, ends)


def _is_next(spans: Sequence[Span], place: int) -> bool:
    """Whether the span there goes on where the one before ends, and both have billing windows."""
    if not 0 < place < len(spans):
        return False
    before, span = spans[place - 1], spans[place]
    return before.end == span.start and before.window.kind == span.window.kind == "billing"


def _segment(account: AccountTerms, grants: Sequence[QuotaGrant], start: datetime, *, is_first: bool) -> Segment:
    span = span_at(account, start)
    begin, window_end = account_window(account, span, start) if span is not None else (None, None)
    end = _next_change(account, grants, start, window_end)
    begun = [g for g in grants if g.effective_at <= start and (g.ends_at is None or start < g.ends_at)]
    if is_first:
        return Segment(start, end, span, begin, window_end, (), (), tuple(begun))
    begins = tuple(g for g in begun if g.effective_at == start)
    recurs = tuple(g for g in begun if g.effective_at < start and _recurs_at(account, g, start))
    ends = tuple(g for g in grants if g.ends_at == start)
    return Segment(start, end, span, begin, window_end, ends, recurs, begins)


def _recurs_at(account: AccountTerms, grant: QuotaGrant, at: datetime) -> bool:
    if grant.recurs_every is None:
        return False
    return is_due(grant.recurs_every, grant.recurs_from or grant.effective_at, at, account.zone)


def _next_change(
    account: AccountTerms, grants: Sequence[QuotaGrant], at: datetime, window_end: datetime | None
) -> datetime | None:
    """The first instant after `at` at which something changes; null: never."""
    edges = [edge for span in account.spans for edge in (span.start, span.end) if edge is not None and edge > at]
    edges += [] if window_end is None else [window_end]
    for grant in grants:
        ends_at = grant.ends_at
        if ends_at is not None and ends_at <= at:
            continue
        edges += [edge for edge in (grant.effective_at, ends_at) if edge is not None and edge > at]
        if grant.recurs_every is not None and grant.effective_at <= at:
            edges.append(following(grant.recurs_every, grant.recurs_from or grant.effective_at, at, account.zone))
    return min(edges, default=None)


def _window_start(account: AccountTerms, at: datetime) -> datetime:
    """The start of the window that `at` is in, cut to where the account begins; `at` where there is none."""
    span = span_at(account, at)
    return at if span is None else account_window(account, span, at)[0]


def _goes_on(account: AccountTerms, at: datetime) -> bool:
    """Whether something of before `at` may be left or owed there."""
    return any(span.start < at and (span.carries or span.rollover is not None) for span in account.spans)
