"""Many quota checks at once: a subject and feature is looked at once, what is asked of it is compared in columns."""

from collections.abc import Callable
from decimal import Decimal

import polars as pl

from rating.core.quota.answer import QuotaAnswer
from rating.core.quota.seam import QUOTA_ANSWERED
from rating.core.schema import QUANTITY
from rating.counters import quantity
from rating.standings import LazyAnswer
from rating.uncounted import FeatureNotCounted

_LOOKED_AT = pl.Schema(
    {
        **{name: QUOTA_ANSWERED[name] for name in ("subject", "feature", "reason", "customer", "scope")},
        **{name: QUOTA_ANSWERED[name] for name in ("limit", "used", "reserved", "remaining", "resets_at")},
        "most": QUANTITY,
        "otherwise": QUOTA_ANSWERED["reason"],
    }
)
"""One row is the answer to a check of the amount 0 of one subject and feature: an amount of more than `remaining` gets
the reason `otherwise`, of more than `most` it does not fit. `most` is null where every amount gets the answer of 0."""

_PAIR = ["subject", "feature"]
_NOTHING = Decimal(0)
_ANY = Decimal(10**28)
"""No amount is more."""
_REFUSALS = ["exhausted", "would_exceed"]
Check = Callable[[str, str, Decimal], QuotaAnswer]


def answered(asked: pl.DataFrame, check: Check) -> pl.DataFrame:
    """QUOTA_ANSWERED of QUOTA_ASKED, in the same order. Where a standing answers, the answer to an amount depends on
    what is left alone; all else is asked one by one."""
    looked_at, one_by_one = [], []
    for subject, feature in asked.select(_PAIR).unique().iter_rows():
        answer = _or_why_not(check, subject, feature, _NOTHING)
        if isinstance(answer, LazyAnswer):
            looked_at.append(_looked_at(answer))
        else:
            one_by_one.append((subject, feature))
    known = pl.DataFrame(looked_at, schema=_LOOKED_AT, orient="row")
    if not one_by_one:
        return _by_amount(asked, known)
    others = pl.DataFrame(one_by_one, schema={name: asked.schema[name] for name in _PAIR}, orient="row")
    placed = asked.with_row_index("place")
    parts = [
        placed.join(known, on=_PAIR, how="semi", maintain_order="left"),
        placed.join(others, on=_PAIR, how="semi", maintain_order="left"),
    ]
    answers = [_by_amount(parts[0].drop("place"), known), _one_by_one(parts[1].drop("place"), check)]
    placed_answers = [a.with_columns(p["place"]) for a, p in zip(answers, parts, strict=True)]
    return pl.concat(placed_answers).sort("place").drop("place")


def _looked_at(answer: LazyAnswer) -> tuple[object, ...]:
    of, whole = answer.standing, answer.in_words()
    names = ("subject", "feature", "reason", "customer", "scope", "limit", "used", "reserved", "remaining", "resets_at")
    values = [getattr(whole, name) for name in names]
    room = None if of.available is None else of.available - answer.taken - answer.held
    if room is None or (of.is_soft and room <= 0) or not answer.allowed:
        return (*values, None, answer.reason)
    if of.is_soft:
        return (*values, _ANY, "over_soft_limit")
    return (*values, quantity(room + of.extra), "in_grace")


def _by_amount(asked: pl.DataFrame, looked_at: pl.DataFrame) -> pl.DataFrame:
    """QUOTA_ANSWERED where every subject and feature is among `looked_at`."""
    found = asked.lazy().join(looked_at.lazy(), on=_PAIR, how="left", validate="m:1", maintain_order="left")
    amount = pl.col("amount")
    by_amount = pl.when(amount > pl.col("most")).then(pl.lit("would_exceed")).otherwise("otherwise")
    is_more = pl.col("most").is_not_null() & (amount > pl.col("remaining"))
    judged = found.with_columns(reason=pl.when(is_more).then(by_amount).otherwise("reason"))
    allowed = ~pl.col("reason").is_in(_REFUSALS)
    return judged.with_columns(allowed=allowed).select(QUOTA_ANSWERED.names()).collect()


def _one_by_one(asked: pl.DataFrame, check: Check) -> pl.DataFrame:
    """The same, each subject, feature and amount asked once."""
    rows = [_or_why_not(check, *question) for question in asked.unique().iter_rows()]
    values = [tuple(getattr(answer, name) for name in QUOTA_ANSWERED.names()) for answer in rows]
    answers = pl.DataFrame(values, schema=QUOTA_ANSWERED, orient="row")
    return asked.join(answers, on=asked.columns, how="left", validate="m:1", maintain_order="left")


def _or_why_not(check: Check, subject: str, feature: str, amount: Decimal) -> QuotaAnswer:
    """The answer; of a feature that cannot be counted a refusal, so that the others are answered."""
    try:
        return check(subject, feature, amount)
    except FeatureNotCounted as error:
        return QuotaAnswer(False, "not_counted", str(error), subject, None, feature, amount)
