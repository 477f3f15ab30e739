"""The segments of accounts that are like most: one plan, which says all, in columns for a million customers at once.

Such an account begins each window with nothing used and nothing left over, so that its segment is its window as far as
the plan holds. Everything else (several plans, grants, overrides, pools, what goes from one window into the next) is
worked out account by account (account.py), to the same result.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from rating.core.quota.entitled import Gives
from rating.core.quota.levels import levels_of
from rating.core.quota.windows import Cycle, window_at
from rating.core.subscriptions import plan_of_variant
from rating.counters import NEVER, Rows, threshold_of
from rating.payers import Payers
from rating.quota_terms import QuotaTerms
from rating.segment_sums import FIRST, LAST, SegmentSums, Times
from rating.words import words_of

NO_ACCOUNT, ALONE, LINKED = 0, 1, 2
"""Where usage of a customer's subjects counts: in no account; in its own account and nowhere else; perhaps in others
too."""
_UNUSUAL = -1
_KEY = ["plan", "zone", "time_zone", "interval", "intervals", "anchor"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Profile:
    """What customers have in common that have agreed to one plan; null: to none."""

    plan: str | None
    zone: str
    cycle: Cycle


class Profiles:
    """Of each customer, by its number (Payers): the one plan that it has agreed to, and when that holds."""

    def __init__(self, terms: QuotaTerms) -> None:
        payers = terms.plain.subjects
        agreed = terms.subscriptions.with_columns(plan_of_variant()).select(
            "customer", *(name for name in _KEY if name != "zone"), "starts_at", "ends_at"
        )
        single = agreed.unique("customer", keep="none")
        several = agreed.filter(pl.col("customer").is_duplicated())["customer"].unique()
        customers = pl.DataFrame({"customer": payers.customers, "zone": payers.zones})
        found = customers.join(single, on="customer", how="left", validate="1:1", maintain_order="left")
        is_usual = ~found["customer"].is_in(several.implode())
        keys = found.select(_KEY).unique(maintain_order=True).with_row_index("profile")
        numbers = found.join(keys, on=_KEY, how="left", nulls_equal=True, maintain_order="left")["profile"]
        self.of: npt.NDArray[np.int32] = np.where(is_usual.to_numpy(), numbers.to_numpy(), _UNUSUAL).astype(np.int32)
        self.starts, self.ends = _bounds(found)
        self.known = [
            _Profile(plan, payers.time_zones[zone], (own_zone, interval, intervals, anchor))
            for _, plan, zone, own_zone, interval, intervals, anchor in keys.iter_rows()
        ]


class UsualSegments:
    """The accounts of customers of one feature, by the numbers of these."""

    def __init__(self, terms: QuotaTerms, feature: str, profiles: Profiles) -> None:
        payers = terms.plain.subjects
        self.kind = np.full(len(payers.customers), ALONE, np.int8)
        self._gives, self._profiles = terms.gives.get(feature, {}), profiles
        self._granted = {plan for plan in self._gives if terms.grants_of_plan(feature, plan)}
        touched = _numbers(payers, {customer for customer, name in terms.touched if name == feature})
        if feature in terms.plain_features:
            self.kind[:] = NO_ACCOUNT
            self.kind[touched] = ALONE
        else:
            self.kind[_numbers(payers, terms.shared_by)] = LINKED
        self.kind[_numbers(payers, {c for c, name in terms.limited_alone if name == feature})] = LINKED
        self._is_touched = np.zeros(len(self.kind), bool)
        self._is_touched[touched] = True

    def begin(self, sums: SegmentSums, rows: Rows, at: int) -> Rows:
        """Put the segments at hand where `rows` (each once, of customers) are usual; those that are."""
        rows = rows[~self._is_touched[rows]]
        profiles = self._profiles.of[rows]
        begun = []
        for profile in np.unique(profiles[profiles != _UNUSUAL]).tolist():
            begun.append(self._begin(sums, rows[profiles == profile], at, self._profiles.known[profile]))
        return np.concatenate(begun) if begun else np.zeros(0, np.int64)

    def _begin(self, sums: SegmentSums, rows: Rows, at: int, profile: _Profile) -> Rows:
        gives = None if profile.plan is None else self._gives.get(profile.plan)
        if profile.plan in self._granted:
            return rows[:0]
        if gives is None or gives.kind != "metered":
            sums.begin(rows, _all(rows, FIRST), _all(rows, LAST), _all(rows, NEVER))
            return rows
        if gives.rollover is not None or gives.carries or gives.window.kind == "rolling":
            return rows[:0]
        first, last = _window(gives, _EPOCH + timedelta(microseconds=at), profile)
        start = np.maximum(self._profiles.starts[rows], first)
        end = np.minimum(self._profiles.ends[rows], last)
        holds = (start <= at) & (at < end)
        rows, start, end = rows[holds], start[holds], end[holds]
        sums.begin(rows, start, end, _all(rows, _threshold(gives)))
        return rows


def _numbers(payers: Payers, wanted: set[str]) -> Rows:
    """The numbers of those of `wanted` that there are."""
    numbers = [payers.number(customer) for customer in sorted(wanted)]
    return np.array([number for number in numbers if number is not None], np.int64)


def _bounds(found: pl.DataFrame) -> tuple[Times, Times]:
    starts, ends = (words_of(found[name].fill_null(_EPOCH)) for name in ("starts_at", "ends_at"))
    return starts.copy(), np.where(found["ends_at"].is_null().to_numpy(), LAST, ends)


def _all(rows: Rows, value: int) -> Times:
    return np.full(len(rows), value, np.int64)


def _window(gives: Gives, at: datetime, profile: _Profile) -> tuple[int, int]:
    """The window at `at` in microseconds; a lifetime begins with the plan."""
    start, end = window_at(gives.window, at, profile.zone, profile.cycle)
    first = FIRST if gives.window.kind == "lifetime" else _micros(start)
    return first, LAST if end is None else _micros(end)


def _threshold(gives: Gives) -> int:
    """The whole units below which an account that has used nothing reaches no level."""
    return threshold_of(next((units for units, _ in levels_of(gives.thresholds, gives.limit) if units > 0), None))


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
