"""Prepaid credits in the catalog file: what a plan grants its subscribers, in money or in units."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pydantic import Field

from rating.catalog.frames import Row
from rating.catalog.left_out import LeftOut
from rating.catalog.literals import Amount, Count, Names, PositiveQuantity, Quantity
from rating.catalog.part import Part
from rating.catalog.problems import Problem, show
from rating.core.credits.schema import UNITS
from rating.core.proration import Proration

PERIODS_MAX = 1_200


class Credit(Part):
    """A grant of prepaid credits. Exactly one of `amount` and `units` is given."""

    amount: Amount | None = None
    """So much money, in the plan's currency: it pays charge lines."""
    units: PositiveQuantity | None = None
    """So many units of usage: it takes them off before they are priced."""
    recurs: Literal["period", "once"] = "period"
    """Granted in each billing period, or once, in the period in which the subscription begins."""
    lasts_periods: Count | None = 1
    """How many billing periods a grant lasts, the one in which it is granted included; null: it does not expire."""
    prorate: Proration | None = None
    """How the part of a billing period in which the plan is in force is counted, where only that part is granted: in
    `seconds`, in `days` of the customer's calendar, or in `30_days` a month. Without it all is granted."""
    priority: int = Field(100, ge=0, le=1_000_000)
    """Which of several is burnt first: the smaller number."""
    rollover_minimum: Quantity | None = None
    """What is left when a period ends is raised to this; needs `rollover_maximum`."""
    rollover_maximum: Quantity | None = None
    """Of what is left when a period ends no more than this is kept; absent: all, as long as the grant lasts."""
    features: Names = ()
    """It pays usage of these features only; with `meters`, of both."""
    meters: Names = ()
    """It pays usage of these meters only."""
    prices: Names = ()
    """It pays lines of these prices only; a trailing `*` stands for every price whose key begins so."""
    cost_basis: Amount | None = None
    """What was paid for one unit of it, to show beside each burn."""


def credit_rows(
    plan: str, currency: str, credits: Mapping[str, Credit], meter_of: Mapping[str, str], prices: Sequence[str]
) -> Iterator[Row]:
    """PLAN_CREDIT of a plan. `meter_of` says the meter of each feature; `prices` are the keys of its prices."""
    for key, credit in sorted(credits.items()):
        meters = sorted({*credit.meters, *(meter_of[feature] for feature in credit.features)})
        paid = sorted({price for pattern in credit.prices for price in prices if _means(pattern, price)})
        unit, amount = (UNITS, credit.units) if credit.units is not None else (currency, credit.amount)
        bounds = (credit.rollover_minimum, credit.rollover_maximum)
        scope = (meters if credit.features or credit.meters else None, paid if credit.prices else None)
        yield (
            plan, key, unit, amount, credit.priority, credit.recurs, credit.lasts_periods, *bounds, *scope,
            credit.cost_basis, credit.prorate,
        )  # fmt: skip


def _means(pattern: str, price: str) -> bool:
    return price.startswith(pattern[:-1]) if pattern.endswith("*") else price == pattern


def check_credits(
    path: str,
    credits: Mapping[str, Credit],
    known: Mapping[str, Sequence[str]],
    left_out: LeftOut,
) -> Iterator[Problem]:
    """The problems of a plan's credits. `known` are the keys of `features`, `meters` and (the plan's own) `prices`."""
    for key, credit in credits.items():
        place = f"{path}.credits.{key}"
        yield from _check_numbers(place, credit)
        for section, names in (("features", credit.features), ("meters", credit.meters)):
            for name in names:
                if name not in known[section] and not left_out.covers(section, name):
                    yield left_out.unknown(f"{place}.{section}", section[:-1], name, known[section])
        for index, pattern in enumerate(credit.prices):
            covered = left_out.covers("prices", pattern) or left_out.covers_any("prices", pattern.rstrip("*"))
            if not covered and not any(_means(pattern, price) for price in known["prices"]):
                message = "The plan has no price of this name: the credit could never pay anything by it."
                yield Problem(f"{place}.prices[{index}]", f'"{pattern}"', message, "Name a price of the plan.")


def _check_numbers(place: str, credit: Credit) -> Iterator[Problem]:
    if (credit.amount is None) == (credit.units is None):
        yield Problem(place, "", "A credit is in money or in units.", "Give one of `amount` and `units`.")
    if credit.amount is not None and credit.amount == 0:
        yield Problem(f"{place}.amount", "0", "A credit of nothing pays nothing.", "Write an amount above zero.")
    if credit.prorate is not None and credit.recurs == "once":
        message = "What is granted once is for no billing period of which there could be a part."
        yield Problem(f"{place}.prorate", show(credit.prorate), message, "Remove it, or `recurs: once`.")
    if credit.lasts_periods == 0:
        message = "The credit would expire before it can be used."
        yield Problem(f"{place}.lasts_periods", "0", message, "Write 1 or more, or null.")
    elif credit.lasts_periods is not None and credit.lasts_periods > PERIODS_MAX:
        message = "No credit lasts so long."
        yield Problem(f"{place}.lasts_periods", str(credit.lasts_periods), message, "Write null: it does not expire.")
    if credit.rollover_minimum is not None and credit.rollover_maximum is None:
        yield Problem(f"{place}.rollover_minimum", "", "There is no maximum.", "Add `rollover_maximum`.")
    elif (credit.rollover_minimum or 0) > (credit.rollover_maximum or 0):
        yield Problem(f"{place}.rollover_minimum", "", "It is above `rollover_maximum`.", "Correct one of them.")
    if credit.rollover_maximum is not None and credit.lasts_periods == 1:
        message = "The credit expires with its period, so that nothing is left to roll over."
        yield Problem(f"{place}.rollover_maximum", "", message, "Write `lasts_periods: 2` or more, or null.")
