"""Many quota checks at once: a subject and feature is looked at once, what is asked of it is compared in columns."""

from collections.abc import Callable, Iterable
from decimal import Decimal

import polars as pl

from rating.core.quota.answer import QuotaAnswer
from rating.core.quota.seam import QUOTA_ANSWERED
from rating.uncounted import FeatureNotCounted

_LOOKED_AT = pl.Schema(
    {
        **{name: QUOTA_ANSWERED[name] for name in ("subject", "feature", "allowed", "reason", "customer", "scope")},
        **{name: QUOTA_ANSWERED[name] for name in ("limit", "used", "reserved", "remaining", "resets_at")},
    }
)
"""One row is the answer to a check of the amount 0 of one subject and feature."""

_PAIR = ["subject", "feature"]
_NOTHING = Decimal(0)
_BY_AMOUNT = "allowed"
"""The reason for an amount of 0 where a larger one may not fit any more."""


def answered(asked: pl.DataFrame, check: Callable[[str, str], QuotaAnswer]) -> pl.DataFrame:
    """QUOTA_ANSWERED of QUOTA_ASKED, in the same order, where the answer to an amount depends on what is left alone;
    `check` gives the answer for the amount 0."""
    pairs = asked.select(_PAIR).unique().iter_rows()
    looked_at = _frame((_or_why_not(check, *pair) for pair in pairs), _LOOKED_AT)
    found = asked.lazy().join(looked_at.lazy(), on=_PAIR, how="left", validate="m:1", maintain_order="left")
    does_not_fit = (pl.col("reason") == _BY_AMOUNT) & (pl.col("amount") > pl.col("remaining"))
    judged = found.with_columns(
        allowed=pl.col("allowed") & ~does_not_fit,
        reason=pl.when(does_not_fit).then(pl.lit("would_exceed")).otherwise("reason"),
    )
    return judged.select(QUOTA_ANSWERED.names()).collect()


def answered_one_by_one(asked: pl.DataFrame, check: Callable[[str, str, Decimal], QuotaAnswer]) -> pl.DataFrame:
    """The same, each subject, feature and amount asked once."""
    questions = asked.unique()
    answers = _frame((_or_why_not(check, *row) for row in questions.iter_rows()), QUOTA_ANSWERED)
    return asked.join(answers, on=asked.columns, how="left", validate="m:1", maintain_order="left")


def _or_why_not(check: Callable[..., QuotaAnswer], subject: str, feature: str, *amount: Decimal) -> QuotaAnswer:
    """The answer; of a feature that cannot be counted a refusal, so that the others are answered."""
    try:
        return check(subject, feature, *amount)
    except FeatureNotCounted as error:
        asked = amount[0] if amount else _NOTHING
        return QuotaAnswer(False, "not_counted", str(error), subject, None, feature, asked)


def _frame(answers: Iterable[QuotaAnswer], schema: pl.Schema) -> pl.DataFrame:
    rows = [tuple(getattr(answer, name) for name in schema.names()) for answer in answers]
    return pl.DataFrame(rows, schema=schema, orient="row")
