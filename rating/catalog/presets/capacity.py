"""Blocks and capacity: tiers of blocks of units, and tiers of what was reserved at the peak.

    blocks: for each tier, ceil(its quantity / block_size) x amount
    capacity: the amount of the lowest tier whose limits all hold

Blocks: a tier ends after `blocks` blocks of `block_size` units. Graduated, each tier's part of the quantity is sold in
its own blocks; by volume, all of it in the blocks of the tier that it falls in. 5,325 units in tiers of ten blocks of
100 at 1.00 and then blocks of 1,000 at 1.00 are 10 blocks and, for the other 4,325, 5 blocks: 15.00.

Capacity: a tier names the most of each meter that it holds; the last one holds everything. Peaks of 101 connections and
900 gigabytes, with tiers of 100 / 1,000 at 10.00, 200 / 2,000 at 20.00 and the rest at 30.00, are in the second: 20.00.
Each meter is a line of its own, that of the meter which needs the dearest tier is charged, and the others are nothing.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from rating.catalog.charge import NOTHING, Charge, StepNumbers, TierRow
from rating.catalog.literals import Amount, Count, PositiveQuantity, Quantity
from rating.catalog.part import Part
from rating.catalog.parts import Cell, MeteredPrice, Version
from rating.catalog.problems import Problem
from rating.core.book import Step


class BlockTier(Part):
    """A tier of a number of blocks."""

    block_size: PositiveQuantity
    """How many units one block holds."""
    blocks: Count | None = None
    """How many blocks the tier has; null or absent in the last tier, which is open."""
    amount: Amount
    """What one block costs; a started block is charged whole."""


class BlocksVersion(Version):
    """Tiers of blocks."""

    block_tiers: tuple[BlockTier, ...] = Field(min_length=1)
    """The tiers, one behind the other."""
    mode: Literal["graduated", "volume"] = "graduated"
    """Whether each tier's part is sold in its own blocks, or all of the quantity in those of the tier it falls in."""

    def charge(self) -> Charge:
        rows: list[TierRow] = []
        start = NOTHING
        for tier in self.block_tiers:
            end = None if tier.blocks is None else start + tier.blocks * tier.block_size
            rows.append(TierRow(start, end, flat_amount=tier.amount, flat_per=tier.block_size))
            start = end if end is not None else start
        return Charge(rows, self.mode)


class BlocksPrice(MeteredPrice):
    """Units are sold in blocks, whose size and price go by tiers."""

    model: Literal["blocks"]
    versions: tuple[BlocksVersion, ...] = Field(min_length=1)
    """The tiers and when they changed, oldest first."""

    def problems(self, path: str) -> Iterator[Problem]:
        for index, version in enumerate(self.versions):
            place = f"{path}.versions[{index}].block_tiers"
            for number, tier in enumerate(version.block_tiers):
                is_last = number == len(version.block_tiers) - 1
                if is_last == (tier.blocks is not None) or tier.blocks == 0:
                    found = "" if tier.blocks is None else str(tier.blocks)
                    message = "The last tier is open, and every other has one block or more."
                    cure = "Leave `blocks` out." if is_last else "Write how many blocks the tier has."
                    yield Problem(f"{place}[{number}].blocks", found, message, cure)


Limits = Annotated[dict[str, Quantity], Field(min_length=1)]


class CapacityTier(Part):
    """A tier of capacity."""

    up_to: Quantity | Limits | None = None
    """The most that it holds: of the price's meter, or of each meter by its key; one that is not named has no limit.
    Null or absent in the last tier, which holds everything."""
    amount: Amount
    """What it costs."""

    def limit(self, meter: str) -> Decimal | None:
        """The most of a meter; null: no limit."""
        return self.up_to.get(meter) if isinstance(self.up_to, dict) else self.up_to


class CapacityVersion(Version):
    """Tiers of capacity."""

    capacity_tiers: tuple[CapacityTier, ...] = Field(min_length=1)
    """The tiers from small to large, one not cheaper than the one before."""

    def charge_of(self, cell: Cell) -> Charge:
        [meter] = cell.meters
        dearest = StepNumbers(Step("partition", "line", "group"))
        rows = tuple(_rows(self.capacity_tiers, meter))
        return Charge(rows, "volume", after=(dearest,), flat_when_unused=True)


def _rows(tiers: Sequence[CapacityTier], meter: str) -> Iterator[TierRow]:
    """The tiers that a meter can fall in: one that holds no more of it than the one before is none."""
    start = NOTHING
    for tier in tiers:
        limit = tier.limit(meter)
        if limit is None or limit > start:
            yield TierRow(start, limit, flat_amount=tier.amount)
        if limit is None:
            return
        start = max(start, limit)


class CapacityPrice(MeteredPrice):
    """What was reserved at the peak, of one meter or of several together."""

    model: Literal["capacity"]
    versions: tuple[CapacityVersion, ...] = Field(min_length=1)
    """The tiers and when they changed, oldest first."""

    def cells(self) -> tuple[Cell, ...]:
        return tuple(Cell(number, (meter,), self.match) for number, meter in enumerate(self.meter_keys))

    def problems(self, path: str) -> Iterator[Problem]:
        for index, version in enumerate(self.versions):
            place = f"{path}.versions[{index}].capacity_tiers"
            for number, tier in enumerate(version.capacity_tiers):
                yield from self._of_tier(f"{place}[{number}]", version.capacity_tiers, number, tier)

    def _of_tier(self, path: str, tiers: Sequence[CapacityTier], number: int, tier: CapacityTier) -> Iterator[Problem]:
        if number == len(tiers) - 1 and tier.up_to is not None:
            message = "The last tier must hold everything, or a peak above it would have no price."
            yield Problem(f"{path}.up_to", "", message, "Leave `up_to` out, or add a tier without it.")
        if isinstance(tier.up_to, dict):
            for meter in sorted(tier.up_to.keys() - set(self.meter_keys)):
                yield Problem(f"{path}.up_to.{meter}", "", "The price has no such meter.", "Correct or remove it.")
        elif tier.up_to is not None and len(self.meter_keys) > 1:
            message = "The price has several meters, and this limit does not say of which."
            yield Problem(f"{path}.up_to", "", message, "Write the limit of each meter under its key.")
        if number and tier.amount < tiers[number - 1].amount:
            message = "This tier is cheaper than the one before, so that more would cost less."
            yield Problem(f"{path}.amount", "", message, "Order the tiers from small to large.")
        for meter in self.meter_keys if number else ():
            limit, before = tier.limit(meter), tiers[number - 1].limit(meter)
            if limit is not None and (before is None or limit < before):
                message = f"This tier holds less of `{meter}` than the one before."
                yield Problem(f"{path}.up_to", "", message, "Order the tiers from small to large.")
