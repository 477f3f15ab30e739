"""Adjustments in the catalog file: what a price or a plan adds to its charge lines or takes off."""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from rating.catalog.frames import Row
from rating.catalog.literals import Amount, currency_digits
from rating.catalog.part import Part
from rating.core.money import plain
from rating.core.proration import Proration


class AdjustmentPart(Part):
    """What every adjustment has."""

    of: Literal["all", "usage", "fees"] = "all"
    """The charge lines that count: all of the price or plan, those of usage, or the fees."""
    items: Literal["own", "all"] = "own"
    """Of a plan: whether its own lines count, or those of `all` items of the subscription in the plan's currency,
    add-ons included. What is taken of all items comes behind what each item has of its own."""


class ProratedPart(AdjustmentPart):
    """An adjustment with an amount for a whole period."""

    prorate: Proration | None = None
    """How the part of a billing period that is served is counted, where only that part of the amount holds: `seconds`,
    `days` or `30_days`, as of a fee. Without it the whole amount does."""


class Minimum(ProratedPart):
    """The least that is charged in a period, used or not."""

    kind: Literal["minimum"]
    amount: Amount
    """The least."""


class Maximum(ProratedPart):
    """The most that is charged in a period."""

    kind: Literal["maximum"]
    amount: Amount
    """The most."""


class Discount(AdjustmentPart):
    """Something off, never more than there is. One of `percent` and `amount` is given."""

    kind: Literal["discount"]
    percent: Amount | None = None
    """How much off, in percent."""
    amount: Amount | None = None
    """How much off."""


class Surcharge(AdjustmentPart):
    """Something on top. One of `percent` and `amount` is given."""

    kind: Literal["surcharge"]
    percent: Amount | None = None
    """How much more, in percent."""
    amount: Amount | None = None
    """How much more."""


class Commitment(ProratedPart):
    """An amount that was promised for each period."""

    kind: Literal["commitment"]
    amount: Amount
    """What was promised."""
    overage_multiplier: Amount = Decimal(1)
    """What is charged above it costs so many times as much."""
    true_up: bool = True
    """Whether what is missing to it is charged."""


Adjustment = Annotated[Minimum | Maximum | Discount | Surcharge | Commitment, Field(discriminator="kind")]


def adjustment_columns(adjustments: Sequence[Adjustment], currency: str, rounding: str) -> Iterator[Row]:
    """The columns of ADJUSTMENT from `place` on, for each in its order."""
    for place, adjustment in enumerate(adjustments):
        numbers = _numbers(adjustment)
        shown = {name: plain(number) for name, number in numbers.items()}
        true_up = adjustment.true_up if isinstance(adjustment, Commitment) else False
        values = (numbers.get("amount"), numbers.get("percent"), numbers.get("overage_multiplier"), true_up)
        written = json.dumps(shown, separators=(",", ":"))
        by = adjustment.prorate if isinstance(adjustment, ProratedPart) else None
        yield place, adjustment.kind, adjustment.of, *values, currency, currency_digits(currency), rounding, by, written


def _numbers(adjustment: Adjustment) -> Mapping[str, Decimal]:
    return {name: value for name, value in adjustment if isinstance(value, Decimal)}
