"""What quotas are judged by, in two parts: what a hard limit of calendar months says, which live_quota.py counts for
millions, and everything else, by account."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import polars as pl

from rating.core.book import Meter, PriceBook
from rating.core.quota.entitled import (
    Agreed,
    Gives,
    Override,
    given_at,
    gives_of,
    plan_gives_of,
    series_of,
    spans_of,
    units_of,
)
from rating.core.quota.policies import Policy, policies_of
from rating.core.quota.schema import FAMILY, OVERRIDE, QUOTA_GRANT
from rating.core.quota.terms import AccountTerms, QuotaGrant
from rating.core.quota.windows import MONTH, WindowRule, parts
from rating.core.subscriptions import plan_of_variant
from rating.month_terms import Terms
from rating.subscribed import Subscribed

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class QuotaTerms:
    """Who pays for a subject, what plans entitle to, what was granted and what stands in. Replaced whole, never edited.

    `payers` has one row a `subject`: its `customer` and `time_zone`. `family` is FAMILY.
    """

    book: PriceBook
    payers: pl.DataFrame
    subscriptions: pl.DataFrame  # SUBSCRIPTION
    grants: pl.DataFrame = field(default_factory=QUOTA_GRANT.to_frame)
    overrides: pl.DataFrame = field(default_factory=OVERRIDE.to_frame)
    family: pl.DataFrame = field(default_factory=FAMILY.to_frame)

    @cached_property
    def gives(self) -> Mapping[str, Mapping[str, Gives]]:
        """What plans give, by feature and plan."""
        return gives_of(self.book.entitlements)

    @cached_property
    def policies(self) -> list[Policy]:
        """What plans do when a level is crossed."""
        return policies_of(self.book.policies)

    @cached_property
    def plain_features(self) -> set[str]:
        """The features of which every plan says a hard limit of calendar months and nothing else."""
        granted = set(self.book.quota_grants["feature"])
        return {f for f, plans in self.gives.items() if f not in granted and all(g.is_plain for g in plans.values())}

    @cached_property
    def plain(self) -> Terms:
        """The part of these features alone."""
        rows = self.book.entitlements.filter(pl.col("feature").is_in(self.plain_features))
        return Terms(replace(self.book, entitlements=rows), self.payers, self.subscriptions)

    @cached_property
    def meters(self) -> Mapping[str, Meter]:
        """The meter of each feature that has one, where accounts count it."""
        by_key = {meter.key: meter for meter in self.book.meters}
        found = {f: by_key[m] for f, m in self.book.features.drop_nulls().iter_rows() if self._is_counted(f)}
        return found

    @cached_property
    def touched(self) -> set[tuple[str, str]]:
        """The (customer, feature) of which something was granted, or stands in."""
        pairs = [frame.select("customer", "feature") for frame in (self.grants, self.overrides)]
        return set(pl.concat(pairs).iter_rows())

    @cached_property
    def shared_by(self) -> set[str]:
        """The customers that somebody else pays for."""
        return {customer for customer, (_, parent) in self._family.items() if parent is not None}

    @cached_property
    def limited_alone(self) -> set[tuple[str, str]]:
        """The (customer, feature) of which a subject has a limit of its own."""
        return {(customer, feature) for customer, subject, feature in self._overrides if subject is not None}

    def grants_of_plan(self, feature: str, plan: str) -> bool:
        """Whether a plan grants something of a feature beside its limit."""
        return (feature, plan) in self._plan_gives

    def is_accounted(self, customer: str | None, feature: str) -> bool:
        """Whether accounts say what a customer may use of a feature, and not the counters of months alone."""
        return feature not in self.plain_features or (customer, feature) in self.touched

    def counted_from(self, now: datetime) -> datetime | None:
        """From when on usage may matter to an account at `now`; null: since ever."""
        gives = [one for f in self.meters for one in self.gives.get(f, {}).values() if one.kind == "metered"]
        if self.book.quota_grants.height or any(one.carries or one.rollover is not None for one in gives):
            return None
        rules = [one.window for one in gives] + [o.window for given in self._overrides.values() for o in given]
        longest = [_longest(rule or MONTH) for rule in rules] + self._cycles
        if None in longest:
            return None
        begun: list[datetime] = [*self.grants["effective_at"], now]
        return min(begun) - max((days for days in longest if days is not None), default=31 * _DAY) - 2 * _DAY

    @cached_property
    def expiring_within(self) -> Mapping[str, timedelta]:
        """How long before it ends it is told of a grant, by feature; features of which it is not are not there."""
        days = self.book.feature_rules.select("feature", "expiring_days").iter_rows()
        return {feature: timedelta(days=count) for feature, count in days if count and feature in self.meters}

    @cached_property
    def expiring_customers(self) -> Sequence[str]:
        """The customers of whom anything may end or is carried on: of whom something was granted, or whose plans grant,
        roll over or carry."""
        granted = set(self.grants["customer"])
        plans = {plan for _, plan in self._plan_gives}
        plans |= {
            plan for of in self.gives.values() for plan, one in of.items() if one.rollover is not None or one.carries
        }
        subscribed = self.subscriptions.with_columns(plan_of_variant()).filter(pl.col("plan").is_in(list(plans)))
        return sorted(granted | set(subscribed["customer"]))

    def customer_of(self, subject: str) -> str | None:
        """Who pays for a subject."""
        found = self.plain.subjects.find(subject)
        return None if found is None else found[0]

    def subject_of(self, customer: str) -> str | None:
        """One subject of a customer; null: it has none."""
        found = self.payers.filter(pl.col("customer") == customer).head(1)["subject"]
        return found[0] if len(found) else None

    def parent_of(self, customer: str) -> str | None:
        """The customer that pays for it; null: itself."""
        return self._family.get(customer, (None, None))[1]

    def agreed(self, customer: str) -> list[Agreed]:
        """What a customer has subscribed to."""
        return self._subscribed.of(customer)

    def has_own_limit(self, subject: str, feature: str) -> bool:
        """Whether an override limits this subject alone."""
        return (subject, feature) in self._own_limits

    def account(self, customer: str, feature: str) -> AccountTerms:
        """What an account of a customer is judged by."""
        agreed, gives = self.agreed(customer), self.gives.get(feature, {})
        return AccountTerms(
            customer,
            feature,
            self.zone_of(customer),
            spans_of(agreed, gives, self._overrides.get((customer, None, feature), ())),
            tuple(self._grants.get((customer, feature), ())),
            tuple(series_of(agreed, feature, self._plan_gives)),
        )

    def given(self, customer: str, feature: str, at: datetime) -> Gives | None:
        """What the plans of a customer, or an override, say of a feature that is there or not, or has a value; null: it
        has a limit, or is not given."""
        planned = given_at(self.agreed(customer), self.gives.get(feature, {}), at)
        is_metered = any(one.kind == "metered" for one in self.gives.get(feature, {}).values())
        overrides = [] if is_metered else self._overrides.get((customer, None, feature), [])
        override = next((one for one in reversed(overrides) if one.holds(at)), None)
        if override is None or (planned is not None and planned.kind == "static"):
            return planned
        return Gives(override.id, "boolean", "true" if override.limit is None else "false", None, MONTH)

    def own_account(self, subject: str, customer: str, feature: str) -> AccountTerms:
        """What the account of a subject with a limit of its own is judged by."""
        spans = spans_of((), {}, self._overrides.get((customer, subject, feature), ()))
        return AccountTerms(subject, feature, self.zone_of(customer), spans)

    def zone_of(self, customer: str) -> str:
        """The time zone of a customer."""
        if customer in self._family:
            return self._family[customer][0]
        zone = self.plain.subjects.zone_of(customer)
        if zone is not None:
            return zone
        agreed = self.agreed(customer)
        return agreed[0].cycle[0] if agreed else "UTC"

    def _is_counted(self, feature: str) -> bool:
        return feature not in self.plain_features or any(touched == feature for _, touched in self.touched)

    @cached_property
    def _subscribed(self) -> Subscribed:
        return Subscribed(self.subscriptions)

    @cached_property
    def _cycles(self) -> list[timedelta | None]:
        """How long the billing periods are that windows may be."""
        lengths = {"day": 1, "week": 7, "month": 31, "year": 366}
        kinds = self.subscriptions.select("interval", "intervals").unique().iter_rows()
        return [lengths[interval] * intervals * _DAY for interval, intervals in kinds]

    @cached_property
    def _family(self) -> dict[str, tuple[str, str | None]]:
        return {customer: (zone, parent) for customer, zone, parent in self.family.iter_rows()}

    @cached_property
    def _plan_gives(self) -> Any:
        return plan_gives_of(self.book.quota_grants)

    @cached_property
    def _grants(self) -> dict[tuple[str, str], list[QuotaGrant]]:
        found: dict[tuple[str, str], list[QuotaGrant]] = {}
        for row in self.grants.iter_rows(named=True):
            found.setdefault((row["customer"], row["feature"]), []).append(_grant(row))
        return found

    @cached_property
    def _overrides(self) -> dict[tuple[str, str | None, str], list[Override]]:
        found: dict[tuple[str, str | None, str], list[Override]] = {}
        for row in self.overrides.iter_rows(named=True):
            found.setdefault((row["customer"], row["subject"], row["feature"]), []).append(_override(row))
        return found

    @cached_property
    def _own_limits(self) -> set[tuple[str, str]]:
        return {(subject, feature) for _, subject, feature in self._overrides if subject is not None}


def _longest(rule: WindowRule) -> timedelta | None:
    """No window is longer; null: it may be."""
    if rule.kind == "lifetime":
        return None
    if rule.every is None:
        return {"hour": 1, "day": 2, "week": 8, "quarter": 92, "year": 366}.get(rule.kind, 31) * _DAY
    count, unit = parts(rule.every)
    return (1 + count * {"m": 0, "h": 0, "d": 1, "w": 7, "mo": 31, "y": 366}[unit] + count // 24) * _DAY


def _grant(row: Mapping[str, Any]) -> QuotaGrant:
    low, high = row["rollover_minimum"], row["rollover_maximum"]
    return QuotaGrant(
        row["grant"],
        units_of(row["amount"]),
        row["priority"],
        row["created_at"],
        row["effective_at"],
        row["expires_at"],
        row["voided_at"],
        row["recurs_every"],
        row["recurs_from"],
        0 if low is None else units_of(low),
        None if high is None else units_of(high),
    )


def _override(row: Mapping[str, Any]) -> Override:
    rule = [row[name] for name in ("window", "every", "step", "anchor", "time_zone")]
    return Override(
        row["override"],
        row["effective_at"],
        row["expires_at"],
        None if row["limit"] is None else units_of(row["limit"]),
        WindowRule(*rule) if rule[0] is not None else None,
        row["enforcement"],
        0 if row["grace"] is None else units_of(row["grace"]),
    )
