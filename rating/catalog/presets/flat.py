"""Fees: an amount that is owed without any usage.

    flat: amount, in each billing period; with `prorate`, amount x the served part of it
    one_time: amount, once, or whenever a change brings it

A subscription to a plan of 20.00 USD with a set-up fee of 99.00 USD is charged 119.00 in the period in which it begins,
and 20.00 in each one after. Prorated by days, a subscription that begins on 15 October is charged 17/31 of 20.00 for
October: 10.97.
"""

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from rating.catalog.charge import Charge, StepNumbers, one_tier
from rating.catalog.literals import Amount
from rating.catalog.parts import PricePart, Version
from rating.core.book import Step
from rating.core.proration import Proration


class FlatVersion(Version):
    """A fee."""

    amount: Amount
    """The fee."""

    def charge(self) -> Charge:
        return Charge(one_tier(flat_amount=self.amount), flat_when_unused=True)


class FlatPrice(PricePart):
    """A fee for each billing period."""

    model: Literal["flat"]
    due: Literal["in_advance", "in_arrears"] = "in_advance"
    """When it is owed, which says the version that is charged: the one in force at the beginning of the part of the
    period in which the subscription is in force, or the one at its end."""
    per: Literal["subscription", "seat"] = "subscription"
    """What is paid for: the subscription as a whole, or each of its seats. A fee of seats that is prorated is charged
    for each part of a period in which their number is the same; else for those at the instant at which it is owed."""
    prorate: Proration | None = None
    """How the part of a billing period that is served is counted, where only that part is charged: in `seconds`, in
    `days` of the customer's calendar, or in `30_days` a month. Without it the fee is charged whole."""
    versions: tuple[FlatVersion, ...] = Field(min_length=1)
    """The fee and when it changed, oldest first."""

    def shaped(self, charge: Charge) -> Charge:
        if self.per == "seat":
            charge = replace(charge, tiers=one_tier(unit_amount=charge.tiers[0].flat_amount))
        if self.prorate is None:
            return charge
        return replace(charge, after=(*charge.after, StepNumbers(Step("prorate"), {"by": self.prorate})))


class OneTimePrice(PricePart):
    """A fee that is charged once, in the period in which the subscription or the add-on begins."""

    model: Literal["one_time"]
    due: Literal["at_start", "with_plan"] = "at_start"
    """When it is owed: when the subscription or the add-on begins; `with_plan`: also whenever a change brings a plan
    that has the fee, from one that does not have it."""
    versions: tuple[FlatVersion, ...] = Field(min_length=1)
    """The fee and when it changed, oldest first: the version in force when it is owed is charged."""

    per: ClassVar[str] = "subscription"
    prorate: ClassVar[None] = None


FeePrice = FlatPrice | OneTimePrice
