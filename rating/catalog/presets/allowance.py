"""Allowance: included units, then a rate or tiers for what is used above them.

    max(quantity - included, 0), priced by `unit_amount` / `per` or by `tiers`, which begin at zero with the first unit
    that is not included

`every: day` includes so many units each day of the customer: what is not used on a day is lost. With `shared` all
groups of the price use one allowance, in the order of their values; else each group has its own. Worked example: 1,200
minutes with 1,000 included at 0.05 a minute cost 200 x 0.05 = 10.00. An allowance of several prices, or one that rolls
over, is the plan's: `allowances` there. `prorate`, `window` and `on_change` say for what time they are (counting.py).
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from rating.catalog.charge import Charge, StepNumbers, one_tier, prorated
from rating.catalog.literals import Amount, Per, Quantity
from rating.catalog.parts import Tier, Version, tier_rows
from rating.catalog.presets.counting import CountingPrice
from rating.catalog.problems import Problem
from rating.core.book import Step, Together
from rating.core.proration import Proration


class AllowanceVersion(Version):
    """Included units and what the others cost. One of `unit_amount` and `tiers` is given."""

    included: Quantity
    """How many units are included."""
    every: Literal["period", "day"] = "period"
    """Whether they are included in each billing period, or in each day of it."""
    shared: bool = False
    """Whether the groups of the price share one allowance."""
    unit_amount: Amount | None = None
    """What `per` units above the included ones cost."""
    tiers: tuple[Tier, ...] = ()
    """The tiers of the units above the included ones."""
    mode: Literal["graduated", "volume"] = "graduated"
    """Whether each unit costs what its own tier says, or all of them what the last one's says."""
    per: Per = 1
    """How many units a `unit_amount` buys."""

    def charge(self) -> Charge:
        daily: Together = "price_by_day" if self.every == "day" else "price"
        step = Step("allow", "day" if self.every == "day" else "line", daily if self.shared else "row")
        free = StepNumbers(step, {"units": self.included})
        if self.unit_amount is not None:
            return Charge(one_tier(unit_amount=self.unit_amount), per=self.per, before=(free,))
        return Charge(tier_rows(self.tiers), self.mode, self.per, before=(free,))


class AllowancePrice(CountingPrice):
    """Included units, then a rate or tiers."""

    model: Literal["allowance"]
    prorate: Proration | None = None
    """How the part of a billing period that is served is counted, where the included units and the tiers behind them
    are for that part alone: in `seconds`, in `days` of the customer's calendar, or in `30_days` a month. Without it
    they are those of a whole period."""
    versions: tuple[AllowanceVersion, ...] = Field(min_length=1)
    """The allowance and the rate, and when they changed, oldest first."""

    def shaped(self, charge: Charge) -> Charge:
        made = super().shaped(charge)
        return made if self.prorate is None else prorated(made, self.prorate)

    def prorates(self) -> bool:
        return self.prorate is not None

    def problems(self, path: str) -> Iterator[Problem]:
        yield from super().problems(path)
        for index, version in enumerate(self.versions):
            if (version.unit_amount is None) == (not version.tiers):
                wrong = "has no rate" if version.unit_amount is None else "has both a rate and tiers"
                message = f"What is used above the allowance costs one or the other; this version {wrong}."
                yield Problem(f"{path}.versions[{index}]", "", message, "Give one of `unit_amount` and `tiers`.")
            if self.prorate is not None and (version.every == "day" or self.rate_each == "day"):
                message = "The units of a day are not those of a part of the period."
                yield Problem(f"{path}.prorate", self.prorate, message, "Remove it, or include units in each period.")
