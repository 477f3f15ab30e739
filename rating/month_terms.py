"""What hard limits of calendar months are judged by."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

import polars as pl

from rating.core.book import Meter, PriceBook
from rating.core.periods import month_of
from rating.core.subscriptions import plan_of_variant
from rating.payers import Agreements, Payers

_EVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Terms:
    """What limits are judged by: who pays for a subject, and what plans entitle to. Replaced whole, never edited."""

    book: PriceBook
    payers: pl.DataFrame  # subject, customer, time_zone
    subscriptions: pl.DataFrame  # SUBSCRIPTION

    subjects: Payers = field(init=False)
    agreements: Agreements = field(init=False)
    limits: dict[tuple[str, str], Decimal] = field(init=False)
    features: dict[str, Meter] = field(init=False)

    def __post_init__(self) -> None:
        limits = {
            (p, f): limit for p, f, limit in self.book.entitlements.select("plan", "feature", "limit").iter_rows()
        }
        object.__setattr__(self, "subjects", Payers(self.payers))
        of_plans = self.subscriptions.select("customer", plan_of_variant().alias("plan"), "starts_at", "ends_at")
        object.__setattr__(self, "agreements", Agreements(of_plans))
        object.__setattr__(self, "limits", limits)
        meters = {meter.key: meter for meter in self.book.meters}
        entitled = self.book.entitlements.select("feature", "meter").unique().sort("feature")
        object.__setattr__(self, "features", {feature: meters[meter] for feature, meter in entitled.iter_rows()})

    @property
    def time_zones(self) -> list[str]:
        """Of all customers, each once."""
        return self.subjects.time_zones

    def lowest_limits(self, customer: str) -> dict[str, Decimal]:
        """By feature, what no limit of the customer is ever below; features that no plan of it entitles to are not
        there."""
        plans = {plan for plan, _, _ in self.agreements.of(customer)}
        limits = (
            (feature, [self.limits[p, feature] for p in plans if (p, feature) in self.limits])
            for feature in self.features
        )
        return {feature: min(found) for feature, found in limits if found}

    def limit(self, customer: str, feature: str, at: datetime) -> Decimal | None:
        """The limits of the subscriptions and add-ons in force at `at`, added up; None when no plan entitles to the
        feature."""
        plans = [p for p, start, end in self.agreements.of(customer) if start <= at and (end is None or at < end)]
        limits = [self.limits[plan, feature] for plan in plans if (plan, feature) in self.limits]
        return sum(limits[1:], start=limits[0]) if limits else None

    def steady(self, customer: str, at: datetime) -> tuple[datetime, datetime]:
        """From when until when the subscriptions and add-ons in force are those at `at`."""
        edges = [edge for _, *dates in self.agreements.of(customer) for edge in dates if edge is not None]
        return max((e for e in edges if e <= at), default=_EVER[0]), min((e for e in edges if e > at), default=_EVER[1])


@lru_cache(maxsize=1024)
def month_start(instant: datetime, time_zone: str) -> datetime:
    """When the month began that `instant` falls in."""
    return month_of(instant, time_zone).start(ZoneInfo(time_zone))


def earliest_start(terms: Terms, at: datetime) -> datetime:
    """When the first of the windows began that are open at `at`."""
    return min(month_start(at, zone) for zone in {"UTC", *terms.time_zones})
