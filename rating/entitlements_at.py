"""What one customer is entitled to at an instant, feature by feature: counted from its usage by the code that answers
checks, so that the past and the future can be asked too."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import polars as pl

from rating.core.quota.answer import QuotaAnswer
from rating.core.quota.judging import AccountView
from rating.entitled_quota import EntitledQuota
from rating.quota_terms import QuotaTerms

_ASKING = "\0"
"""A subject that no customer can have: asked for the customer itself."""


@dataclass(frozen=True)
class Entitled:
    """The answer to a check of nothing more of a feature, and the accounts that say it."""

    answer: QuotaAnswer
    views: list[AccountView]


def entitlements_at(terms: QuotaTerms, usage: pl.LazyFrame, customer: str, at: datetime) -> list[Entitled]:
    """What a customer is entitled to of each feature, by `usage` up to `at`."""
    own = _of_family(terms, customer)
    subjects = own.payers["subject"].implode()
    until = usage.filter(pl.col("subject").is_in(subjects), pl.col("time") <= at)
    quota = EntitledQuota(lambda since, subjects: (until, 0), lambda changes: None, lambda: at)
    quota.rebuild(own)
    return list(_entitled(quota, own, at))


def _entitled(quota: EntitledQuota, terms: QuotaTerms, at: datetime) -> Iterator[Entitled]:
    for feature in terms.book.features["feature"]:
        answer = quota.check(_ASKING, feature, Decimal(0), at)
        yield Entitled(answer, quota.views(_ASKING, feature, at))


def _of_family(terms: QuotaTerms, customer: str) -> QuotaTerms:
    """The terms of a customer, of the one that pays for it, and of all that that one pays for."""
    parent = terms.parent_of(customer) or customer
    family = terms.family.filter((pl.col("customer") == parent) | (pl.col("parent") == parent))
    members = {customer, parent, *family["customer"]}
    mine = pl.col("customer").is_in(list(members))
    asking = {"subject": [_ASKING], "customer": [customer], "time_zone": [terms.zone_of(customer)]}
    payers = pl.concat([terms.payers.filter(mine), pl.DataFrame(asking, schema=terms.payers.schema)]).sort("subject")
    return replace(
        terms,
        payers=payers,
        subscriptions=terms.subscriptions.filter(mine),
        grants=terms.grants.filter(mine),
        overrides=terms.overrides.filter(mine),
        family=family,
    )
