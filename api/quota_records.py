"""What is recorded of quotas beside the catalog: grants, and overrides; and what a customer is entitled to by all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl

from api.credit_checks import out_of_bounds
from api.quota import QuotaService
from rating.catalog import Catalog
from rating.core.money import plain
from rating.core.quota.windows import WindowRule
from rating.entitlements_at import Entitled, entitlements_at
from rating.quota_terms import QuotaTerms
from store import Store
from store.customers import refuse
from store.quota_grants import QuotaGrantRecord
from store.quota_overrides import QuotaOverride

QUANTITY_LIMIT = Decimal(10) ** 18
GRANTS_AT_ONCE = 1000
_DAYS = "count days or more"
AHEAD_MAX = timedelta(days=3660)


@dataclass(frozen=True)
class QuotaInputs:
    """All that what a customer is entitled to is worked out from; `usage` is all usage."""

    catalog: Catalog
    terms: QuotaTerms
    usage: pl.LazyFrame


class QuotaRecords:
    """Grants and overrides of one engine. Every method may be called from any thread."""

    def __init__(
        self, store: Store, quota: QuotaService, inputs: Callable[[], QuotaInputs], now: Callable[[], datetime]
    ) -> None:
        self._store, self._quota, self._inputs, self._now = store, quota, inputs, now

    def grant(self, grant: QuotaGrantRecord, catalog: Catalog) -> QuotaGrantRecord:
        """Record a grant; the same again is answered as it is. Raises NotFound for an unknown customer, IdTaken, and
        Refused for what contradicts itself or names what is not there."""
        self._store.customers.get(grant.customer)
        known = self._store.quota_grants.find(grant.id)
        if known is None:
            of_feature = [*_in_feature(catalog, grant.feature, needs_meter=True), *_in_windows(catalog, grant.feature)]
            refuse([*of_feature, *self._in_overrides(grant), *_in_grant(grant)])
        made = self._store.quota_grants.add(grant)
        self._quota.terms_changed()
        return made

    def void(self, id: str, at: datetime | None) -> QuotaGrantRecord:
        """Take what is left of a grant at `at`, now unless given; what is voided stays so. Raises NotFound, Refused for
        an instant that has passed, and CreditVoided."""
        now = self._now()
        if self._store.quota_grants.get(id).voided_at is None and at is not None:
            late = f"{at.isoformat()} has passed: a void takes what is left from now on, or later"
            refuse([late] if at < now else out_of_bounds("at", at))
        voided = self._store.quota_grants.void(id, at=at or now, is_asked=at is not None)
        self._quota.terms_changed()
        return voided

    def override(self, override: QuotaOverride, catalog: Catalog, *, is_included: bool) -> QuotaOverride:
        """Let it stand in for the plans; the same again changes nothing. `is_included` is whether it says that the
        feature is there or not. Raises NotFound for an unknown customer, and Refused."""
        customer = self._store.customers.get(override.customer)
        problems = [*_in_feature(catalog, override.feature, needs_meter=not is_included), *_in_override(override)]
        if override.subject is not None and override.subject not in customer.subjects:
            problems.append(f"customer {override.customer!r} has no subject {override.subject!r}")
        if not problems:
            problems += [*_in_kind(catalog, override.feature, is_included), *self._in_short_window(override, catalog)]
        refuse(problems)
        put = self._store.quota_overrides.put(override)
        self._quota.terms_changed()
        return put

    def end_override(self, customer: str, feature: str, subject: str | None) -> QuotaOverride:
        """Let the plans say it again from now on. Raises NotFound."""
        self._store.customers.get(customer)
        ended = self._store.quota_overrides.end(customer, feature, subject)
        self._quota.terms_changed()
        return ended

    def entitlements(self, customer: str, at: datetime | None) -> list[Entitled]:
        """What a customer is entitled to of each feature, now unless `at` is given. Raises NotFound, and Refused for an
        instant that nobody means."""
        self._store.customers.get(customer)
        asked, latest = at or self._now(), self._now() + AHEAD_MAX
        too_late = [f"at is {asked.isoformat()}: write an instant before {latest.isoformat()}"]
        refuse(too_late if asked > latest else out_of_bounds("at", at))
        inputs = self._inputs()
        return entitlements_at(inputs.terms, inputs.usage, customer, asked)

    def _in_overrides(self, grant: QuotaGrantRecord) -> Iterator[str]:
        """A short window that stands in for those of plans takes no grants either."""
        now = self._now()
        for one in self._store.quota_overrides.of_customer(grant.customer):
            ends = [at for at in (one.expires_at, one.ended_at) if at is not None]
            is_over = bool(ends) and min(ends) <= max(now, grant.effective_at)
            if one.feature == grant.feature and one.subject is None and _is_short(one) and not is_over:
                yield (
                    f"an override counts {grant.feature!r} in windows shorter than a day, which take no grants: raise "
                    "its limit, or give it another window"
                )

    def _in_short_window(self, override: QuotaOverride, catalog: Catalog) -> Iterator[str]:
        """Nothing goes from one window into the next where these are shorter than a day."""
        if override.subject is not None or not _is_short(override):
            return
        after = ""
        while found := self._store.quota_grants.of_customer(override.customer, after=after, limit=GRANTS_AT_ONCE):
            lasting = (g for g in found if g.feature == override.feature and _lasts(g, override.effective_at))
            for grant in lasting:
                grants = f"there is grant {grant.id!r}"
                yield f"a window shorter than a day takes no grants, and {grants}: void it, or {_DAYS}"
            after = found[-1].id
        for key, plan in catalog.plans.items():
            given = plan.entitlements.get(override.feature)
            if given is not None and (given.grants or given.rollover is not None or given.overage == "carry"):
                yield (
                    f"plan {key!r} has grants, rollover or carried overage of {override.feature!r}, which a window "
                    f"shorter than a day does not take: {_DAYS}"
                )


def _is_short(override: QuotaOverride) -> bool:
    names = ("kind", "every", "step")
    return override.window is not None and WindowRule(*(override.window[name] for name in names)).is_short


def _lasts(grant: QuotaGrantRecord, at: datetime) -> bool:
    """Whether it can be used at `at` or later."""
    return all(end is None or end > at for end in (grant.expires_at, grant.voided_at))


def _in_feature(catalog: Catalog, feature: str, *, needs_meter: bool) -> Iterator[str]:
    if feature not in catalog.features:
        known = ", ".join(catalog.features) or "none"
        yield f"the catalog has no feature {feature!r}; it has {known}"
    elif needs_meter and catalog.features[feature].meter is None:
        yield f"the feature {feature!r} has no meter: there is no amount of it"


def _in_windows(catalog: Catalog, feature: str) -> Iterator[str]:
    for key, plan in catalog.plans.items():
        given = plan.entitlements.get(feature)
        if given is not None and given.window.is_short:
            yield (
                f"plan {key!r} counts {feature!r} in windows shorter than a day, where a grant would be gone through "
                "window by window: raise the limit by an override"
            )


def _in_kind(catalog: Catalog, feature: str, is_included: bool) -> Iterator[str]:
    kinds = {given.kind for plan in catalog.plans.values() if (given := plan.entitlements.get(feature)) is not None}
    if is_included and "metered" in kinds:
        yield f"plans give an amount of {feature!r}: write a `limit`"
    if "static" in kinds:
        yield f"plans give {feature!r} a value, and an override has none: change the plan of the customer"
    if not is_included and kinds and "metered" not in kinds:
        yield f"plans say whether {feature!r} is there or not: write `included`"


def _in_grant(grant: QuotaGrantRecord) -> Iterator[str]:
    if not 0 < grant.amount < QUANTITY_LIMIT:
        yield f"amount is {plain(grant.amount)}: it must be above zero and below {plain(QUANTITY_LIMIT)}"
    if grant.rollover_minimum is not None and grant.rollover_maximum is None:
        yield "rollover_minimum needs rollover_maximum"
    elif (grant.rollover_minimum or 0) > (grant.rollover_maximum or 0):
        yield "rollover_minimum is above rollover_maximum"
    if grant.recurs_from is not None and grant.recurs_every is None:
        yield "recurs_from goes with recurs_every"
    for name in ("effective_at", "expires_at", "recurs_from"):
        yield from out_of_bounds(name, getattr(grant, name))
    yield from _in_order(grant.effective_at, grant.expires_at)


def _in_override(override: QuotaOverride) -> Iterator[str]:
    for name in ("effective_at", "expires_at"):
        yield from out_of_bounds(name, getattr(override, name))
    yield from _in_order(override.effective_at, override.expires_at)
    if override.is_unlimited and override.enforcement is not None:
        yield "without a limit, enforcement says nothing: remove it, or write a limit"


def _in_order(effective_at: datetime, expires_at: datetime | None) -> Iterator[str]:
    if expires_at is not None and expires_at <= effective_at:
        yield f"it expires at {expires_at.isoformat()}, not after it takes effect at {effective_at.isoformat()}"
