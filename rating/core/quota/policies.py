"""What plans do when a level of a quota is crossed: suspend the customer, restrict it to another plan, allow more."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, TypeAlias

import polars as pl

from rating.core.money import plain
from rating.core.quota.seam import CustomerState, LevelChange

State: TypeAlias = Literal["suspended", "restricted", "overage"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What one plan does at one level of one feature."""

    plan: str
    place: int  # among those of the plan
    feature: str
    at: str  # the level
    state: State
    amount: Decimal | None  # of overage
    to_plan: str | None  # of restricted
    features: tuple[str, ...]  # that it is for; empty: all
    until_reset: bool  # else until it is ended by hand


def policies_of(rows: pl.DataFrame) -> list[Policy]:
    """The policies of POLICY."""
    return [
        Policy(plan, place, feature, at, state, amount, to_plan, tuple(features), until == "reset")
        for plan, place, feature, at, state, amount, to_plan, features, until in rows.iter_rows()
    ]


def states_of(policies: Iterable[Policy], plans: Collection[str], change: LevelChange) -> Iterator[CustomerState]:
    """The states that a customer on `plans` gets into by `change` of its own account. The same change leads to the same
    states, under the same ids."""
    is_own = change.scope == "customer" or change.kind == "anomaly"  # which is that of one subject of the customer
    if change.kind == "restored" or not is_own:
        return
    for policy in policies:
        if policy.plan in plans and (policy.feature, policy.at) == (change.feature, change.level):
            yield CustomerState(
                id=f"{policy.plan}/{policy.place}/{change.key}",
                customer=change.customer,
                features=policy.features,
                state=policy.state,
                plan=policy.to_plan,
                amount=policy.amount,
                reason=_reason(change),
                since=change.at,
                until=change.window_end if policy.until_reset else None,
                signal=f"sig_{change.key}",
            )


def _reason(change: LevelChange) -> str:
    if change.kind == "anomaly":
        return f"{change.owner} uses far more of {change.feature} than usual"
    if change.kind == "negative":
        return f"more than {plain(change.limit)} of {change.feature} is used"
    return f"{change.feature} reached {change.level} of {plain(change.limit)}"
