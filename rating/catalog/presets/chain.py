"""Chain: a price written out as its operators, in the order in which they run.

    before: weight, allow, partition         on quantities
    tiers                                    from quantities to amounts
    after: clamp, compose, partition         on amounts

Every other model is such a chain with names of its own. Each step acts on rows of a
level: `event`, `day` or `line`, and the levels only become coarser. Worked example: calls rounded up to full minutes
(weight, of events), the first 100 free (allow, of the line), 0.02 a minute (one tier), 5 % off (compose): calls of 90 s
and 3 h come to 182 minutes, 82 of them priced, 1.64 less 0.082.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from rating.catalog.bands import TimeWindow
from rating.catalog.charge import NOTHING, Charge, StepNumbers, TierRow
from rating.catalog.literals import (
    DECIMAL_PATTERN,
    Amount,
    Count,
    Per,
    PositiveQuantity,
    PropertyName,
    Quantity,
    decimal_text,
    read_signed_amount,
)
from rating.catalog.part import Part
from rating.catalog.parts import Rounding, Version
from rating.catalog.presets.counting import TieredBase
from rating.catalog.problems import Problem
from rating.core.book import Level, Step
from rating.core.proration import Proration

Shared = Literal["row", "event", "bands", "line", "group", "meter", "meter_by_day", "price", "price_by_day"]
_LEVELS: list[Level] = ["event", "day", "line"]

SignedAmount = Annotated[
    Decimal,
    PlainValidator(read_signed_amount),
    PlainSerializer(decimal_text, return_type=str),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": "^-?" + DECIMAL_PATTERN[1:]}, {"type": "integer"}]}),
]


class StepPart(Part):
    """What every step has."""

    level: Level = "line"
    """Which rows it acts on: each event, each day, or all that becomes one charge line."""
    together: Shared = "row"
    """Which rows it takes together, or share its numbers: each row has its own; the parts of an `event`, or all rows
    of the price in whatever `bands`; those of a line; or the lines of one group, of one meter, or of the price."""

    def step(self) -> StepNumbers:
        """The step with its numbers."""
        names = {"operator", "level", "together", "property", "instead"}
        given = {name: value for name, value in self if name not in names and value is not None}
        numbers = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
        of_step = {name: value for name, value in self if name in names}
        return StepNumbers(Step(**of_step), numbers)


class WeightStep(StepPart):
    """Another quantity for the metered one; in the order of these fields."""

    operator: Literal["weight"]
    property: PropertyName | None = None
    """A number of each event that is a factor too; at the level of events."""
    instead: bool = False
    """Whether that number stands for the quantity, in place of being a factor of it."""
    factor: Amount | None = None
    """What the quantity is multiplied by."""
    divide_by: PositiveQuantity | None = None
    """What it is divided by."""
    rounding: Literal["up", "down"] | None = None
    """How the quotient is made whole; exact without it."""
    first: Quantity | None = None
    """The first increment: used or not, it counts as soon as anything is used."""
    increment: PositiveQuantity | None = None
    """The increments behind the first; a started one is whole."""
    increments_from: tuple[Quantity, ...] | None = None
    """Where increments of other sizes begin, the first at zero."""
    increments: tuple[PositiveQuantity | None, ...] | None = None
    """How large they are from there on; null: exact."""
    minimum: Quantity | None = None
    """The least of a row that is not zero."""
    maximum: Quantity | None = None
    """The most of a row."""


class AllowStep(StepPart):
    """Included usage."""

    operator: Literal["allow"]
    units: Quantity | None = None
    """How many units are included."""
    count: Count | None = None
    """How many rows are included, the first of those that share it."""
    either: bool | None = None
    """With both limits: whether a row is included that is within one of them; else it must be within both."""
    prorate: Proration | None = None
    """How the part of a billing period that is served is counted, where the units are for that part alone."""

    def step(self) -> StepNumbers:
        made = super().step()
        return replace(made, step=replace(made.step, prorates=self.prorate is not None))


class PartitionStep(StepPart):
    """The largest of several rows is priced, the others are not."""

    operator: Literal["partition"]
    together: Shared = "price"
    """Of which rows the largest is taken."""


class ClampStep(StepPart):
    """The least and the most of an amount."""

    operator: Literal["clamp"]
    minimum: Amount | None = None
    """The least."""
    maximum: Amount | None = None
    """The most."""
    multiple: Amount | None = None
    """The amount is rounded to multiples of it."""
    rounding: Rounding | None = None
    """How it is rounded."""


class ComposeStep(StepPart):
    """Something on top of an amount or off it."""

    operator: Literal["compose"]
    percent: SignedAmount | None = None
    """How much, in percent; negative is a discount."""
    above: Amount | None = None
    """Where given, the percentage is of what is above this amount alone, as in the overage of a commitment."""
    fixed: SignedAmount | None = None
    """How much; negative is a discount."""


BeforeStep = Annotated[WeightStep | AllowStep | PartitionStep, Field(discriminator="operator")]
AfterStep = Annotated[ClampStep | ComposeStep | PartitionStep, Field(discriminator="operator")]


class ChainTier(Part):
    """A range of quantity up to `up_to`, which belongs to it, and what it costs."""

    up_to: Quantity | None = None
    """The last quantity of the tier; null or absent in the last tier, which is open."""
    unit_amount: Amount = NOTHING
    """What `per` units cost."""
    flat_amount: Amount = NOTHING
    """What reaching the tier costs once, or each started `flat_per` of its units."""
    flat_per: PositiveQuantity | None = None
    """How many units one `flat_amount` buys."""
    percent: Amount = NOTHING
    """How much of the quantity itself, in percent."""


class ChainNumbers(Part):
    """The steps of a chain."""

    before: tuple[BeforeStep, ...] = ()
    """The steps on quantities."""
    chain_tiers: tuple[ChainTier, ...] = Field(min_length=1)
    """The tiers: one open tier where there are none."""
    tier_mode: Literal["graduated", "volume", "cliff"] = "volume"
    """graduated: each unit in its own tier; volume: all in the tier of the whole quantity; cliff: each event in the
    tier that its `size` falls in."""
    tier_level: Level = "line"
    """Of which rows the tiers are."""
    tier_together: Shared = "row"
    """Which rows fill the same tiers, one behind the other."""
    per: Per = 1
    """How many units a tier's `unit_amount` buys."""
    size: PropertyName | None = None
    """cliff: the property that measures one event."""
    flat_when_unused: bool = False
    """Whether usage of zero pays the flat amount of its tier."""
    after: tuple[AfterStep, ...] = ()
    """The steps on amounts."""

    def charge(self) -> Charge:
        """What it charges."""
        return Charge(
            tuple(_tier_rows(self.chain_tiers)),
            self.tier_mode,
            self.per,
            self.size,
            tuple(step.step() for step in self.before),
            tuple(step.step() for step in self.after),
            self.tier_level,
            self.tier_together,
            self.flat_when_unused,
        )


