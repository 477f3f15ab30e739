"""What an owner is entitled to of a feature over time: from its plans and add-ons, and the overrides that stand in.

Limits of plans and add-ons in force are added up; without a limit wins. The window and all else are those of the plan
that was there first, before add-ons. An override stands in for all of them while it holds, and gives the feature where
no plan does; what it does not say, the plan says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import polars as pl

from rating.core.quota.terms import Enforcement, GrantSeries, Span
from rating.core.quota.windows import MONTH, Cycle, WindowRule
from rating.core.subscriptions import PLAN_ITEM

AGREED_ROW = ("subscription", "item", "plan", "starts_at", "ends_at", "time_zone", "interval", "intervals", "anchor")
"""What of a SUBSCRIPTION matters here, with the key of the plan in `plan`."""


@dataclass(frozen=True, slots=True)
class Gives:
    """What one plan gives of one feature; amounts are in units of 10^-9."""

    plan: str
    kind: Literal["boolean", "static", "metered"]
    value: str | None  # JSON
    limit: int | None
    window: WindowRule
    enforcement: Enforcement = "hard"
    grace: int = 0
    carries: bool = False
    rollover: tuple[int, int] | None = None
    priority: int = 100
    shared: bool = False
    thresholds: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether a hard limit of calendar months of the customer's zone says all."""
        usual = Gives(self.plan, "metered", None, self.limit, MONTH, priority=self.priority)
        return self == usual and self.limit is not None


@dataclass(frozen=True, slots=True)
class Agreed:
    """One plan or add-on of a subscription on [start, end), and the cycle of its billing periods."""

    subscription: str
    item: str
    plan: str
    start: datetime
    end: datetime | None
    cycle: Cycle

    @property
    def rank(self) -> tuple[bool, datetime, str, str]:
        """Plans before add-ons, and of these what was there first."""
        return self.item != PLAN_ITEM, self.start, self.subscription, self.item

    def holds(self, at: datetime) -> bool:
        """Whether it is in force at `at`."""
        return self.start <= at and (self.end is None or at < self.end)


@dataclass(frozen=True, slots=True)
class Override:
    """What stands in for all plans on [start, end). What is null, the plan says."""

    id: str
    start: datetime
    end: datetime | None
    limit: int | None  # null: unlimited
    window: WindowRule | None = None
    enforcement: Enforcement | None = None
    grace: int = 0

    def holds(self, at: datetime) -> bool:
        """Whether it stands in at `at`."""
        return self.start <= at and (self.end is None or at < self.end)


@dataclass(frozen=True, slots=True)
class PlanGives:
    """What a plan grants of one feature, beside its limit; amounts are in units of 10^-9."""

    grant: str
    amount: int
    every: str | None
    lasts: str | None
    priority: int
    rollover_minimum: int
    rollover_maximum: int | None


def gives_of(entitlements: pl.DataFrame) -> dict[str, dict[str, Gives]]:
    """ENTITLEMENT by feature and plan."""
    found: dict[str, dict[str, Gives]] = {}
    for row in entitlements.iter_rows(named=True):
        found.setdefault(row["feature"], {})[row["plan"]] = _gives(row)
    return found


def plan_gives_of(grants: pl.DataFrame) -> dict[tuple[str, str], list[PlanGives]]:
    """PLAN_QUOTA_GRANT by feature and plan."""
    found: dict[tuple[str, str], list[PlanGives]] = {}
    for plan, feature, key, amount, every, lasts, priority, low, high in grants.iter_rows():
        rollover = (units_of(low or Decimal(0)), None if high is None else units_of(high))
        one = PlanGives(key, units_of(amount), every, lasts, priority, *rollover)
        found.setdefault((feature, plan), []).append(one)
    return found


def agreed_of(rows: Iterable[tuple[Any, ...]]) -> list[Agreed]:
    """AGREED_ROW of one customer, sorted by subscription, item and start; rows of one item that go on as the same plan
    are one."""
    found: list[Agreed] = []
    for subscription, item, plan, start, end, *cycle in rows:
        zone, interval, intervals, anchor = cycle
        one = Agreed(subscription, item, plan, start, end, (zone, interval, intervals, anchor))
        if found and found[-1] == replace(one, start=found[-1].start, end=start):
            one = replace(one, start=found.pop().start)
        found.append(one)
    return found


def units_of(amount: Decimal) -> int:
    """A quantity in units of 10^-9."""
    return int(amount.scaleb(9))


