"""Amounts of an account that end soon: grants of the customer and of its plans, and what was rolled over."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from rating.core.quota.burn_down import PLAN, Standing
from rating.core.quota.segments import account_grants
from rating.core.quota.terms import AccountTerms


@dataclass(frozen=True, slots=True)
class Expiring:
    """An amount and what is left of it, in units of 10^-9; `grant` is its id, and of what was rolled over null."""

    grant: str | None
    amount: int
    left: int
    expires_at: datetime


def expiring(
    terms: AccountTerms, standing: Standing, used: int, now: datetime, within: timedelta
) -> Iterator[Expiring]:
    """What ends behind `now` and within so much time, and has something left; `used` is by the segment of `standing`.

    Of a window that is not longer than that, what was rolled over is not told: it would be at each start.
    """
    lefts = dict(standing.left_after(used))
    for grant in account_grants(terms, now):
        end, left = grant.expires_at, lefts.get(grant.id, 0)
        if end is not None and left > 0 and now < end <= now + within and grant.voided_at is None:
            yield Expiring(grant.id, grant.amount, left, end)
    start, end = standing.segment.window_start, standing.segment.window_end
    left = min(standing.rolled, lefts.get(PLAN, 0))
    if left > 0 and start is not None and end is not None and now < end <= now + within < now + (end - start):
        yield Expiring(None, standing.rolled, left, end)


def may_expire(terms: AccountTerms, now: datetime, within: timedelta) -> bool:
    """Whether anything may end then, without a look at what is used."""
    ends = (grant.expires_at for grant in account_grants(terms, now) if grant.voided_at is None)
    return any(end is not None and now < end <= now + within for end in ends) or any(
        span.rollover is not None and span.start <= now and (span.end is None or now < span.end) for span in terms.spans
    )