def _tier_rows(tiers: Sequence[ChainTier]) -> Iterator[TierRow]:
    start = NOTHING
    for tier in tiers:
        yield TierRow(start, tier.up_to, tier.unit_amount, tier.flat_amount, tier.percent, tier.flat_per)
        start = tier.up_to if tier.up_to is not None else start


class ChainWindow(ChainNumbers, TimeWindow):
    """A chain for a part of the day."""


class ChainVersion(ChainNumbers, Version):
    """A chain."""

    time_of_day: tuple[ChainWindow, ...] = ()
    """Times of the day with other chains; each says all of its own."""
    bands: tuple[ChainWindow, ...] = ()
    """Hours, days, seasons and holidays with other chains."""

    def within(self, window: TimeWindow) -> "ChainVersion":
        own = {name: getattr(window, name) for name in ChainNumbers.model_fields}
        return self.model_copy(update=own)

    def reads(self) -> tuple[str, ...]:
        carried = [step.property for step in self.before if isinstance(step, WeightStep)]
        return tuple(name for name in (self.size, *carried) if name is not None)


class ChainPrice(TieredBase):
    """A price written out as its operators."""

    model: Literal["chain"]
    versions: tuple[ChainVersion, ...] = Field(min_length=1)
    """The chain and when it changed, oldest first."""

    def shaped(self, charge: Charge) -> Charge:
        made = super(TieredBase, self).shaped(charge)  # its included units say for themselves whether they prorate
        return replace(made, tiers_by=self.prorate_tiers)

    def prorates(self) -> bool:
        steps = (step for version in self.versions for step in version.before)
        return super().prorates() or any(getattr(step, "prorate", None) is not None for step in steps)

    def problems(self, path: str) -> Iterator[Problem]:
        yield from super().problems(path)
        for index, version in enumerate(self.versions):
            place = f"{path}.versions[{index}]"
            yield from _check_chain(place, version)
            yield from self._check_counts(place, version)
            for field, windows in (("time_of_day", version.time_of_day), ("bands", version.bands)):
                for number, window in enumerate(windows):
                    yield from _check_chain(f"{place}.{field}[{number}]", window)

    def _check_counts(self, path: str, version: ChainVersion) -> Iterator[Problem]:
        for index, step in enumerate(version.before):
            if self.goes_on and isinstance(step, AllowStep) and step.count is not None:
                message = "The first rows are those of each line; only units go on behind others."
                yield Problem(f"{path}.before[{index}].count", str(step.count), message, "Include units instead.")


