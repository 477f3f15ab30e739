"""Calls and data sessions: each event is rated by itself, by the increments that it has begun.

    rated = whole increments of each event (60/60: every begun minute; 30/6: 30 seconds, then every 6)
    for each event: connect_fee + its rated quantity x unit_amount / per, of the in-call tier that each part falls in

`tiers` begin to hold after so much of the same call, each with its own increments: an increment that has begun is rated
whole by the tier that it begins in, so that the next tier begins where it ends. `free_units` come off the rated
quantities, in the order of time and in all bands of the price together; a call that is free as a whole has no connect
fee. Then the amount of each event is held between `minimum_per_event` and `maximum_per_event` and rounded, once, by
`round_each`; that and the connect fee are those of the band in which the call begins.

A call of 75 seconds at 60/60, 0.12 a minute and 0.05 to connect costs 0.05 + 2 x 0.12 = 0.29; at 30/6 it is 78 seconds,
0.05 + 0.156 = 0.206.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, PlainValidator, WithJsonSchema

from rating.catalog.bands import TimeWindow
from rating.catalog.charge import NOTHING, Charge, Number, StepNumbers, TierRow
from rating.catalog.literals import Amount, Per, PositiveQuantity, Quantity, refusal
from rating.catalog.part import Part
from rating.catalog.parts import MeteredPrice, Rounding, TierRange, Version, Wrong
from rating.core.book import Step

DECIMALS_LEAST, DECIMALS_MOST = -9, 20


def _read_decimals(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not DECIMALS_LEAST <= value <= DECIMALS_MOST:
        wanted = f"Write a whole number from {DECIMALS_LEAST} to {DECIMALS_MOST}; -1 is for tens."
        raise refusal("this is not a number of decimals.", wanted)
    return value


EventDecimals = Annotated[
    int,
    PlainValidator(_read_decimals),
    WithJsonSchema({"type": "integer", "minimum": DECIMALS_LEAST, "maximum": DECIMALS_MOST}),
]


class EventRounding(Part):
    """How the amount of each event is rounded."""

    mode: Rounding
    """Half away from zero, half to even, `up` (away from zero) or `down` (toward zero)."""
    decimals: EventDecimals
    """The decimals that are kept; negative for tens, hundreds and so on."""


class CallTier(TierRange):
    """What holds from some point of a call on."""

    unit_amount: Amount
    """What `per` units cost."""
    increment: PositiveQuantity | None = None
    """A begun increment of so many units is rated whole; exact unless given."""

    def amounts(self) -> Mapping[str, Decimal | None]:
        return {"unit_amount": self.unit_amount}


class CallNumbers(Part):
    """The numbers of a call."""

    connect_fee: Amount | None = None
    """What each event costs that anything is charged for, beside its units."""
    unit_amount: Amount | None = None
    """What `per` units cost all through the call; or `tiers`."""
    first_increment: PositiveQuantity | None = None
    """With `unit_amount`: the least that is rated of a call, 30 in 30/6; `increment` unless given."""
    increment: PositiveQuantity | None = None
    """With `unit_amount`: a begun increment of so many units is rated whole, 6 in 30/6; exact unless given."""
    tiers: tuple[CallTier, ...] = ()
    """The tiers of a call, instead of `unit_amount`, from its beginning without gaps; the last one is open."""
    minimum_per_event: Amount | None = None
    """The least that an event costs that anything is charged for."""
    maximum_per_event: Amount | None = None
    """The most that an event costs."""
    round_each: EventRounding | None = None
    """How the amount of each event is rounded; exact unless given."""


class CallBand(TimeWindow, CallNumbers):
    """Numbers for a part of the time. A band with `unit_amount` or `tiers` has none of the version's increments."""


