"""What tiers and included units are counted over: the part of a period that is served, and usage that goes on.

    prorate_tiers: up_to x served / whole and flat_amount x served / whole
    on_change: continue, window: a line fills tiers from what was metered before it in the period, or in the window, on

A subscription that is served from 16 October on, 16 of 31 days, has tiers to 100 x 16 / 31 = 51.612903226 units. With
`on_change: continue` usage of 60 before an upgrade and 60 after it are 60 and 40 units in a first tier of 100, and 20
in the second; by volume, 60 units choose the tier of the first line and 120 that of the second.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from rating.catalog.charge import Charge, Counting, prorated
from rating.catalog.literals import Per
from rating.catalog.part import Part
from rating.catalog.parts import MeteredPrice
from rating.catalog.problems import Problem
from rating.core.proration import Proration
from rating.core.windows import PERIOD


class Window(Part):
    """Billing cycles of their own, which begin where the subscription's anchor says, else on the calendar."""

    interval: Literal["day", "week", "month", "quarter", "year"]
    """Of what they are made."""
    intervals: Per = 1
    """How many of them make one."""

    def counting(self) -> Counting:
        """The window as RATE and PLAN_ALLOWANCE have it."""
        return ("month", 3 * self.intervals) if self.interval == "quarter" else (self.interval, self.intervals)


class CountingPrice(MeteredPrice):
    """What every price has that counts how much was used."""

    on_change: Literal["restart", "continue"] = "restart"
    """What tiers and included units do where the plan or the version of the price changes within a billing period: each
    side has its own, or those of the later side go on where the earlier one has left them."""
    window: Window | None = None
    """What tiers and included units are counted over, where that is longer than a billing period: within a window they
    go on from period to period, whatever changes. A billing period belongs to the window in which it begins."""

    @property
    def goes_on(self) -> bool:
        """Whether a line goes on behind others."""
        return self.window is not None or self.on_change == "continue"

    def shaped(self, charge: Charge) -> Charge:
        made = super().shaped(charge)
        if self.window is not None:
            return replace(made, window=self.window.counting())
        return replace(made, window=(PERIOD, 1)) if self.on_change == "continue" else made

    def prorates(self) -> bool:
        """Whether some of its numbers are those of the served part of a period."""
        return False

    def problems(self, path: str) -> Iterator[Problem]:
        yield from super().problems(path)
        if not self.goes_on:
            return
        field = "window" if self.window is not None else "on_change"
        if self.prorates():
            message = "What goes on from one part of the time to the next is that of the whole, and is not prorated."
            yield Problem(f"{path}.{field}", "", message, "Keep this, or what prorates.")
        if self.rate_each == "day" or any(getattr(version, "every", None) == "day" for version in _versions(self)):
            message = "Each day is counted by itself, so that nothing goes on."
            yield Problem(f"{path}.{field}", "", message, "Remove it, or count the billing period.")
        for index, version in enumerate(_versions(self)):
            if getattr(version, "flat_when_unused", False):
                message = "Of lines that go on behind each other, none can say that nothing was used."
                yield Problem(
                    f"{path}.versions[{index}].flat_when_unused", "true", message, f"Remove it, or `{field}`."
                )


class TieredBase(CountingPrice):
    """What every price has that is made of tiers."""

    prorate_tiers: Proration | None = None
    """How the part of a billing period that is served is counted, where the bounds and the flat amounts of the tiers,
    and free units, are for that part alone: in `seconds`, in `days` of the customer's calendar, or in `30_days` a
    month. Without it they are those of a whole period."""

    def shaped(self, charge: Charge) -> Charge:
        made = super().shaped(charge)
        return made if self.prorate_tiers is None else prorated(made, self.prorate_tiers)

    def prorates(self) -> bool:
        return self.prorate_tiers is not None


def _versions(price: MeteredPrice) -> tuple[object, ...]:
    versions: tuple[object, ...] = getattr(price, "versions", ())
    return versions
