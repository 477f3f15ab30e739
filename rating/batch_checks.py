"""Many quota checks at once: a subject and feature is looked at once, what is asked of it is compared in columns."""

from collections.abc import Callable, Iterable

import polars as pl

from rating.core.quota.answer import QuotaAnswer
from rating.core.quota.seam import QUOTA_ANSWERED

_LOOKED_AT = pl.Schema(
    {
        **{name: QUOTA_ANSWERED[name] for name in ("subject", "feature", "allowed", "reason", "customer", "scope")},
        **{name: QUOTA_ANSWERED[name] for name in ("limit", "used", "reserved", "remaining", "resets_at")},
    }
)
"""One row is the answer to a check of the amount 0 of one subject and feature."""

_BY_AMOUNT = "allowed"
"""The reason for an amount of 0 where a larger one may not fit any more."""


def answered(asked: pl.DataFrame, check: Callable[[str, str], QuotaAnswer]) -> pl.DataFrame:
    """QUOTA_ANSWERED of QUOTA_ASKED, in the same order; `check` gives the answer for the amount 0."""
    pairs = asked.select("subject", "feature").unique().iter_rows()
    looked_at = _looked_at(check(subject, feature) for subject, feature in pairs)
    found = asked.lazy().join(
        looked_at.lazy(), on=["subject", "feature"], how="left", validate="m:1", maintain_order="left"
    )
    does_not_fit = (pl.col("reason") == _BY_AMOUNT) & (pl.col("amount") > pl.col("remaining"))
    judged = found.with_columns(
        allowed=pl.col("allowed") & ~does_not_fit,
        reason=pl.when(does_not_fit).then(pl.lit("would_exceed")).otherwise("reason"),
    )
    return judged.select(QUOTA_ANSWERED.names()).collect()


def _looked_at(answers: Iterable[QuotaAnswer]) -> pl.DataFrame:
    names = _LOOKED_AT.names()
    rows = [tuple(getattr(answer, name) for name in names) for answer in answers]
    return pl.DataFrame(rows, schema=_LOOKED_AT, orient="row")
