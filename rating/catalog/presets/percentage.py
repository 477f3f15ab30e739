"""Percentage: a part of the metered value, such as the payments of a period.

    for each event: min(max(value x percent / 100 + fixed_amount, minimum_per_event), maximum_per_event)
    basis_points: the same with percent = basis_points / 100

The first `free_events` events and the first `free_units` of value are free, in the order of time: with both, as long as
both last, or as long as either does (`free_while`). An event that is free as a whole pays no `fixed_amount` and no
minimum. Payments of 40 and 100 at 2.9 % and 0.30 cost 1.46 + 3.20 = 4.66; with the first 60 of value free, 80 of the
second are charged, 2.62.
"""

from decimal import Decimal
from typing import Literal

from pydantic import Field

from rating.catalog.charge import NOTHING, Charge, StepNumbers, one_tier
from rating.catalog.literals import Amount, Count, Quantity
from rating.catalog.parts import MeteredPrice
from rating.catalog.presets.limits import LimitedVersion, Numbers
from rating.core.book import Level, Step


class ShareVersion(LimitedVersion):
    """A part of the metered value."""

    fixed_amount: Amount | None = None
    """What each event costs on top."""
    free_events: Count | None = None
    """How many events are free, the first of each charge line."""
    free_units: Quantity | None = None
    """How much of the value is free, the first of each charge line."""
    free_while: Literal["both", "either"] = "both"
    """With `free_events` and `free_units`: whether an event is free while both of them last, or either."""

    def share(self) -> Decimal:
        """How much of the value is charged, in percent."""
        raise NotImplementedError

    def charge(self) -> Charge:
        by_event = self.fixed_amount is not None or self.free_events is not None or bool(self.limited())
        level: Level = "event" if by_event else "line"
        free = self._free()
        return Charge(
            one_tier(percent=self.share(), flat_amount=self.fixed_amount or NOTHING),
            before=(StepNumbers(Step("allow", level, "line"), free),) if free else (),
            after=self.limited(),
            tier_level=level,
        )

    def _free(self) -> Numbers:
        free: Numbers = {}
        if self.free_events is not None:
            free["count"] = self.free_events
        if self.free_units is not None:
            free["units"] = self.free_units
        if self.free_while == "either" and len(free) == 2:
            free["either"] = True
        return free


class PercentageVersion(ShareVersion):
    """A percentage of the metered value."""

    percent: Amount
    """How much of it, in percent."""

    def share(self) -> Decimal:
        return self.percent


class BasisPointsVersion(ShareVersion):
    """Basis points of the metered value."""

    basis_points: Amount
    """How much of it, in hundredths of a percent."""

    def share(self) -> Decimal:
        return self.basis_points.scaleb(-2)


class PercentagePrice(MeteredPrice):
    """A part of the metered value, and an amount for each event."""

    model: Literal["percentage"]
    versions: tuple[PercentageVersion, ...] = Field(min_length=1)
    """The percentage and when it changed, oldest first."""


class BasisPointsPrice(MeteredPrice):
    """A part of the metered value in basis points, and an amount for each event."""

    model: Literal["basis_points"]
    versions: tuple[BasisPointsVersion, ...] = Field(min_length=1)
    """The basis points and when they changed, oldest first."""
