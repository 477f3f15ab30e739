"""The versions of all prices to rates: RATE, TIER and the numbers of each operator, one frame each."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import polars as pl

from rating.catalog.allowances import with_allowance
from rating.catalog.charge import Charge, Number, StepNumbers
from rating.catalog.compiling_bands import bands_of
from rating.catalog.frames import Row, frame_of
from rating.catalog.literals import SINCE_EVER
from rating.catalog.parts import Version
from rating.catalog.presets import Price
from rating.catalog.rounding import rounded_charge
from rating.core import schema
from rating.core.bands import Calendar
from rating.core.book import Chain, Operator
from rating.core.money import plain

FOR_EVER = datetime(9999, 12, 31, tzinfo=UTC)
_NUMBERS: dict[Operator, pl.Schema] = {
    "weight": schema.WEIGHT,
    "allow": schema.ALLOW,
    "clamp": schema.CLAMP,
    "compose": schema.COMPOSE,
    "prorate": schema.PRORATE,
}


@dataclass(frozen=True)
class Rates:
    """What the versions of all prices charge; the frames of PriceBook by these names."""

    chains: tuple[Chain, ...]
    calendars: tuple[Calendar, ...]
    rates: pl.DataFrame
    bands: pl.DataFrame
    tiers: pl.DataFrame
    weights: pl.DataFrame
    allowances: pl.DataFrame
    clamps: pl.DataFrame
    compositions: pl.DataFrame
    prorations: pl.DataFrame


def rates_of(prices: Mapping[str, Price], in_allowances: Collection[str] = ()) -> Rates:
    """The rates, numbered in the order of price, version and window; equal chains are one. Prices `in_allowances`
    charge for what an allowance of a plan leaves of their usage."""
    rates: list[Row] = []
    tiers: list[Row] = []
    steps: dict[Operator, list[Row]] = {operator: [] for operator in _NUMBERS}
    chains: dict[Chain, int] = {}
    for place, charged in _charges(prices):
        charge = with_allowance(charged) if place[0] in in_allowances else charged
        rate = len(rates)
        chain = chains.setdefault(charge.chain(), len(chains))
        all_steps = (*charge.before, *charge.after)
        shown = [_text(step) for step in all_steps]
        numbers = charge.tier_mode, charge.flat_when_unused, charge.per, charge.size, charge.tiers_by
        rates.append((rate, *place, chain, *numbers, *(charge.window or (None, None)), shown))
        tiers.extend((rate, index, *row) for index, row in enumerate(charge.tiers))
        for index, step in enumerate(all_steps):
            if (columns := _NUMBERS.get(step.step.operator)) is not None:
                steps[step.step.operator].append((rate, index, *_columns(step, columns)))
    numbered = frame_of(schema.RATE, rates)
    windows = {(key, n): it.windows for key, price in prices.items() for n, _, it in versions_of(price)}
    calendars, bands = bands_of(windows, numbered)
    return Rates(
        tuple(chains),
        calendars,
        numbered,
        bands,
        frame_of(schema.TIER, tiers),
        *(frame_of(numbers, steps[operator]) for operator, numbers in _NUMBERS.items()),
    )


def _charges(prices: Mapping[str, Price]) -> Iterator[tuple[Row, Charge]]:
    """Of each version, its bands and cells: price, version, span, window, cell, pool; and what it charges."""
    pools = count()
    for key, price in prices.items():
        cells = price.cells()
        for index, span, version in versions_of(price):
            for window, of_day in _rated(version):
                pool = next(pools)
                for cell in cells:
                    charge = rounded_charge(price, price.shaped(of_day.charge_of(cell)))
                    assert charge is not None, "checked by check_prices"
                    yield (key, index, *span, window, cell.number, pool), charge


def _rated(version: Version) -> Iterator[tuple[int | None, Version]]:
    """The version outside its bands, and within each: its number, and the numbers then."""
    yield None, version
    for number, window in enumerate(version.windows):
        yield number, version.within(window)


def versions_of(price: Price) -> Iterator[tuple[int, tuple[datetime, datetime], Version]]:
    """The versions with their number and the span in which each is in force: [from, to)."""
    versions: Sequence[Version] = price.versions
    starts = [version.effective_from or SINCE_EVER for version in versions]
    for index, version in enumerate(versions):
        yield index, (starts[index], starts[index + 1] if index + 1 < len(starts) else FOR_EVER), version


def _columns(step: StepNumbers, numbers: pl.Schema) -> list[Any]:
    names = [name for name in numbers if name not in ("rate", "step")]
    assert step.numbers.keys() <= set(names), f"{step.step.operator} has no {step.numbers.keys() - set(names)}"
    return [step.numbers.get(name) for name in names]


def _text(step: StepNumbers) -> str:
    given = {n: _shown(v) for n, v in sorted(step.numbers.items())}
    if step.step.property is not None:
        given["instead_property" if step.step.instead else "times_property"] = step.step.property
    return json.dumps(given, separators=(",", ":"))


def _shown(number: Number) -> str:
    if isinstance(number, Decimal):
        return plain(number)
    if isinstance(number, Sequence) and not isinstance(number, str):
        return " ".join("exact" if one is None else plain(one) for one in number)
    return str(number).lower()
