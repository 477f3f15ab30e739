"""Proration: the part of a month that a subscription is served for, counted as a price declares."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from tests.oracle.arithmetic import divided
from tests.oracle.lines import Period, Subscription
from tests.oracle.usage import month_bounds, served


def prorated(amount: Decimal, by: str | None, subscription: Subscription, month: str | Period) -> Decimal:
    """What of `amount` the served part of the month owes; all of it where nothing says how to count."""
    if by is None:
        return amount
    part, whole = part_of(by, subscription, month)
    return divided(amount * part, whole)


def part_of(by: str, subscription: Subscription, month: str | Period) -> tuple[int, int]:
    """How long the subscription is served in the month, and how long the month is."""
    zone = subscription.time_zone
    whole_period = month.whole if isinstance(month, Period) and month.whole else month_bounds(month, zone)
    spans = served(subscription, month), whole_period
    part, whole = (_length(by, *bounds, zone) for bounds in spans)
    return (part, whole) if whole else part_of("days", subscription, month)  # the 31st alone is none of 30 days


def _length(by: str, start: datetime, end: datetime, zone: str) -> int:
    if by == "seconds":
        elapsed = end.astimezone(UTC) - start.astimezone(UTC)
        return elapsed.days * 86_400 * 10**6 + elapsed.seconds * 10**6 + elapsed.microseconds
    first, last = (at.astimezone(ZoneInfo(zone)).date() for at in (start, end))
    if by == "days":
        return (last - first).days
    return (last.year - first.year) * 360 + (last.month - first.month) * 30 + last.day - first.day
