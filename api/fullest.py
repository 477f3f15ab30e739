"""Whose quotas are used up the most: every customer is asked for each feature, as a check of nothing more."""

from dataclasses import dataclass

import polars as pl

from api.engine import Engine
from rating.core.quota.seam import QUOTA_ANSWERED, QUOTA_ASKED

ASKED_MAX = 50_000
"""Questions at one time: about 10 microseconds each."""


@dataclass(frozen=True)
class Fullest:
    """QUOTA_ANSWERED of features with a limit, the fullest first: `near` have some left, `full` have nothing; these are
    `full_count` in all. Of `asked` questions of `questions`."""

    near: pl.DataFrame
    full: pl.DataFrame
    full_count: int
    asked: int
    questions: int


def fullest(engine: Engine, limit: int) -> Fullest:
    """Of each customer one subject stands for all. Raises Refused before the first catalog."""
    features = [key for key, feature in engine.in_force.catalog.features.items() if feature.meter is not None]
    subjects = engine.store.customers.subjects_frame().unique("customer", keep="first").sort("customer")["subject"]
    pairs = subjects.to_frame("subject").join(
        pl.DataFrame({"feature": features}, schema={"feature": pl.String}), how="cross"
    )
    asked = pairs.head(ASKED_MAX).with_columns(amount=pl.lit(0)).cast(QUOTA_ASKED)
    answers = engine.quota.check_many(asked, engine.now()) if asked.height else QUOTA_ANSWERED.to_frame()
    # to sort by only: what is shown are the exact numbers
    share = pl.col("used").cast(pl.Float64) / pl.col("limit").cast(pl.Float64)
    limited = answers.filter(pl.col("limit") > 0, pl.col("used") > 0).sort(share, descending=True, maintain_order=True)
    is_full = pl.col("used") >= pl.col("limit")
    full = limited.filter(is_full)
    return Fullest(limited.filter(~is_full).head(limit), full.head(limit), full.height, asked.height, pairs.height)
