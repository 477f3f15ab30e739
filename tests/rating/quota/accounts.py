"""Accounts of quotas for tests: amounts in whole units of the meter, instants as text."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rating.core.quota.burn_down import Standing, burn_down
from rating.core.quota.segments import account_segments, live_since
from rating.core.quota.terms import UNITS, AccountTerms, QuotaGrant, Span
from rating.core.quota.windows import MONTH

on = datetime.fromisoformat
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)


def span(limit: int | None, start: datetime = JANUARY, end: datetime | None = None, **more: Any) -> Span:
    rollover = more.pop("rollover", None)
    scaled = None if rollover is None else (rollover[0] * UNITS, rollover[1] * UNITS)
    more = {"window": MONTH, **more}
    return Span(start, end, None if limit is None else limit * UNITS, rollover=scaled, **more)


def grant(id: str, amount: int, at: datetime = JANUARY, **more: Any) -> QuotaGrant:
    scaled = {name: more.pop(name) * UNITS for name in ("rollover_minimum", "rollover_maximum") if name in more}
    return QuotaGrant(id, amount * UNITS, more.pop("priority", 1), more.pop("created_at", at), at, **more, **scaled)


def account(*spans: Span, grants: tuple[QuotaGrant, ...] = (), zone: str = "UTC", **more: Any) -> AccountTerms:
    return AccountTerms("acme", "tokens", zone, spans, grants, **more)


def standing_at(
    terms: AccountTerms, at: datetime, used: Mapping[datetime, int], since: datetime | None = None
) -> Standing:
    """The standing of the segment that `at` is in; `used` are amounts by their instant, from then on none."""
    segments = account_segments(terms, live_since(terms, at) if since is None else since, at)
    sums: dict[datetime, int] = {}
    for segment in segments:
        inside = [n for t, n in used.items() if segment.start <= t and (segment.end is None or t < segment.end)]
        sums[segment.start] = sum(inside) * UNITS
    return burn_down(segments, sums)
