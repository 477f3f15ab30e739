"""The inputs of a run in parts, so that its memory is that of a part: customers in the order of their keys, with about
so many rows of subscriptions at most. What a customer comes to does not depend on the others (rating/core/rating.py).

Each part reads the usage of its own subjects: see docs/decisions/0025-bill-in-parts.md.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import polars as pl

from api.rating_inputs import RatingInputs
from rating.core.schema import SUBJECT_NUMBER
from rating.core.subjects import Usage, with_numbers

PART_SUBSCRIPTIONS_MAX = 250_000


@dataclass(frozen=True)
class Span:
    """The customers of one part: from `first` on, those in front of `behind`; null is open."""

    first: str | None = None
    behind: str | None = None

    def rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Those of a frame that is sorted by `customer`."""
        customers = frame["customer"]
        start = 0 if self.first is None else int(customers.search_sorted(self.first))
        end = frame.height if self.behind is None else int(customers.search_sorted(self.behind))
        return frame.slice(start, end - start)

    def filter(self) -> pl.Expr:
        """Whether `customer` is one of them."""
        is_behind = pl.lit(True) if self.first is None else pl.col("customer") >= self.first
        return is_behind if self.behind is None else is_behind & (pl.col("customer") < self.behind)


EVERYONE = Span()


def spans(subscriptions: pl.DataFrame, subscriptions_max: int | None) -> list[Span]:
    """How to part the customers of `subscriptions` (SUBSCRIPTION): at least one, and those that follow each other meet.
    A customer with more than `subscriptions_max` is a part of its own with them."""
    if subscriptions_max is None or subscriptions.height <= subscriptions_max:
        return [EVERYONE]
    owners = subscriptions["customer"].sort().gather_every(subscriptions_max).unique(maintain_order=True)
    edges = [None, *owners[1:], None]
    return [Span(first, behind) for first, behind in pairwise(edges)]


@dataclass(frozen=True)
class Parts:
    """Inputs whose accounts are sorted by customer; `numbers` are their subjects that have usage, with
    SUBJECT_NUMBER."""

    inputs: RatingInputs
    numbers: pl.DataFrame

    def of(self, span: Span) -> RatingInputs:
        """The inputs of one part."""
        if span == EVERYONE:
            return self.inputs
        subscriptions, numbers = span.rows(self.inputs.subscriptions), span.rows(self.numbers)
        return replace(
            self.inputs,
            usage=_usage_of(self.inputs.usage, numbers),
            subjects=span.rows(self.inputs.subjects),
            subscriptions=subscriptions,
            credits=self.inputs.credits.of(subscriptions["customer"]) if self._has_credits else self.inputs.credits,
        )

    @property
    def _has_credits(self) -> bool:
        return not self.inputs.credits.grants.is_empty()


def in_parts(inputs: RatingInputs, cut: list[Span]) -> Parts:
    """`inputs` for those parts."""
    if cut == [EVERYONE]:
        return Parts(inputs, pl.DataFrame())
    subjects, subscriptions = (
        frame.sort("customer", maintain_order=True) for frame in (inputs.subjects, inputs.subscriptions)
    )
    numbers = with_numbers(subjects, inputs.usage).sort("customer")
    return Parts(replace(inputs, subjects=subjects, subscriptions=subscriptions), numbers)


def _usage_of(usage: Usage, numbers: pl.DataFrame) -> Usage:
    """The events of these subjects only; where files are in the order of their numbers, the others are not read."""
    own = numbers[SUBJECT_NUMBER]
    number = pl.col(SUBJECT_NUMBER)
    events = usage.events.filter(number.is_between(own.min(), own.max()), number.is_in(own.implode()))
    return replace(usage, events=events, subjects=numbers.select("subject", SUBJECT_NUMBER).lazy())
