"""Subscriptions with any billing day, by the rule of another engine, step by step: what falls due of them is the same.

The rule there: the first billing day is that of the month in which a subscription begins, or of the next period where
it has passed; each later one is a period after the one before, moved to the billing day, or to the last day of a month
without it. What lies before the first is a part of the period that ends there.
"""

from calendar import monthrange
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.agreed import INTERVALS, Agreed, anchored, due, midnight
from tests.conformance.test_killbill_proration import ONE_CYCLE, catalog_of

MONTHS = {"MONTHLY": 1, "QUARTERLY": 3, "BIANNUAL": 6, "ANNUAL": 12, "BIENNIAL": 24}
BY = date(2014, 6, 17)
Item = tuple[date, date, Fraction]


class Terms(NamedTuple):
    """What was agreed of a subscription."""

    start: date
    days: int | None  # after which it ends
    billing_day: int
    period: str
    when: str

    def end(self) -> date | None:
        return None if self.days is None else self.start + timedelta(days=self.days)

    def agreed(self, key: str) -> Agreed:
        end, interval = self.end(), INTERVALS[self.period]
        anchor = anchored(self.start, self.billing_day, interval)
        ends_at = None if end is None else midnight(end)
        return Agreed(key, f"{self.when}-days-{ONE_CYCLE}", midnight(self.start), ends_at, interval, anchor)


def months_later(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def moved(day: date, billing_day: int) -> date:
    return day.replace(day=min(billing_day, monthrange(day.year, day.month)[1]))


def first_of(terms: Terms) -> date:
    """The first billing day."""
    first = moved(terms.start, terms.billing_day)
    is_past = first < terms.start
    return moved(months_later(first, MONTHS[terms.period]), terms.billing_day) if is_past else first


def items(terms: Terms) -> Iterator[Item]:
    """What falls due: in advance where a part begins, in arrears where it ends."""
    months, following = MONTHS[terms.period], first_of(terms)
    start, begins = terms.start, months_later(following, -months)
    while start <= BY and (terms.days is None or start < terms.start + timedelta(days=terms.days)):
        end = min(following, terms.end() or following)
        if start < end and (terms.when == "in_advance" or end <= BY):
            yield start, end, Fraction((end - start).days, (following - begins).days)
        start = begins = following
        following = moved(months_later(following, months), terms.billing_day)


TERMS = st.builds(
    Terms,
    start=st.dates(date(2009, 1, 1), BY),
    days=st.none() | st.integers(1, 900),
    billing_day=st.sampled_from([1, 15, 28, 29, 30, 31]) | st.integers(1, 31),
    period=st.sampled_from(sorted(MONTHS)),
    when=st.sampled_from(["in_advance", "in_arrears"]),
)
# there the part before a first billing day that a month lacks is of a period of its own: docs/conformance.md
ALIKE = TERMS.filter(lambda it: first_of(it) == it.start or first_of(it).day == it.billing_day)


@settings(max_examples=15)
@given(known=st.lists(ALIKE, min_size=1, max_size=40))
def test_what_falls_due_is_what_the_rule_says(known: list[Terms]) -> None:
    agreed = [terms.agreed(str(place)) for place, terms in enumerate(known)]
    lines = due(catalog_of({one.plan for one in agreed}), agreed, midnight(BY)).lines.sort("service_start")
    for place, terms in enumerate(known):
        own = lines.filter(customer=str(place)).select("service_start", "service_end", "amount").rows()
        wanted = list(items(terms))
        assert [(start.date(), end.date()) for start, end, _ in own] == [item[:2] for item in wanted]
        for (_, _, amount), (_, _, part) in zip(own, wanted, strict=True):
            assert abs(Fraction(amount) - part * Fraction(ONE_CYCLE)) <= Fraction(Decimal("1E-21"))
