"""A subscription over time: from the changes that were recorded to the segments in which nothing changes.

A change says what holds from an instant on: the plan, the number of seats, whether the subscription is in force. What
it leaves out stays as it was. At one instant the change that was recorded last wins. A change may be recorded before or
after it takes effect: an upgrade on a date, a phase of a trial and a correction of the past are all the same row. What
was known at an earlier instant is the timeline of the changes that were recorded by then.

An **item** is what a subscription holds beside others: its plan is the item `plan`, an add-on is one of its own. A
change without an item holds for all of them.
"""

from datetime import UTC, datetime

import polars as pl

from rating.core.schema import INSTANT, QUANTITY

CHANGE = pl.Schema(
    {
        "subscription": pl.String(),
        "item": pl.String(),  # null: all items of the subscription
        "effective_at": INSTANT,
        "recorded_at": INSTANT,
        "sequence": pl.Int64(),  # in which changes were recorded; unique
        "plan": pl.String(),  # null: as before, here and below
        "seats": QUANTITY,
        "state": pl.String(),  # active | trial | paused | ended | after_trial: active, where it was a trial until then
        "prices": pl.String(),  # prices that stand in for those of the plan: `{"price": "other"}`, keys in order
        "interval": pl.String(),  # of its billing periods from then on, with both below; null: as before
        "intervals": pl.Int64(),
        "anchor": INSTANT,  # null: on the calendar
    }
)
"""One row is one change of a subscription."""

SEGMENT = pl.Schema(
    {
        "subscription": pl.String(),
        "item": pl.String(),
        "from": INSTANT,
        "to": INSTANT,  # null: open end
        "plan": pl.String(),
        "seats": QUANTITY,
        "state": pl.String(),  # active | trial
        "prices": pl.String(),
        "ended_at": INSTANT,  # when all items of the subscription have ended, at `to` or later; null: never
    }
)
"""One row is one item of a subscription on [`from`, `to`), in which nothing of it changes. Where it is paused or has
ended there is no row."""

NO_PRICES = "{}"
_VALUES = ["plan", "seats", "state", "prices"]
_IN_FORCE = ("active", "trial")
AFTER_TRIAL = "after_trial"
_NEVER = pl.lit(datetime(9999, 12, 31, tzinfo=UTC), dtype=INSTANT)


def segments(changes: pl.DataFrame) -> pl.DataFrame:
    """SEGMENT of `changes` (CHANGE), by subscription, item and time.

    A change that changes nothing makes no segment; neither does one that another of the same instant takes back.
    """
    of_items = _of_items(changes.lazy())
    by = ["subscription", "item"]
    ordered = of_items.sort(*by, "effective_at", "sequence").with_columns(state=_said_state(by))
    filled = ordered.with_columns(pl.col(_VALUES).forward_fill().over(by))
    known = filled.filter(pl.col("plan").is_not_null()).with_columns(
        pl.col("state").fill_null("active"),
        pl.col("seats").fill_null(1).cast(QUANTITY),
        pl.col("prices").fill_null(NO_PRICES),
    )
    last = known.unique([*by, "effective_at"], keep="last", maintain_order=True)
    before = [pl.col(name).shift(1).over(by) for name in _VALUES]
    is_new = pl.any_horizontal(pl.col(name).ne_missing(old) for name, old in zip(_VALUES, before, strict=True))
    changed = last.filter(is_new).with_columns(to=pl.col("effective_at").shift(-1).over(by))
    spans = changed.rename({"effective_at": "from"}).collect()
    in_force = spans.filter(pl.col("state").is_in(_IN_FORCE))
    return _with_end(in_force, _ends(spans)).select(SEGMENT.names()).sort(*by, "from")


def _ends(spans: pl.DataFrame) -> pl.DataFrame:
    """`subscription` and `ended_at`: each instant at which the last of its items ends, be it in force or paused."""
    ending = spans.filter(pl.col("state") == "ended").select("subscription").unique()  # the others never end
    own = spans.join(ending, on="subscription", how="semi")
    lasting = own.filter(pl.col("state") != "ended").sort("subscription", "from")
    until = pl.col("to").fill_null(_NEVER).cum_max().over("subscription")
    following = pl.col("from").shift(-1).over("subscription").fill_null(_NEVER)
    return lasting.with_columns(ended_at=until).filter(until < following).select("subscription", "ended_at")


def _with_end(rows: pl.DataFrame, ends: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the first of `ends` at or behind the end of each."""
    closes = pl.col("to").is_not_null() & pl.col("subscription").is_in(ends["subscription"].unique().implode())
    open_ones = rows.filter(~closes).with_columns(ended_at=pl.lit(None, dtype=INSTANT))
    closed = rows.filter(closes).sort("to")
    met = closed.join_asof(
        ends.sort("ended_at"),
        left_on="to",
        right_on="ended_at",
        by="subscription",
        strategy="forward",
        coalesce=False,
        check_sortedness=False,  # it is not checked within groups, and both were sorted
    )
    return pl.concat([open_ones, met.select(open_ones.columns)])


def _of_items(changes: pl.LazyFrame) -> pl.LazyFrame:
    """Changes with their item: those of all items once for each item of the subscription."""
    items = changes.filter(pl.col("item").is_not_null()).select("subscription", "item").unique()
    common = changes.filter(pl.col("item").is_null()).drop("item").join(items, on="subscription")
    return pl.concat([changes.filter(pl.col("item").is_not_null()), common.select(CHANGE.names())])


def _said_state(by: list[str]) -> pl.Expr:
    """The state that each change says: the end of a trial says nothing of what was paused or has ended by then."""
    is_over = (pl.col("state") == AFTER_TRIAL).fill_null(False)
    said = pl.when(~is_over).then("state")
    before = said.forward_fill().over(by)
    return pl.when(is_over & (before == "trial")).then(pl.lit("active")).otherwise(said)
