"""When the usable grants of a customer change, and in which order changes of one instant are made.

    1 refund     2 expiry, void     3 rollover (a reset)     4 recurrence     5 a grant begins

So what is refunded at the instant of an expiry expires, what expires at a reset does not roll over, a recurrence at a
reset gives the full amount again, and a grant that begins at a reset is not touched by it. Burns of the instant come
after all of them: a grant is usable on [effective_at, expires_at).
"""

from datetime import datetime

import polars as pl

from rating.core.credits.recurrence import occurrences
from rating.core.schema import INSTANT

CHANGE = pl.Schema({"place": pl.UInt32(), "at": INSTANT, "phase": pl.Int8(), "kind": pl.String()})
"""One row is one change of one grant."""

REFUNDS, CLOSES, ROLLS, RECURS, OPENS, BURNS = 1, 2, 3, 4, 5, 6
CLOSES_AT = pl.min_horizontal("expires_at", "voided_at")
"""When a grant ends; null: never."""


def changes(
    grants: pl.DataFrame, resets: pl.DataFrame, since: datetime | None, until: datetime, time_zone: str
) -> pl.DataFrame:
    """CHANGE of all that happens up to and at `until`. `grants` is GRANT with `place` and `has_begun`; those that have
    begun by `since` open there. Grants that are never usable have no change."""
    alive = lifetimes(grants, since)
    opens = alive.select("place", "kind", at="opens_at", phase=pl.lit(OPENS))
    ended = alive.filter(pl.col("closes_at").is_not_null())
    closes = ended.select("place", at="closes_at", phase=pl.lit(CLOSES), kind=end_kind())
    parts = [opens, closes, _rolls(alive, resets), _recurs(alive, until, time_zone)]
    both = pl.concat([part.select(CHANGE.names()).cast(CHANGE) for part in parts])
    return both.filter(pl.col("at") <= until).sort("at", "phase", "place")


def lifetimes(grants: pl.DataFrame, since: datetime | None) -> pl.DataFrame:
    """The grants that are usable at some time, with `opens_at` and `closes_at` (null: never), [opens_at, closes_at)."""
    began = pl.lit(since, dtype=INSTANT)
    named = grants.with_columns(
        kind=pl.when("has_begun").then(pl.lit("opening")).otherwise("kind"),
        opens_at=pl.max_horizontal("effective_at", began),
        closes_at=CLOSES_AT,
    )
    return named.filter(pl.col("closes_at").is_null() | (pl.col("closes_at") > pl.col("opens_at")))


def end_kind() -> pl.Expr:
    """How a grant with an end ends: at one instant it expires before it is voided."""
    is_void = pl.col("expires_at").is_null() | (pl.col("voided_at") < pl.col("expires_at"))
    return pl.when(is_void).then(pl.lit("void")).otherwise(pl.lit("expiry"))


def _rolls(alive: pl.DataFrame, resets: pl.DataFrame) -> pl.DataFrame:
    rolling = alive.filter(pl.col("rollover_maximum").is_not_null())
    met = rolling.join(resets.unique(["customer", "at"]), on="customer")
    return met.filter(_inside()).select("place", "at", phase=pl.lit(ROLLS), kind=pl.lit("rollover"))


def _recurs(alive: pl.DataFrame, until: datetime, time_zone: str) -> pl.DataFrame:
    recurring = alive.filter(pl.col("recurs_every").is_not_null(), pl.col("opens_at") <= until)
    ends = pl.min_horizontal("closes_at", pl.lit(until, dtype=INSTANT))
    spans = recurring.with_columns(to=ends).rename({"opens_at": "from"})
    dated = occurrences(spans, time_zone).rename({"from": "opens_at"}).filter(_inside())
    return dated.select("place", "at", phase=pl.lit(RECURS), kind="kind")


def _inside() -> pl.Expr:
    return (pl.col("at") > pl.col("opens_at")) & (pl.col("closes_at").is_null() | (pl.col("at") < pl.col("closes_at")))
