"""Dynamic: the event brings along what it costs.

    for each event: amount_property x multiplier / per
    or:             quantity x unit_amount_property x multiplier / per

`multiplier` is a margin on what an event brings along, `per` its unit: 100 where it is in cents. An event without the
property costs nothing. Calls that a carrier charges 0.10 and 2.50 for cost 3.12 with a multiplier of 1.2.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Literal

from pydantic import Field

from rating.catalog.charge import Charge, StepNumbers, one_tier
from rating.catalog.literals import Amount, Per, PropertyName
from rating.catalog.parts import MeteredPrice, Wrong
from rating.catalog.presets.limits import LimitedVersion
from rating.core.book import Step


class DynamicVersion(LimitedVersion):
    """Where events say what they cost. One of `amount_property` and `unit_amount_property` is given."""

    amount_property: PropertyName | None = None
    """The numeric property with the amount of the whole event."""
    unit_amount_property: PropertyName | None = None
    """The numeric property with the amount of each unit of the event."""
    multiplier: Amount = Decimal(1)
    """What is charged for one of what the event brings along."""
    per: Per = 1
    """How many of what the event brings along are one of the currency: 100 where it is in cents."""

    def charge(self) -> Charge:
        is_whole = self.amount_property is not None
        brought = Step("weight", "event", property=self.amount_property or self.unit_amount_property, instead=is_whole)
        return Charge(
            one_tier(unit_amount=self.multiplier),
            per=self.per,
            before=(StepNumbers(brought),),
            after=self.limited(),
            tier_level="event" if self.limited() else "line",
        )

    def reads(self) -> tuple[str, ...]:
        return tuple(name for name in (self.amount_property, self.unit_amount_property) if name is not None)

    def wrong(self) -> Iterator[Wrong]:
        yield from super().wrong()
        if len(self.reads()) != 1:
            wrong = "say it in no property" if not self.reads() else "say it in two properties"
            cure = "Give one of `amount_property` and `unit_amount_property`."
            yield Wrong("amount_property", f"The events bring along what they cost, and {wrong}.", cure)


class DynamicPrice(MeteredPrice):
    """Each event brings along what it costs."""

    model: Literal["dynamic"]
    versions: tuple[DynamicVersion, ...] = Field(min_length=1)
    """Where events say what they cost, and when that changed, oldest first."""
