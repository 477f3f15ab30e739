"""A rating run beside the one before it of the same kind: what each price came to then and now."""

from dataclasses import dataclass

import polars as pl

from api.engine import Engine
from api.revenue import by_price
from rating.core.money import ZERO, overflow_checked
from rating.core.schema import AMOUNT
from store.runs import Run

LOOKED_BACK = 500
PRICE_MOVE = pl.Schema(
    {"currency": pl.String(), "price": pl.String(), "before": AMOUNT, "after": AMOUNT, "difference": AMOUNT}
)
"""One row is what one price came to in two runs; null is what belongs to a whole plan."""


@dataclass(frozen=True)
class RunsCompared:
    """`moves` is PRICE_MOVE, what rose the most first."""

    before: Run
    moves: pl.DataFrame


def previous(engine: Engine, run: Run) -> Run | None:
    """The newest run that was done before `run` began, of the same kind: of what was due, or of a month; of another
    period where there is one."""
    found = engine.store.runs.page(period=None, after=run.id, limit=LOOKED_BACK)
    alike = [one for one in found if one.status == "done" and one.as_of is None and _sort(one) == _sort(run)]
    others = [one for one in alike if one.period < run.period]
    return max(others, key=lambda one: (one.period, one.started_at), default=next(iter(alike), None))


def _sort(run: Run) -> tuple[str, bool]:
    return run.kind, run.due_until is not None


def compared(engine: Engine, run: Run) -> RunsCompared | None:
    """Null where there is none before. Raises LinesDamaged."""
    before = previous(engine, run)
    if before is None or run.status != "done":
        return None
    sums = [by_price(engine.rating.lines(one.id).collect()) for one in (before, run)]
    return RunsCompared(before, moves(*sums))


@overflow_checked()
def moves(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """PRICE_MOVE of two BY_PRICE."""
    sides = [frame.select("currency", "price", amount.alias(name)) for frame, name, amount in _named(before, after)]
    both = sides[0].join(sides[1], on=["currency", "price"], how="full", coalesce=True, nulls_equal=True)
    filled = both.with_columns(pl.col("before", "after").fill_null(ZERO))
    moved = filled.with_columns(difference=pl.col("after") - pl.col("before")).cast(PRICE_MOVE)
    return moved.select(PRICE_MOVE.names()).sort("difference", "currency", "price", descending=[True, False, False])


def _named(before: pl.DataFrame, after: pl.DataFrame) -> list[tuple[pl.DataFrame, str, pl.Expr]]:
    return [(before, "before", pl.col("amount")), (after, "after", pl.col("amount"))]