class CallVersion(Version, CallNumbers):
    """The rates of calls."""

    per: Per = 1
    """How many units a `unit_amount` buys: 60 for seconds at a price a minute."""
    free_units: Quantity | None = None
    """How many units are free, the first of the period."""
    bands: tuple[CallBand, ...] = ()
    """Hours, days, seasons and holidays with other numbers."""

    def within(self, window: TimeWindow) -> "CallVersion":
        """What the band says; a band with rates of its own has nothing of the version's rates."""
        assert isinstance(window, CallBand)
        said = {
            name: getattr(window, name) for name in CallNumbers.model_fields if getattr(window, name) not in (None, ())
        }
        own_rates = {"unit_amount", "tiers"} & said.keys()
        inherited = {"unit_amount": None, "tiers": (), "first_increment": None, "increment": None} if own_rates else {}
        return self.model_copy(update={**inherited, **said})

    def wrong(self) -> Iterator[Wrong]:
        yield from _wrong(self, "")
        for index, band in enumerate(self.bands):
            if {"unit_amount", "tiers", "increment", "first_increment"} & band.model_fields_set:
                yield from _wrong(band, f"bands[{index}].")

    def charge(self) -> Charge:
        ranges = ranges_of(self)
        increments: dict[str, Number] = {}
        if any(it.increment is not None for it in ranges):
            increments["increments_from"] = [it.start for it in ranges]
            increments["increments"] = [it.increment for it in ranges]
        bounds: dict[str, Number] = {}
        if self.minimum_per_event is not None:
            bounds["minimum"] = self.minimum_per_event
        if self.maximum_per_event is not None:
            bounds["maximum"] = self.maximum_per_event
        if self.round_each is not None:
            bounds |= {"multiple": Decimal(1).scaleb(-self.round_each.decimals), "rounding": self.round_each.mode}
        free = () if self.free_units is None else (_free(self.free_units),)
        return Charge(
            _tier_rows(ranges, self.connect_fee or NOTHING),
            "graduated",
            self.per,
            before=(StepNumbers(Step("weight", "event", "event"), increments), *free),
            after=(StepNumbers(Step("clamp", "event", "event"), bounds),),
            tier_level="event",
        )


class CallPrice(MeteredPrice):
    """Each event is rated by itself, by its begun increments and how long it lasts."""

    model: Literal["call"]
    versions: tuple[CallVersion, ...] = Field(min_length=1)
    """The rates and when they changed, oldest first."""


def _free(units: Decimal) -> StepNumbers:
    return StepNumbers(Step("allow", "event", "bands"), {"units": units})


class Range(NamedTuple):
    """A part of a call (`start`, `end`] with its rate and its increments; null is the open one, or no increments."""

    start: Decimal
    end: Decimal | None
    unit_amount: Decimal
    increment: Decimal | None


def ranges_of(numbers: CallNumbers) -> list[Range]:
    """The parts of a call, each a whole number of its increments: what one of them has begun, the next cannot have."""
    start, found = NOTHING, list[Range]()
    for up_to, unit_amount, increment in _written(numbers):
        if up_to is not None and up_to <= start:
            continue
        end = up_to
        if up_to is not None and increment is not None:
            end = start + ((up_to - start) / increment).to_integral_value(ROUND_CEILING) * increment
        found.append(Range(start, end, unit_amount, increment))
        start = end if end is not None else start
    return found


def _written(numbers: CallNumbers) -> Sequence[tuple[Decimal | None, Decimal, Decimal | None]]:
    if numbers.tiers:
        return [(tier.up_to, tier.unit_amount, tier.increment) for tier in numbers.tiers]
    amount, first = numbers.unit_amount or NOTHING, numbers.first_increment
    rest = (None, amount, numbers.increment)
    return [rest] if first is None else [(first, amount, first), rest]


def _tier_rows(ranges: Sequence[Range], connect_fee: Decimal) -> tuple[TierRow, ...]:
    """The ranges, those that follow each other at one rate as one tier."""
    changes = [
        it
        for before, it in zip([None, *ranges], ranges, strict=False)
        if before is None or before.unit_amount != it.unit_amount
    ]
    ends = [*(it.start for it in changes[1:]), None]
    return tuple(
        TierRow(it.start, end, it.unit_amount, NOTHING if it.start else connect_fee)
        for it, end in zip(changes, ends, strict=True)
    )


def _wrong(numbers: CallNumbers, place: str) -> Iterator[Wrong]:
    if (numbers.unit_amount is None) == (not numbers.tiers):
        cure = "Write `unit_amount`, or `tiers` where the rate changes during a call."
        yield Wrong(f"{place}unit_amount", "A call has one of `unit_amount` and `tiers`.", cure)
    if numbers.tiers and (numbers.increment is not None or numbers.first_increment is not None):
        cure = "Write `increment` in each of the tiers."
        yield Wrong(f"{place}increment", "Increments of tiers are written in the tiers.", cure)
