"""Proration: the part of a month that a subscription is served for, counted as a price declares."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from tests.oracle.arithmetic import divided
from tests.oracle.lines import Subscription
from tests.oracle.usage import month_bounds, served


def prorated(amount: Decimal, by: str | None, subscription: Subscription, month: str) -> Decimal:
    """What of `amount` the served part of the month owes; all of it where nothing says how to count."""
    if by is None:
        return amount
    part, whole = (
        _length(by, *bounds, subscription.time_zone)
        for bounds in (served(subscription, month), month_bounds(month, subscription.time_zone))
    )
    return divided(amount * part, whole)


def _length(by: str, start: datetime, end: datetime, zone: str) -> int:
    if by == "seconds":
        elapsed = end.astimezone(UTC) - start.astimezone(UTC)
        return elapsed.days * 86_400 * 10**6 + elapsed.seconds * 10**6 + elapsed.microseconds
    first, last = (at.astimezone(ZoneInfo(zone)).date() for at in (start, end))
    if by == "days":
        return (last - first).days
    return (last.year - first.year) * 360 + (last.month - first.month) * 30 + last.day - first.day
