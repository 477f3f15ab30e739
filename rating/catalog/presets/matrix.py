"""Matrix and weighted matrix: what a unit costs, or counts for, is in a table by the values of dimensions.

    matrix: for each cell, its quantity x unit_amount / per
    weighted matrix: the sum over all cells of quantity x factor; its tiers, as in graduated and volume

A cell names values of one or more dimensions; usage belongs to the cell that names most of its values, and to the
default where none fits. Each cell is a line of its own. Worked example: 10 hours in eu at 0.50, 4 in us at 0.40 and 2
elsewhere at 0.60 cost 5.00 + 1.60 + 1.20 = 7.80. Weighted by factors 1, 2 and 4 at 0.10 a unit they are 10 + 8 + 8 = 26
units, 2.60.

The cells of a price are matched like prices are (rating/core/matching.py), so a matrix of any size is one join. A line
of a weighted matrix begins in the tiers where the line before it ended, in the order of the cells.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from rating.catalog.charge import Charge, StepNumbers, one_tier
from rating.catalog.literals import Amount, Per, Quantity
from rating.catalog.part import Part
from rating.catalog.parts import Cell, MeteredPrice, Tier, Version, tier_rows
from rating.catalog.presets.counting import TieredBase
from rating.catalog.problems import Problem
from rating.core.book import Step

Match = Annotated[dict[str, str], Field(min_length=1)]


class MatrixCell(Part):
    """What usage with some values of the meter's dimensions costs."""

    match: Match
    """The values of dimensions."""
    unit_amount: Amount
    """What `per` units cost."""


class WeightedCell(Part):
    """What usage with some values of the meter's dimensions counts for."""

    match: Match
    """The values of dimensions."""
    factor: Quantity
    """How many units one counts for."""


class CellVersion(Version):
    """A table by dimensions."""

    def table(self) -> Sequence[Any]:
        """Its cells."""
        raise NotImplementedError

    def number_of(self, match: Mapping[str, str]) -> Decimal | None:
        """The number of the cell that says most of `match`; the default's where none fits, null without one."""
        fitting = [cell for cell in self.table() if cell.match.items() <= match.items()]
        return self.number(max(fitting, key=lambda cell: len(cell.match))) if fitting else self.default()

    def number(self, cell: Any) -> Decimal:
        """What the table says of a cell."""
        raise NotImplementedError

    def default(self) -> Decimal | None:
        """What it says of the rest; null: it says nothing."""
        raise NotImplementedError


class MatrixVersion(CellVersion):
    """A rate for each cell."""

    cells: tuple[MatrixCell, ...] = Field(min_length=1)
    """The cells."""
    unit_amount: Amount | None = None
    """What `per` units cost that belong to no cell; without it they have no price."""
    per: Per = 1
    """How many units a `unit_amount` buys."""

    def table(self) -> Sequence[MatrixCell]:
        return self.cells

    def number(self, cell: MatrixCell) -> Decimal:
        return cell.unit_amount

    def default(self) -> Decimal | None:
        return self.unit_amount

    def charge_of(self, cell: Cell) -> Charge:
        amount = self.number_of(cell.match)
        assert amount is not None, "every cell was checked to have a rate in every version"
        return Charge(one_tier(unit_amount=amount), per=self.per)


class WeightedMatrixVersion(CellVersion):
    """A factor for each cell, and tiers of the weighted sum."""

    cells: tuple[WeightedCell, ...] = Field(min_length=1)
    """The cells."""
    factor: Quantity | None = None
    """How many units one counts for that belongs to no cell; without it it has no price."""
    tiers: tuple[Tier, ...] = Field(min_length=1)
    """The tiers of the weighted sum; one open tier where each weighted unit costs the same."""
    mode: Literal["graduated", "volume"] = "graduated"
    """Whether each weighted unit costs what its own tier says, or all of them what the last one's says."""
    per: Per = 1
    """How many weighted units a tier's `unit_amount` buys."""

    def table(self) -> Sequence[WeightedCell]:
        return self.cells

    def number(self, cell: WeightedCell) -> Decimal:
        return cell.factor

    def default(self) -> Decimal | None:
        return self.factor

    def charge_of(self, cell: Cell) -> Charge:
        factor = self.number_of(cell.match)
        assert factor is not None, "every cell was checked to have a factor in every version"
        weighted = StepNumbers(Step("weight"), {"factor": factor})
        return Charge(tier_rows(self.tiers), self.mode, self.per, before=(weighted,), tier_together="price")


class CellPrice(MeteredPrice):
    """A price with a table by dimensions."""

    def tables(self) -> Sequence[CellVersion]:
        """Its versions."""
        raise NotImplementedError

    def cells(self) -> tuple[Cell, ...]:
        """The cells of all versions in the order of the first that has them, and the default behind them."""
        found: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}
        for version in self.tables():
            for cell in version.table():
                found.setdefault(tuple(sorted(cell.match.items())), cell.match)
        rest: list[Mapping[str, str]] = [{}] if any(version.default() is not None for version in self.tables()) else []
        matches = [*found.values(), *rest]
        return tuple(Cell(n, self.meter_keys, {**self.match, **match}) for n, match in enumerate(matches))

    def problems(self, path: str) -> Iterator[Problem]:
        for index, version in enumerate(self.tables()):
            place = f"{path}.versions[{index}]"
            yield from self._repeated(f"{place}.cells", version)
            for cell in self.cells():
                if version.number_of(cell.match) is None:
                    said = ", ".join(f"{name} {value}" for name, value in sorted(cell.match.items())) or "all the rest"
                    message = f"Another version has a cell for {said}; in this version that usage has no price."
                    yield Problem(f"{place}.cells", "", message, "Add the cell, or a default for the rest.")

    def _repeated(self, path: str, version: CellVersion) -> Iterator[Problem]:
        cells = version.table()
        for index, cell in enumerate(cells):
            if any(cell.match == other.match for other in cells[:index]):
                message = "An earlier cell matches the same values."
                yield Problem(f"{path}[{index}].match", "", message, "Keep one of them.")
            for dimension in sorted(cell.match.keys() & self.match.keys()):
                message = f"The price matches the dimension `{dimension}` already."
                yield Problem(f"{path}[{index}].match.{dimension}", "", message, "Remove it here or from the price.")


class MatrixPrice(CellPrice):
    """A rate for each cell of a table by dimensions."""

    model: Literal["matrix"]
    versions: tuple[MatrixVersion, ...] = Field(min_length=1)
    """The table and when it changed, oldest first."""

    def tables(self) -> Sequence[MatrixVersion]:
        return self.versions


class WeightedMatrixPrice(TieredBase, CellPrice):
    """A factor for each cell of a table by dimensions, and tiers of the weighted sum."""

    model: Literal["weighted_matrix"]
    versions: tuple[WeightedMatrixVersion, ...] = Field(min_length=1)
    """The table and when it changed, oldest first."""

    def tables(self) -> Sequence[WeightedMatrixVersion]:
        return self.versions
