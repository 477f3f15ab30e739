"""Per request: each event is charged whole at the rate of the tier that its own size falls in.

    for each event: its quantity x unit_amount / per + flat_amount, of the tier that its `size` falls in

With tiers to 200,000 at 2.50 and above at 5.00 for 1,000,000, a request of 200,000 tokens costs 0.50, one of 200,001
costs 1.000005.
"""

from typing import Literal

from pydantic import Field

from rating.catalog.bands import TimeWindow
from rating.catalog.charge import Charge
from rating.catalog.literals import Per, PropertyName
from rating.catalog.parts import MeteredPrice, Tier, Version, tier_rows


class PerRequestWindow(TimeWindow):
    """Tiers for a part of the day."""

    tiers: tuple[Tier, ...] = Field(min_length=1)
    """The tiers of `size` in this window."""
    size: PropertyName | None = None
    """The property that measures one event; the version's `size` unless given."""
    per: Per | None = None
    """How many units a tier's `unit_amount` buys; the version's `per` unless given."""


class PerRequestVersion(Version):
    """Tiers of the size of one event."""

    size: PropertyName
    """The numeric property that measures one event and chooses its tier."""
    tiers: tuple[Tier, ...] = Field(min_length=1)
    """The tiers of `size`: the whole event is charged at the rate of the one tier that its size falls in."""
    per: Per = 1
    """How many units a tier's `unit_amount` buys."""
    time_of_day: tuple[PerRequestWindow, ...] = ()
    """Times of the day with other tiers."""
    bands: tuple[PerRequestWindow, ...] = ()
    """Hours, days, seasons and holidays with other numbers."""

    def charge(self) -> Charge:
        return Charge(tier_rows(self.tiers), "cliff", self.per, self.size)

    def reads(self) -> tuple[str, ...]:
        return (self.size,)


class PerRequestPrice(MeteredPrice):
    """Each event is charged whole at the rate of the tier that its own size falls in."""

    model: Literal["per_request"]
    versions: tuple[PerRequestVersion, ...] = Field(min_length=1)
    """The tiers and when they changed, oldest first."""
