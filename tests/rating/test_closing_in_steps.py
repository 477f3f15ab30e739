"""Closing step by step, while late usage and backdated changes become known, comes to what one run of it all does."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.catalog import Catalog
from rating.core.lines import CHARGE_LINE
from rating.core.rating import rate
from rating.core.restating import posted
from rating.core.service_periods import AGAIN, Due, FinalBill, billed_periods, service_periods
from tests.timeline_strategies import CATALOG, LONG_CATALOG, Example, examples, frames, run

_FEW = settings(max_examples=max(settings().max_examples // 14, 1))
_SUMS = ["quantity", "amount", "rounded_amount"]  # more events that change nothing, as below a maximum, are not posted


@dataclass(frozen=True)
class Closing:
    """An example of which all is known at the last close. `edges` are the instants up to which is closed, behind the
    one from which on; `known` says at which close each subscription, change and event is known, in their order, and
    `gone` the one from which on an event is voided."""

    example: Example
    edges: list[datetime]
    subscriptions: list[int]
    changes: list[list[int]]
    events: list[int]
    gone: list[int]

    def known(self, step: int) -> Example:
        timelines = [
            replace(one, changes=[change for change, known in zip(one.changes, when, strict=True) if known <= step])
            for one, since, when in zip(self.example.timelines, self.subscriptions, self.changes, strict=True)
            if since <= step
        ]
        arrived = zip(self.example.events, self.events, self.gone, strict=True)
        return replace(self.example, timelines=timelines, events=[e for e, in_, out in arrived if in_ <= step < out])


@st.composite
def closings(draw: st.DrawFn) -> Closing:
    example = draw(examples(customers=4))
    first = datetime.fromisoformat(f"{example.month}-01T00:00:00Z")
    hours = sorted(draw(st.lists(st.integers(-60 * 24, 45 * 24), min_size=2, max_size=4, unique=True)))
    edges = [first + timedelta(hours=hour) for hour in hours]
    steps = st.integers(0, len(edges) - 1)
    return Closing(
        example,
        [first - timedelta(days=100), *edges],
        [draw(st.sampled_from([0, 0, 0, 1])) for _ in example.timelines],
        [[draw(steps) for _ in one.changes] for one in example.timelines],
        [draw(steps) for _ in example.events],
        [draw(st.sampled_from([99, 99, 99, 1])) for _ in example.events],
    )


@pytest.mark.parametrize(
    ("catalog", "final_bill"),
    [(CATALOG, "period_end"), (LONG_CATALOG, "period_end"), (CATALOG, "at_end")],
    ids=["periods", "windows", "final bills"],
)
@_FEW
@given(closing=closings())
def test_closing_in_steps_sums_to_one_run_of_all(catalog: Catalog, final_bill: FinalBill, closing: Closing) -> None:
    billed = CHARGE_LINE.to_frame()
    for step, (after, until) in enumerate(pairwise(closing.edges)):
        now = closing.known(step)
        known = frames(now.timelines, now.events, catalog)
        span = Due(after, until, final_bill=final_bill)
        due = closed_and_again(known[2], billed, span, closing.edges[0])
        lines = rate(*known, due).lines
        billed = pl.concat([billed, posted(lines, billed)])
        assert billed["line"].is_unique().all()
        assert posted(lines, billed).is_empty()  # the same again finds nothing
    every = Due(closing.edges[0], closing.edges[-1], final_bill=final_bill)
    together = run(closing.known(len(closing.edges) - 2), every, catalog).lines
    assert sums(billed).join(sums(together), on="line", how="full", nulls_equal=True).filter(differs()).is_empty()


def closed_and_again(subscriptions: pl.DataFrame, billed: pl.DataFrame, due: Due, since: datetime) -> Due:
    """What falls due, and all that was billed before and does not fall due now."""
    fallen = service_periods(subscriptions, due).select(AGAIN.names())
    before = billed_periods(subscriptions, since, due).select(AGAIN.names())
    again = pl.concat([before, billed.select(AGAIN.names())]).unique().join(fallen, on=AGAIN.names(), how="anti")
    both = replace(due, again=again)
    apart = [service_periods(subscriptions, one) for one in (due, replace(both, after=due.until))]
    order = ["subscription", "item", "period_start", "from", "part"]
    assert service_periods(subscriptions, both).equals(pl.concat(apart).sort(order))
    return both


def sums(lines: pl.DataFrame) -> pl.DataFrame:
    """Each line with its adjustments."""
    return lines.group_by(pl.coalesce("adjusts", "line").alias("line")).agg(pl.col(_SUMS).sum())


def differs() -> pl.Expr:
    """A line that is no more is billed as nothing."""
    return pl.any_horizontal(pl.col(name).fill_null(0) != pl.col(f"{name}_right").fill_null(0) for name in _SUMS)
