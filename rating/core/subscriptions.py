"""Subscriptions as they are rated: what was agreed at first, and the changes since, cut into rows in which nothing
changes.

What was agreed at first is a change of its own at the start of the subscription, before all others; the end of its
trial and its end are changes of all its items. A price that stands in for one of the plan makes a plan of its own for
the price book, its **variant**.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from rating.core.cycles import CYCLE_SPAN
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

_OWN = ["subscription", "customer", "billed_to"]
_CYCLE = ["interval", "intervals", "anchor"]
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
        *(pl.lit(None, dtype=INSTANT).alias(name) for name in ("anchor", "cycle_from", "cycle_to")),
        pl.col("starts_at").alias("began_at"),
        "starts_at",
        "ends_at",
        pl.col("ends_at").alias("ended_at"),
    ).match_to_schema(SUBSCRIPTION)


def subscriptions_of(terms: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """SUBSCRIPTION of `terms` (TERMS) and `changes` (CHANGE) since, by subscription, item and time."""
    if changes.is_empty():
        return _unchanged(terms).sort(*_ITEM, "starts_at").collect(engine="in-memory")
    changed = terms.join(changes, on="subscription", how="semi")
    simple = _unchanged(terms.join(changes, on="subscription", how="anti"))
    cut = segments(pl.concat([*_agreed(changed), changes.join(changed, on="subscription", how="semi")]))
    timed = cut.rename({"from": "starts_at", "to": "ends_at"}).join(changed.select(_OWN), on="subscription")
    varied = _in_cycles(timed.with_columns(plan=variant("plan", "prices")), billing_cycles(changed, changes))
    found = pl.concat([simple, _with_beginning(varied.lazy())])
    return found.sort(*_ITEM, "starts_at").collect(engine="in-memory")


def billing_cycles(terms: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """CYCLE_SPAN of `terms` (TERMS) and `changes` (CHANGE), by subscription and time. A change to the cycle that holds
    already is none."""
    at = ["subscription", "cycle_from"]
    none = pl.lit(None, dtype=INSTANT)
    said = changes.filter(pl.col("interval").is_not_null()).rename({"effective_at": "cycle_from"})
    always = terms.join(said, on="subscription", how="anti").with_columns(cycle_from=none, cycle_to=none)
    changed = terms.join(said, on="subscription", how="semi")
    agreed = changed.select("subscription", *_CYCLE, cycle_from=none, sequence=_BEFORE_ALL)
    every = pl.concat([agreed, said.select(agreed.columns)], how="vertical_relaxed")
    last = every.sort(*at, "sequence", nulls_last=False).unique(at, keep="last", maintain_order=True)
    is_new = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1).over("subscription")) for name in _CYCLE)
    spans = last.filter(is_new).with_columns(cycle_to=pl.col("cycle_from").shift(-1).over("subscription"))
    zoned = spans.join(changed.select("subscription", "time_zone"), on="subscription")
    both = pl.concat([one.select(CYCLE_SPAN.names()) for one in (always, zoned)])
    return both.sort("subscription", "cycle_from", nulls_last=False)


def _in_cycles(rows: pl.DataFrame, cycles: pl.DataFrame) -> pl.DataFrame:
    """`rows`, each once for each of `cycles` (CYCLE_SPAN) of its subscription that holds in some of its time."""
    met = rows.join(cycles, on="subscription")
    timed = met.with_columns(
        starts_at=pl.max_horizontal("starts_at", "cycle_from"), ends_at=pl.min_horizontal("ends_at", "cycle_to")
    )
    return timed.filter((pl.col("starts_at") < pl.col("ends_at")).fill_null(True))


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
    begins = pl.max_horizontal("starts_at", "trial_ends_at")
    always = {name: pl.lit(None, dtype=INSTANT) for name in ("cycle_from", "cycle_to")}
    own = terms.lazy().with_columns(item=pl.lit(PLAN_ITEM), active_from=begins, ended_at="ends_at", **always)
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
