"""The parts that meters, prices and plans of a catalog file are made of."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple, Self

from pydantic import Field

from rating.catalog.adjustments import Adjustment
from rating.catalog.bands import TimeWindow as TimeWindow
from rating.catalog.charge import NOTHING, Charge, TierRow, by_day, with_groups
from rating.catalog.literals import (
    Amount,
    Currency,
    Instant,
    PropertyNames,
    Quantity,
    RoundingDigits,
    SomeNames,
)
from rating.catalog.part import Part
from rating.catalog.problems import Problem

Rounding = Literal["half_away_from_zero", "half_even", "up", "down"]


class TierRange(Part):
    """A range (`from`, `up_to`] of quantity: its upper bound belongs to it."""

    from_: Quantity | None = Field(None, alias="from")
    """Where the tier begins, exclusive. Optional: it is the `up_to` of the tier before, or zero."""
    up_to: Quantity | None = None
    """The last quantity of the tier; null or absent in the last tier, which is open."""

    def amounts(self) -> Mapping[str, Decimal | None]:
        """What it charges, by the columns of TierRow."""
        raise NotImplementedError


class Tier(TierRange):
    """A tier with an amount for its units."""

    unit_amount: Amount | None = None
    """What `per` units cost in this tier."""
    flat_amount: Amount | None = None
    """What reaching this tier costs once, on top of its units."""

    def amounts(self) -> Mapping[str, Decimal | None]:
        return {"unit_amount": self.unit_amount, "flat_amount": self.flat_amount}


class PercentTier(TierRange):
    """A tier with a percentage of its part of the value."""

    percent: Amount
    """How much of the value in this tier is charged, in percent."""
    flat_amount: Amount | None = None
    """What reaching this tier costs once, on top of its percentage."""

    def amounts(self) -> Mapping[str, Decimal | None]:
        return {"percent": self.percent, "flat_amount": self.flat_amount}


class StairTier(TierRange):
    """A tier with one amount."""

    amount: Amount
    """What a quantity in this tier costs as a whole."""

    def amounts(self) -> Mapping[str, Decimal | None]:
        return {"flat_amount": self.amount}


def tier_rows(tiers: Sequence[TierRange]) -> tuple[TierRow, ...]:
    """The tiers as rows, each from the upper bound of the one before."""
    starts = [NOTHING, *(tier.up_to for tier in tiers if tier.up_to is not None)]
    return tuple(
        TierRow(start, tier.up_to, **{name: value for name, value in tier.amounts().items() if value is not None})
        for start, tier in zip(starts, tiers, strict=True)
    )


class Cell(NamedTuple):
    """Usage of a price that may have a rate of its own: of these meters, with these values of their dimensions."""

    number: int
    meters: tuple[str, ...]
    match: Mapping[str, str]


class Wrong(NamedTuple):
    """What is wrong with a field of a version."""

    field: str
    message: str
    cure: str


class Version(Part):
    """The numbers of a price from `effective_from` until the next version."""

    effective_from: Instant = None
    """Since when it is in force: an instant with its zone, or a date (midnight UTC). The first may have none."""
    adjust: tuple[Adjustment, ...] = ()
    """What is added to the charge lines of this price or taken off, in this order; the version in force when the period
    begins says it."""

    def charge(self) -> Charge:
        """What it charges, as a chain of operators."""
        raise NotImplementedError

    def charge_of(self, cell: Cell) -> Charge:
        """What it charges for the usage of one cell of the price."""
        return self.charge()

    def reads(self) -> tuple[str, ...]:
        """The numeric properties of events that it needs, beside those of its meter."""
        return ()

    def wrong(self) -> Iterator[Wrong]:
        """What its numbers cannot mean together."""
        yield from ()

    @property
    def windows(self) -> tuple[TimeWindow, ...]:
        """Its bands as they are written, or its times of the day by their start."""
        of_day: tuple[TimeWindow, ...] = getattr(self, "time_of_day", ())
        return getattr(self, "bands", ()) or tuple(sorted(of_day, key=lambda window: window.begins))

    def within(self, window: TimeWindow) -> Self:
        """The version as it is at a time of the day: what the window does not say, the version says."""
        own = type(self).model_fields.keys() - TimeWindow.model_fields.keys()
        said = {name: value for name, value in window if value is not None and name in own}
        return self.model_copy(update=said)


class PricePart(Part):
    """What every price has."""

    currency: Currency
    """The currency of all its amounts, one of the catalog's `currencies`."""
    rounding: Rounding = "half_away_from_zero"
    """How a charge line is rounded, once, to the minor unit: `up` is away from zero, `down` is toward zero."""
    rounding_place: Literal["event", "line", "price", "subscription"] = "line"
    """What is rounded: the amount of each event, each charge line, or the sum of the lines of the price or of all lines
    of the subscription that say so, to which the lines are then rounded so that they add up to it."""
    rounding_digits: RoundingDigits | None = None
    """To how many decimals, 0 to 4; those of the currency's minor unit unless given."""

    def cells(self) -> tuple[Cell, ...]:
        """Which usage it has rates for, numbered from 0."""
        return (Cell(0, (), {}),)

    def problems(self, path: str) -> Iterator[Problem]:
        """What its model refuses beyond the form of its parts; `path` is the price's."""
        yield from ()

    def shaped(self, charge: Charge) -> Charge:
        """What a version charges, priced for the parts of the usage that the price wants priced apart or together."""
        return charge


class MeteredPrice(PricePart):
    """What every price of usage has. One of `meter` and `meters` is given."""

    meter: str | None = None
    """The meter whose quantity is priced."""
    meters: SomeNames | None = None
    """Several meters with the same price; each gets its own charge lines."""
    match: dict[str, str] = Field(default={})
    """Which usage it prices: values of the meter's dimensions. Of a plan's prices the one with the most values wins."""
    group_by: PropertyNames = ()
    """Dimensions of the meter whose values are each rated alone and get their own charge lines."""

    groups: Literal["alone", "together", "largest"] = "alone"
    """How the groups of `group_by` are priced: each alone; filling the same tiers together, one after the other; or
    only the largest of them."""
    rate_each: Literal["period", "day"] = "period"
    """Whether the usage of the billing period is priced as a whole, or that of each day of the customer by itself."""

    def cells(self) -> tuple[Cell, ...]:
        return (Cell(0, self.meter_keys, self.match),)

    def shaped(self, charge: Charge) -> Charge:
        return with_groups(by_day(charge) if self.rate_each == "day" else charge, self.groups)

    @property
    def meter_keys(self) -> tuple[str, ...]:
        """The meters that it prices."""
        return self.meters or ((self.meter,) if self.meter is not None else ())
