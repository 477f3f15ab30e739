"""Per unit: every unit costs the same.

    quantity x unit_amount / per
    or, with limits, for each event: min(max(quantity x unit_amount / per, minimum_per_event), maximum_per_event)

2,500 tokens at 2.50 for 1,000,000 cost 0.00625. Transfers of 3 and 400 at 0.10, at least 0.50 and at most 25.00 each,
cost 0.50 + 25.00 = 25.50.
"""

from typing import Literal

from pydantic import Field

from rating.catalog.bands import TimeWindow
from rating.catalog.charge import Charge, one_tier
from rating.catalog.literals import Amount, Per
from rating.catalog.parts import MeteredPrice
from rating.catalog.presets.limits import ConvertedVersion, LimitedVersion
from rating.core.book import Level


class UnitWindow(TimeWindow):
    """A rate for a part of the day."""

    unit_amount: Amount
    """What `per` units cost in this window."""
    per: Per | None = None
    """How many units `unit_amount` buys; the version's `per` unless given."""


class UnitVersion(ConvertedVersion, LimitedVersion):
    """A rate."""

    unit_amount: Amount
    """What `per` units cost."""
    per: Per = 1
    """How many units `unit_amount` buys."""
    time_of_day: tuple[UnitWindow, ...] = ()
    """Times of the day with another rate."""
    bands: tuple[UnitWindow, ...] = ()
    """Hours, days, seasons and holidays with other numbers."""

    def charge(self) -> Charge:
        level: Level = "event" if self.limited() else "line"
        return Charge(
            one_tier(unit_amount=self.unit_amount),
            per=self.per,
            before=self.prepared(level),
            after=self.limited(),
            tier_level=level,
        )


class UnitPrice(MeteredPrice):
    """Every unit costs the same."""

    model: Literal["per_unit"]
    versions: tuple[UnitVersion, ...] = Field(min_length=1)
    """The rate and when it changed, oldest first."""
