"""Subscriptions as they are rated: what was agreed at first, and the changes since, cut into rows in which nothing
changes.

What was agreed at first is a change of its own at the start of the subscription, before all others; the end of its
trial and its end are changes of all its items. A price that stands in for one of the plan makes a plan of its own for
the price book, its **variant**.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from rating.core.schema import INSTANT, QUANTITY, SUBSCRIPTION
from rating.core.timeline import AFTER_TRIAL, CHANGE, NO_PRICES, segments

PLAN_ITEM = "plan"

TERMS = pl.Schema(
    {
        "subscription": pl.String(),
        "customer": pl.String(),
        "billed_to": pl.String(),
        "time_zone": pl.String(),
        "interval": pl.String(),  # CYCLE, here and below
        "intervals": pl.Int64(),
        "anchor": INSTANT,
        "plan": pl.String(),
        "seats": QUANTITY,
        "starts_at": INSTANT,
        "trial_ends_at": INSTANT,  # null: no trial
        "ends_at": INSTANT,  # null: open end
    }
)
"""One row is what was agreed of one subscription at first."""

_OWN = ["subscription", "customer", "billed_to", "time_zone", "interval", "intervals", "anchor"]
_BEFORE_ALL = -4  # the sequence of what was agreed at first: of one instant the changes recorded later win
_ITEM = ["subscription", "item"]


def plain_subscriptions(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """SUBSCRIPTION of rows (subscription, customer, plan, time_zone, starts_at, ends_at): one plan that never changes,
    one seat, calendar months."""
    columns = ("subscription", "customer", "plan", "time_zone", "starts_at", "ends_at")
    given = pl.DataFrame(rows, schema={name: SUBSCRIPTION[name] for name in columns}, orient="row")
    return plain(given)


def plain(given: pl.DataFrame) -> pl.DataFrame:
    """The same for a frame with these columns."""
    return given.select(
        "subscription",
        pl.lit(PLAN_ITEM).alias("item"),
        "customer",
        pl.col("customer").alias("billed_to"),
        "plan",
        pl.lit(1).cast(QUANTITY).alias("seats"),
        pl.lit("active").alias("state"),
        "time_zone",
        pl.lit("month").alias("interval"),
        pl.lit(1, dtype=pl.Int64).alias("intervals"),
        pl.lit(None, dtype=INSTANT).alias("anchor"),
        pl.col("starts_at").alias("began_at"),
        "starts_at",
        "ends_at",
    ).match_to_schema(SUBSCRIPTION)


def subscriptions_of(terms: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """SUBSCRIPTION of `terms` (TERMS) and `changes` (CHANGE) since, by subscription, item and time."""
    if changes.is_empty():
        return _unchanged(terms).sort(*_ITEM, "starts_at").collect(engine="in-memory")
    changed = terms.join(changes, on="subscription", how="semi")
    simple = _unchanged(terms.join(changes, on="subscription", how="anti"))
    cut = segments(pl.concat([*_agreed(changed), changes.join(changed, on="subscription", how="semi")]))
    timed = cut.rename({"from": "starts_at", "to": "ends_at"}).join(changed.select(_OWN), on="subscription")
    varied = timed.with_columns(plan=variant("plan", "prices"))
    found = pl.concat([simple, _with_beginning(varied.lazy())])
    return found.sort(*_ITEM, "starts_at").collect(engine="in-memory")


def variant(plan: str, prices: str) -> pl.Expr:
    """The key under which the price book has a plan with some prices in place of its own."""
    return pl.when(pl.col(prices) == NO_PRICES).then(plan).otherwise(pl.concat_str(plan, pl.lit(" "), prices))


def is_variant() -> pl.Expr:
    """Whether the column `plan` has a variant."""
    return pl.col("plan").str.contains(" ", literal=True)


def plan_of_variant() -> pl.Expr:
    """The plan that a variant in the column `plan` is of: keys have no spaces."""
    return pl.col("plan").str.splitn(" ", 2).struct.field("field_0").alias("plan")


def _unchanged(terms: pl.DataFrame) -> pl.LazyFrame:
    """SUBSCRIPTION of subscriptions without changes: one row, or one for the trial and one behind it."""
    own = terms.lazy().with_columns(item=pl.lit(PLAN_ITEM), active_from=pl.max_horizontal("starts_at", "trial_ends_at"))
    active = own.with_columns(state=pl.lit("active"), starts_at="active_from")
    in_trial = own.filter(pl.col("trial_ends_at") > pl.col("starts_at"))
    trial = in_trial.with_columns(state=pl.lit("trial"), ends_at=pl.min_horizontal("trial_ends_at", "ends_at"))
    lasting = pl.concat([active, trial]).filter((pl.col("starts_at") < pl.col("ends_at")).fill_null(True))
    return _with_beginning(lasting)


def _with_beginning(rows: pl.LazyFrame) -> pl.LazyFrame:
    first = pl.col("starts_at").filter(pl.col("state") == "active").min().over(_ITEM)
    return rows.with_columns(began_at=first).select(SUBSCRIPTION.names()).cast(SUBSCRIPTION)


def _agreed(terms: pl.DataFrame) -> list[pl.DataFrame]:
    """CHANGE of what was agreed at first."""
    is_trial = (pl.col("trial_ends_at") > pl.col("starts_at")).fill_null(False)
    begins = pl.when(is_trial).then(pl.lit("trial")).otherwise(pl.lit("active"))
    of_plan = {"item": pl.lit(PLAN_ITEM), "plan": pl.col("plan"), "seats": pl.col("seats")}
    return [
        _first_change(terms, "starts_at", 0, **of_plan),
        _first_change(terms, "starts_at", 1, state=begins),
        _first_change(terms.filter(is_trial), "trial_ends_at", 2, state=pl.lit(AFTER_TRIAL)),
        _first_change(terms.filter(pl.col("ends_at").is_not_null()), "ends_at", 3, state=pl.lit("ended")),
    ]


def _first_change(terms: pl.DataFrame, at: str, place: int, **values: pl.Expr) -> pl.DataFrame:
    known = {"effective_at": pl.col(at), "recorded_at": pl.col(at), "sequence": pl.lit(_BEFORE_ALL + place), **values}
    absent = {name: pl.lit(None) for name in CHANGE if name not in known and name != "subscription"}
    return terms.select("subscription", **known, **absent).select(CHANGE.names()).cast(CHANGE)
