"""Tiers: the quantity of the period decides what units cost.

    graduated: for each tier, its part of the quantity x unit_amount / per + flat_amount once it is reached
    volume: the quantity x unit_amount / per + flat_amount, of the tier that the quantity falls in
    stairstep: the amount of the tier that the quantity falls in
    graduated_percentage: for each tier, its part of the value x percent / 100 + flat_amount once it is reached
    volume_percentage: the value x percent / 100 + flat_amount, of the tier that the value falls in

2,500 in tiers to 100 at 0.10, to 1,000 at 0.07, above at 0.05 cost 10 + 63 + 75 = 148 graduated, 125 by volume. Without
usage nothing is charged, unless `flat_when_unused` says that the flat amount of the first tier is.
"""

from typing import Literal

from pydantic import Field

from rating.catalog.bands import TimeWindow
from rating.catalog.charge import Charge, TierMode
from rating.catalog.literals import Per
from rating.catalog.parts import PercentTier, StairTier, Tier, tier_rows
from rating.catalog.presets.counting import TieredBase
from rating.catalog.presets.limits import ConvertedVersion


class TieredWindow(TimeWindow):
    """Tiers for a part of the day."""

    tiers: tuple[Tier, ...] = Field(min_length=1)
    """The tiers in this window."""
    per: Per | None = None
    """How many units a tier's `unit_amount` buys; the version's `per` unless given."""


class StandingVersion(ConvertedVersion):
    """A version whose first tier may be charged without usage."""

    flat_when_unused: bool = False
    """Whether the flat amount of the first tier is charged without any usage too."""


class GraduatedVersion(StandingVersion):
    """Tiers of a period's quantity."""

    tiers: tuple[Tier, ...] = Field(min_length=1)
    """The tiers, from zero upwards without gaps; the last one is open."""
    per: Per = 1
    """How many units a tier's `unit_amount` buys."""
    time_of_day: tuple[TieredWindow, ...] = ()
    """Times of the day with other tiers."""
    bands: tuple[TieredWindow, ...] = ()
    """Hours, days, seasons and holidays with other numbers."""

    def charge(self) -> Charge:
        return self._tiered("graduated")

    def _tiered(self, mode: TierMode) -> Charge:
        before, unused = self.prepared(), self.flat_when_unused
        return Charge(tier_rows(self.tiers), mode, self.per, before=before, flat_when_unused=unused)


class VolumeVersion(GraduatedVersion):
    """Tiers of which one holds for the whole quantity."""

    def charge(self) -> Charge:
        return self._tiered("volume")


class StairstepVersion(StandingVersion):
    """Tiers of which one is charged."""

    tiers: tuple[StairTier, ...] = Field(min_length=1)
    """The tiers, from zero upwards without gaps; the last one is open."""

    def charge(self) -> Charge:
        return Charge(tier_rows(self.tiers), "volume", before=self.prepared(), flat_when_unused=self.flat_when_unused)


class GraduatedPercentageVersion(StandingVersion):
    """Tiers of a period's value."""

    tiers: tuple[PercentTier, ...] = Field(min_length=1)
    """The tiers, from zero upwards without gaps; the last one is open."""

    def charge(self) -> Charge:
        return self._tiered("graduated")

    def _tiered(self, mode: TierMode) -> Charge:
        return Charge(tier_rows(self.tiers), mode, before=self.prepared(), flat_when_unused=self.flat_when_unused)


class VolumePercentageVersion(GraduatedPercentageVersion):
    """Tiers of which one holds for the whole value."""

    def charge(self) -> Charge:
        return self._tiered("volume")


class GraduatedPrice(TieredBase):
    """Each unit costs what the tier that it falls in says."""

    model: Literal["graduated"]
    versions: tuple[GraduatedVersion, ...] = Field(min_length=1)
    """The tiers and when they changed, oldest first."""


class VolumePrice(TieredBase):
    """All units cost what the tier of the period's whole quantity says."""

    model: Literal["volume"]
    versions: tuple[VolumeVersion, ...] = Field(min_length=1)
    """The tiers and when they changed, oldest first."""


class StairstepPrice(TieredBase):
    """The tier of the period's whole quantity says what is charged, whatever is used within it."""

    model: Literal["stairstep"]
    versions: tuple[StairstepVersion, ...] = Field(min_length=1)
    """The tiers and when they changed, oldest first."""


class GraduatedPercentagePrice(TieredBase):
    """Each part of the value is charged the percentage of the tier that it falls in."""

    model: Literal["graduated_percentage"]
    versions: tuple[GraduatedPercentageVersion, ...] = Field(min_length=1)
    """The tiers and when they changed, oldest first."""


class VolumePercentagePrice(TieredBase):
    """The whole value is charged the percentage of the tier that it falls in."""

    model: Literal["volume_percentage"]
    versions: tuple[VolumePercentageVersion, ...] = Field(min_length=1)
    """The tiers and when they changed, oldest first."""
