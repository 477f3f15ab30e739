"""Allowances of plans in the catalog file: included units that several prices use, and that may roll over."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from rating.catalog.charge import Charge, StepNumbers
from rating.catalog.frames import Row
from rating.catalog.left_out import LeftOut
from rating.catalog.literals import Quantity, SomeNames
from rating.catalog.part import Part
from rating.catalog.presets.counting import Window
from rating.catalog.problems import Problem, show
from rating.core.book import Step
from rating.core.proration import Proration


class Allowance(Part):
    """Included units of some prices of the plan, in each billing period."""

    units: Quantity
    """How many units of the prices' meters are included."""
    prices: SomeNames
    """Keys of the prices that use it, in this order: the second one uses what the first has left."""
    rollover_maximum: Quantity = Decimal(0)
    """How much of what a period has not used of its own units is added in the next one, at the most."""
    prorate: Proration | None = None
    """How the part of a billing period that is served is counted, where the units are for that part alone: in
    `seconds`, in `days` of the customer's calendar, or in `30_days` a month. Without it they are those of a whole
    period."""
    window: Window | None = None
    """What the units are for, where that is longer than a billing period: what one period of a window leaves of them,
    the next ones may use. A billing period belongs to the window in which it begins."""


def allowance_rows(plan: str, allowances: Mapping[str, Allowance]) -> Iterator[Row]:
    """The rows of PLAN_ALLOWANCE."""
    for key, allowance in sorted(allowances.items()):
        window = (None, None) if allowance.window is None else allowance.window.counting()
        numbers = allowance.units, allowance.rollover_maximum, allowance.prorate, *window
        for place, price in enumerate(allowance.prices):
            yield plan, price, key, place, *numbers


def with_allowance(charge: Charge) -> Charge:
    """The charge for what an allowance of the plan leaves."""
    step = StepNumbers(Step("allow", charge.chain().level, "plan"))
    return replace(charge, before=(step, *charge.before))


def check_allowances(
    path: str, allowances: Mapping[str, Allowance], prices: Sequence[str], windowed: Sequence[str], left_out: LeftOut
) -> Iterator[Problem]:
    """Every price is one of usage of the plan (`prices`), in one allowance, and where that rolls over it is none of
    those with a window of their own (`windowed`)."""
    holder: dict[str, str] = {}
    for key, allowance in allowances.items():
        yield from _check_window(f"{path}.allowances.{key}", allowance)
        for index, price in enumerate(allowance.prices):
            place = f"{path}.allowances.{key}.prices[{index}]"
            if price not in prices and not left_out.covers("prices", price):
                message = "The plan has no such price of usage."
                yield Problem(place, show(price), message, "Name one of the plan's prices that has a meter.")
            if allowance.rollover_maximum and price in windowed:
                message = "The price counts over a window, and what rolls over is known of one billing period only."
                cure = "Give the allowance the `window` in place of `rollover_maximum`, or the price no `window`."
                yield Problem(place, show(price), message, cure)
            if holder.setdefault(price, key) != key:
                message = f"The price uses the allowance `{holder[price]}` already."
                yield Problem(place, show(price), message, "Let each price use one allowance.")


def _check_window(path: str, allowance: Allowance) -> Iterator[Problem]:
    if allowance.window is None:
        return
    if allowance.prorate is not None:
        message = "The units of a window are those of all of it, and are not prorated."
        yield Problem(f"{path}.window", "", message, "Keep one of `window` and `prorate`.")
    if allowance.rollover_maximum:
        message = "What a period does not use of a window, the next one may use: nothing has to roll over."
        yield Problem(f"{path}.rollover_maximum", str(allowance.rollover_maximum), message, "Remove it, or `window`.")
