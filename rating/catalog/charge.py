"""What a version of a price charges, as a chain of operators with its numbers: what every preset expands to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal, NamedTuple

from rating.core.book import Chain, Level, Step, Together
from rating.core.proration import Proration

TierMode = Literal["graduated", "volume", "cliff"]
Groups = Literal["alone", "together", "largest"]
Counting = tuple[str, int]
"""A window of tiers and included units: its interval, and how many of them (rating/core/windows.py)."""
NOTHING = Decimal(0)
Number = Decimal | int | str | Sequence[Decimal | None]
"""A number of a step; several where one follows the other."""


class TierRow(NamedTuple):
    """One tier (`from_quantity`, `to_quantity`]; null is the open one. Amounts as in rating/core/schema.py, TIER."""

    from_quantity: Decimal
    to_quantity: Decimal | None
    unit_amount: Decimal = NOTHING
    flat_amount: Decimal = NOTHING
    percent: Decimal = NOTHING
    flat_per: Decimal | None = None


@dataclass(frozen=True)
class StepNumbers:
    """A step and its numbers, by the columns of its operator (rating/core/schema.py: WEIGHT, ALLOW, CLAMP, COMPOSE)."""

    step: Step
    numbers: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True)
class Charge:
    """A chain with its numbers: `before`, then the tiers, then `after`."""

    tiers: Sequence[TierRow]
    tier_mode: TierMode = "volume"
    per: int = 1
    size: str | None = None  # cliff: the property that measures one event
    before: tuple[StepNumbers, ...] = ()
    after: tuple[StepNumbers, ...] = ()
    tier_level: Level = "line"
    tier_together: Together = "row"
    flat_when_unused: bool = False
    tiers_by: Proration | None = None  # its tiers are those of the served part of the period, counted so
    window: Counting | None = None  # what its tiers and included units are counted over

    def chain(self) -> Chain:
        """The steps without their numbers."""
        return Chain(
            before=tuple(it.step for it in self.before),
            tier_level=self.tier_level,
            tier_together=self.tier_together,
            splits=self._splits(),
            after=tuple(it.step for it in self.after),
            prorates_tiers=self.tiers_by is not None,
            goes_on=self.window is not None,
        )

    def _splits(self) -> bool:
        """Whether an event or a day can fall into several tiers: a day has events of several sizes, and a volume may
        leave the tier that what was metered before it is in."""
        by_size = self.tier_mode == "cliff" and self.tier_level == "day"
        leaves_one = self.window is not None and self.tier_level != "line"
        fills = self.tier_level != "line" and self.tier_mode == "graduated" and self._has_tiers()
        return by_size or leaves_one or fills

    def _has_tiers(self) -> bool:
        """Bands whose steps look at a whole event together have one chain, however many tiers each of them has."""
        return len(self.tiers) > 1 or any(it.step.together == "event" for it in self.after)


def one_tier(
    *, unit_amount: Decimal = NOTHING, flat_amount: Decimal = NOTHING, percent: Decimal = NOTHING
) -> tuple[TierRow, ...]:
    """The tiers of a price without tiers: one, open."""
    return (TierRow(NOTHING, None, unit_amount, flat_amount, percent),)


def prorated(charge: Charge, by: Proration) -> Charge:
    """The charge whose tiers and included units are those of the served part of the period."""
    return replace(charge, tiers_by=by, before=tuple(_prorated(it, by) for it in charge.before))


def _prorated(it: StepNumbers, by: Proration) -> StepNumbers:
    if it.step.operator != "allow" or "units" not in it.numbers:
        return it
    return StepNumbers(replace(it.step, prorates=True), {**it.numbers, "prorate": by})


_EACH_DAY: dict[Together, Together] = {"meter": "meter_by_day", "price": "price_by_day"}


def by_day(charge: Charge) -> Charge:
    """The charge for the usage of each day by itself, up to its tiers; what follows on the whole line stays there."""
    before = tuple(replace(it, step=_daily(it.step)) for it in charge.before)
    together = _EACH_DAY.get(charge.tier_together, charge.tier_together)
    return replace(charge, before=before, tier_level=_day(charge.tier_level), tier_together=together)


def _daily(step: Step) -> Step:
    return replace(step, level=_day(step.level), together=_EACH_DAY.get(step.together, step.together))


def _day(level: Level) -> Level:
    return "day" if level == "line" else level


def with_groups(charge: Charge, groups: Groups) -> Charge:
    """The charge for groups that fill the same tiers together, or of which only the largest is priced."""
    together: Together = "meter_by_day" if charge.tier_level == "day" else "meter"
    if groups == "together":
        return replace(charge, tier_together=together)
    if groups == "largest":
        level: Level = "day" if charge.tier_level == "day" else "line"
        return replace(charge, before=(*charge.before, StepNumbers(Step("partition", level, together))))
    return charge