def _check_chain(path: str, chain: ChainNumbers) -> Iterator[Problem]:
    yield from _check_levels(path, chain)
    yield from _check_tiers(f"{path}.chain_tiers", chain.chain_tiers)
    if (chain.tier_mode == "cliff") == (chain.size is None):
        yield Problem(f"{path}.size", "", "`size` belongs to `tier_mode: cliff`, and only there.", "Add or remove it.")
    if chain.flat_when_unused and chain.tier_together != "row":
        message = "Rows that fill tiers together cannot each pay a flat amount without usage."
        yield Problem(f"{path}.flat_when_unused", "true", message, "Remove it, or let each row have its own tiers.")
    for index, step in enumerate(chain.before):
        if isinstance(step, WeightStep) and step.property is not None and step.level != "event":
            message = "A number of an event is read at the level of events."
            yield Problem(f"{path}.before[{index}].level", step.level, message, "Write `level: event`.")
    for index, after in enumerate(chain.after):
        if isinstance(after, PartitionStep) and after.level != "line":
            message = "The largest amount is that of a line."
            yield Problem(f"{path}.after[{index}].level", after.level, message, "Write `level: line`.")


def _check_levels(path: str, chain: ChainNumbers) -> Iterator[Problem]:
    """Levels only become coarser on the way from the first step to the last."""
    places = [(f"{path}.before[{index}].level", step.level) for index, step in enumerate(chain.before)]
    places.append((f"{path}.tier_level", chain.tier_level))
    places += [(f"{path}.after[{index}].level", step.level) for index, step in enumerate(chain.after)]
    reached = 0
    for place, level in places:
        if _LEVELS.index(level) < reached:
            message = f"The rows are summed to `{_LEVELS[reached]}` by then: a finer level cannot follow."
            yield Problem(place, level, message, "Put the steps in the order event, day, line.")
        reached = max(reached, _LEVELS.index(level))


def _check_tiers(path: str, tiers: Sequence[ChainTier]) -> Iterator[Problem]:
    start = NOTHING
    for index, tier in enumerate(tiers):
        is_last = index == len(tiers) - 1
        if is_last != (tier.up_to is None):
            message = "The last tier is open, and every other has an upper bound."
            yield Problem(f"{path}[{index}].up_to", "", message, "Leave `up_to` out in the last tier alone.")
        elif tier.up_to is not None and tier.up_to <= start:
            message = "The upper bounds must rise from tier to tier."
            yield Problem(f"{path}[{index}].up_to", decimal_text(tier.up_to), message, "Put the tiers in order.")
        start = tier.up_to if tier.up_to is not None else start
