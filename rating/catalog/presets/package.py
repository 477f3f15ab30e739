"""Package: units are sold in packages.

    packages(quantity - free_units) x amount, packages(q) = q / package_size, rounded
    tiered_package: tiers of the number of packages, each with what one package costs

`rounding` is `up` (a started package is whole), `down` (whole packages only) or `exact` (the part of a package too).
1,001 requests in packages of 1,000 at 0.40 are two packages, 0.80. 12 packages in tiers to 10 at 4.00 and above at 3.00
cost 40.00 + 6.00 = 46.00 graduated, 36.00 by volume.
"""

from typing import Literal

from pydantic import Field

from rating.catalog.bands import TimeWindow
from rating.catalog.charge import Charge, StepNumbers, one_tier
from rating.catalog.literals import Amount, PositiveQuantity, Quantity
from rating.catalog.parts import MeteredPrice, Tier, Version, tier_rows
from rating.catalog.presets.counting import TieredBase
from rating.catalog.presets.limits import Numbers, free
from rating.core.book import Step

Packages = Literal["up", "down", "exact"]


class PackageWindow(TimeWindow):
    """A package for a part of the day."""

    package_size: PositiveQuantity
    """How many units one package holds in this window."""
    amount: Amount
    """What one package costs in this window."""


class PackagedVersion(Version):
    """How units make packages."""

    package_size: PositiveQuantity
    """How many units one package holds."""
    rounding: Packages = "up"
    """Whether a started package is charged whole (`up`), not at all (`down`), or its part (`exact`)."""
    free_units: Quantity | None = None
    """How many units are free, the first of each charge line; packages are made of the others."""


class PackageVersion(PackagedVersion):
    """A package."""

    amount: Amount
    """What one package costs."""
    time_of_day: tuple[PackageWindow, ...] = ()
    """Times of the day with other packages."""
    bands: tuple[PackageWindow, ...] = ()
    """Hours, days, seasons and holidays with other numbers."""

    def charge(self) -> Charge:
        if self.rounding == "exact":
            return self._by_part()
        return Charge(one_tier(unit_amount=self.amount), before=(*free(self.free_units), _packages(self)))

    def _by_part(self) -> Charge:
        """The amount for a whole number of units, so that nothing is divided before it is multiplied."""
        exponent = self.package_size.normalize().as_tuple().exponent
        places = max(-int(exponent), 0)
        amount, size = self.amount.scaleb(places), int(self.package_size.scaleb(places))
        return Charge(one_tier(unit_amount=amount), per=size, before=free(self.free_units))


class TieredPackageVersion(PackagedVersion):
    """Tiers of the number of packages."""

    tiers: tuple[Tier, ...] = Field(min_length=1)
    """The tiers of packages: `up_to` counts packages, `unit_amount` is what one package costs."""
    mode: Literal["graduated", "volume"] = "graduated"
    """Whether each package costs what its own tier says, or all what the tier of their number says."""
    flat_when_unused: bool = False
    """Whether the flat amount of the first tier is charged without any usage too."""

    def charge(self) -> Charge:
        before = (*free(self.free_units), _packages(self))
        return Charge(tier_rows(self.tiers), self.mode, before=before, flat_when_unused=self.flat_when_unused)


class PackagePrice(MeteredPrice):
    """Units are sold in packages."""

    model: Literal["package"]
    versions: tuple[PackageVersion, ...] = Field(min_length=1)
    """The package and when it changed, oldest first."""


class TieredPackagePrice(TieredBase):
    """Units are sold in packages, whose number decides what they cost."""

    model: Literal["tiered_package"]
    versions: tuple[TieredPackageVersion, ...] = Field(min_length=1)
    """The tiers and when they changed, oldest first."""


def _packages(version: PackagedVersion) -> StepNumbers:
    numbers: Numbers = {"divide_by": version.package_size}
    if version.rounding != "exact":
        numbers["rounding"] = version.rounding
    return StepNumbers(Step("weight"), numbers)
