"""What several price models have in common: units of another kind, free units, and limits of each event."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Literal

from rating.catalog.charge import StepNumbers
from rating.catalog.literals import Amount, PositiveQuantity, Quantity
from rating.catalog.part import Part
from rating.catalog.parts import Version, Wrong
from rating.core.book import Level, Step

Numbers = dict[str, Decimal | int | str]


class Conversion(Part):
    """From metered units to priced ones: x `multiply_by` / `divide_by`, then rounded."""

    multiply_by: PositiveQuantity = Decimal(1)
    """How many priced units one metered unit is."""
    divide_by: PositiveQuantity = Decimal(1)
    """How many metered units one priced unit is."""
    rounding: Literal["exact", "up", "down"] = "exact"
    """Whether a started priced unit counts as it is, whole, or not at all."""


class ConvertedVersion(Version):
    """A version that may convert the quantity, and leave some of it free."""

    convert: Conversion | None = None
    """From the meter's units to those that are priced; before everything else."""
    free_units: Quantity | None = None
    """How many of the priced units are free, the first of each charge line."""

    def prepared(self, level: Level = "line") -> tuple[StepNumbers, ...]:
        """The steps from the metered quantity to what is charged."""
        return (*_converted(self.convert, level), *free(self.free_units, level))


class LimitedVersion(Version):
    """A version that may limit what each event costs."""

    minimum_per_event: Amount | None = None
    """The least that an event costs that is not free."""
    maximum_per_event: Amount | None = None
    """The most that an event costs."""

    def limited(self) -> tuple[StepNumbers, ...]:
        """The steps that hold the amount of each event within its limits."""
        given = {"minimum": self.minimum_per_event, "maximum": self.maximum_per_event}
        bounds: Numbers = {name: value for name, value in given.items() if value is not None}
        return (StepNumbers(Step("clamp", "event"), bounds),) if bounds else ()

    def wrong(self) -> Iterator[Wrong]:
        low, high = self.minimum_per_event, self.maximum_per_event
        if low is not None and high is not None and low > high:
            message = "The least that an event costs is more than the most."
            yield Wrong("minimum_per_event", message, "Let it be at most `maximum_per_event`.")


def free(units: Decimal | None, level: Level = "line") -> tuple[StepNumbers, ...]:
    """The step that leaves the first `units` of a charge line free."""
    return (StepNumbers(Step("allow", level, "line"), {"units": units}),) if units is not None else ()


def _converted(convert: Conversion | None, level: Level) -> tuple[StepNumbers, ...]:
    if convert is None:
        return ()
    numbers: Numbers = {"factor": convert.multiply_by, "divide_by": convert.divide_by}
    if convert.rounding != "exact":
        numbers["rounding"] = convert.rounding
    return (StepNumbers(Step("weight", level), numbers),)
