"""Rounding each event: the charge of a price whose amounts are rounded event by event, and the lines are their sums.

Usage then runs through the whole chain event by event. Tiers and allowances of a line are filled in the order of time,
as they are anyway; what cannot be cut into events (packages of a whole line, the usage of days, the largest group, a
flat amount that is due without any event) has no such charge.
"""

from dataclasses import replace
from decimal import Decimal

from rating.catalog.charge import Charge, StepNumbers
from rating.catalog.literals import currency_digits
from rating.catalog.parts import MeteredPrice, PricePart
from rating.core.book import Step, Together

_LINEAR = {"factor", "divide_by"}


def rounded_charge(price: PricePart, charge: Charge) -> Charge | None:
    """The charge as it runs, with the rounding of events where the price wants that; null where that cannot be."""
    if price.rounding_place != "event" or not isinstance(price, MeteredPrice):
        return charge
    digits = currency_digits(price.currency) if price.rounding_digits is None else price.rounding_digits
    assert digits is not None, f"{price.currency} was checked to have a minor unit"
    return _rounded_events(charge, digits, price.rounding)


def _rounded_events(charge: Charge, digits: int, rounding: str) -> Charge | None:
    """The charge with each event's amount rounded; null where a step sees more than an event and cannot see less."""
    before = [_by_event(it) for it in charge.before]
    later = [it for it in charge.after if it.step.level != "event"]
    if (
        None in before
        or charge.flat_when_unused
        or charge.tier_level == "day"
        or any(it.step.level == "day" for it in later)
    ):
        return None
    together: Together = (
        "line" if charge.tier_level == "line" and charge.tier_together == "row" else charge.tier_together
    )
    step = StepNumbers(Step("clamp", "event"), {"multiple": Decimal(1).scaleb(-digits), "rounding": rounding})
    events = [it for it in charge.after if it.step.level == "event"]
    steps = tuple(it for it in before if it is not None)
    return replace(charge, before=steps, tier_level="event", tier_together=together, after=(*events, step, *later))


def _by_event(it: StepNumbers) -> StepNumbers | None:
    step = it.step
    if step.level == "event":
        return it
    if step.level == "day" or step.operator not in ("allow", "weight"):
        return None
    if step.operator == "weight" and not it.numbers.keys() <= _LINEAR:
        return None
    shared: Together = "line" if step.operator == "allow" and step.together == "row" else step.together
    return replace(it, step=replace(step, level="event", together=shared))