def spans_of(
    agreed: Sequence[Agreed], gives: Mapping[str, Gives], overrides: Sequence[Override] = ()
) -> tuple[Span, ...]:
    """The spans of an account; of two overrides at one time the last one holds."""
    metered = sorted((a for a in agreed if _is_metered(gives, a.plan)), key=lambda a: a.rank)
    bounds = [(one.start, one.end) for one in metered] + [(one.start, one.end) for one in overrides]
    edges = sorted({edge for pair in bounds for edge in pair if edge is not None})
    is_open = any(end is None for _, end in bounds)
    ends: list[datetime | None] = [*edges[1:], *([None] if is_open else [])]
    spans: list[Span] = []
    for start, end in zip(edges, ends, strict=False):
        made = _span(start, end, [a for a in metered if a.holds(start)], gives, overrides)
        if made is not None and spans and spans[-1] == replace(made, start=spans[-1].start, end=start):
            made = replace(made, start=spans.pop().start)
        spans += [made] if made is not None else []
    return tuple(spans)


def series_of(
    agreed: Iterable[Agreed], feature: str, gives: Mapping[tuple[str, str], Sequence[PlanGives]]
) -> Iterator[GrantSeries]:
    """What plans and add-ons grant of a feature."""
    for one in agreed:
        of = one.subscription if one.item == PLAN_ITEM else f"{one.subscription}/{one.item}"
        for grant in gives.get((feature, one.plan), ()):
            yield GrantSeries(
                f"{of}/{feature}/{grant.grant}",
                grant.amount,
                grant.priority,
                one.start,
                one.end,
                one.cycle[0],
                grant.every,
                grant.lasts,
                grant.rollover_minimum,
                grant.rollover_maximum,
            )


def given_at(agreed: Iterable[Agreed], gives: Mapping[str, Gives], at: datetime) -> Gives | None:
    """What entitles to a feature at `at` that is there or not, or has a value: what says that it is there, else what
    was there first."""
    found = [gives[a.plan] for a in sorted(agreed, key=lambda a: a.rank) if a.plan in gives and a.holds(at)]
    others = [one for one in found if one.kind != "metered"]
    there = [one for one in others if one.value != "false"]
    return next(iter(there or others), None)


def _gives(row: Mapping[str, Any]) -> Gives:
    maximum = row["rollover_maximum"]
    rollover = None if maximum is None else (units_of(row["rollover_minimum"]), units_of(maximum))
    window = WindowRule(row["window"], row["every"], row["rolls_by"], row["anchor"], row["time_zone"])
    return Gives(
        plan=row["plan"],
        kind=row["kind"],
        value=row["value"],
        limit=None if row["limit"] is None else units_of(row["limit"]),
        window=window,
        enforcement=row["enforcement"],
        grace=units_of(row["grace"] or Decimal(0)),
        carries=row["overage"] == "carry",
        rollover=rollover,
        priority=row["priority"],
        shared=row["shared"],
        thresholds=tuple(row["thresholds"]),
    )


def _is_metered(gives: Mapping[str, Gives], plan: str) -> bool:
    return plan in gives and gives[plan].kind == "metered"


def _span(
    start: datetime,
    end: datetime | None,
    agreed: Sequence[Agreed],
    gives: Mapping[str, Gives],
    overrides: Sequence[Override],
) -> Span | None:
    override = next((one for one in reversed(overrides) if one.holds(start)), None)
    if not agreed and override is None:
        return None
    planned = _planned(start, end, agreed, gives) if agreed else Span(start, end, 0, MONTH)
    if override is None:
        return planned
    window, cycle = override.window or planned.window, planned.cycle
    if window.kind == "billing" and cycle is None:
        window = MONTH  # nothing is billed
    said = (planned.enforcement, planned.grace)
    enforcement, grace = said if override.enforcement is None else (override.enforcement, override.grace)
    return replace(
        planned, limit=override.limit, window=window, enforcement=enforcement, grace=grace, plan=None, cycle=cycle
    )


def _planned(start: datetime, end: datetime | None, agreed: Sequence[Agreed], gives: Mapping[str, Gives]) -> Span:
    first, limits = gives[agreed[0].plan], [gives[one.plan].limit for one in agreed]
    limit = None if None in limits else sum(one for one in limits if one is not None)
    return Span(
        start,
        end,
        limit,
        first.window,
        agreed[0].cycle,
        first.enforcement,
        first.grace,
        first.carries,
        first.rollover,
        first.priority,
        first.thresholds,
        any(gives[one.plan].shared for one in agreed),
        first.plan,
    )
