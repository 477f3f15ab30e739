"""The customers of the demonstration: a few large ones, many small ones, all over the world."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from rating.core.periods import Month

COUNT = 500
ZIPF_EXPONENT = 1.05
SEVERAL_SUBJECTS = 25  # the largest customers have three subjects each
ZONES = {
    "America/New_York": 0.24,
    "America/Los_Angeles": 0.18,
    "America/Sao_Paulo": 0.06,
    "Europe/London": 0.12,
    "Europe/Madrid": 0.08,
    "Europe/Berlin": 0.10,
    "Asia/Kolkata": 0.08,
    "Asia/Tokyo": 0.08,
    "Australia/Sydney": 0.06,
}
_FIRST = (
    "amber birch cedar clover copper coral cobalt dawn ember fern flint granite harbor hazel indigo "
    "iris juniper linen maple north opal quartz saffron silver willow"
)
_SECOND = (
    "analytics atlas bakery bridge college courier foundry garden health insight labs library lighthouse "
    "logistics media observatory pharmacy robotics studio travel"
)


@dataclass(frozen=True)
class DemoCustomer:
    """One customer; `share` of the day's events are its own."""

    key: str
    time_zone: str
    plan: str
    subjects: tuple[str, ...]
    share: float

    def as_json(self) -> dict[str, Any]:
        """As `POST /v1/customers` takes it."""
        name = self.key.replace("-", " ").title()
        return {"key": self.key, "name": name, "time_zone": self.time_zone, "subjects": list(self.subjects)}

    def subscription(self, month: Month) -> dict[str, Any]:
        """As `POST /v1/subscriptions` takes it: since the start of the year of the month."""
        start = f"{month.year:04d}-01-01T00:00:00Z"
        return {"key": f"{self.key}-{self.plan}", "customer": self.key, "plan": self.plan, "starts_at": start}


def demo_customers(seed: int) -> list[DemoCustomer]:
    """The customers, the largest first. Equal seeds, equal customers."""
    random = np.random.default_rng([seed, 1])
    keys = random.permutation([f"{first}-{second}" for first, second in product(_FIRST.split(), _SECOND.split())])
    zones = random.choice(list(ZONES), COUNT, p=list(ZONES.values()))
    weights = 1 / np.arange(1, COUNT + 1) ** ZIPF_EXPONENT
    shares = weights / weights.sum()
    luck = random.random(COUNT)
    return [
        DemoCustomer(str(key), str(zone), _plan(rank, str(zone), luck[rank]), _subjects(str(key), rank), float(share))
        for rank, (key, zone, share) in enumerate(zip(keys, zones, shares, strict=True))
    ]


def _plan(rank: int, zone: str, luck: float) -> str:
    """By size; a few are on a plan that is too small for them."""
    if zone in ("Europe/Madrid", "Europe/Berlin") and rank > 50:
        return "europe"
    if rank < 40:
        return "scale" if luck < 0.9 else "team"
    return "team" if rank < 250 and luck < 0.9 else "starter"


def _subjects(key: str, rank: int) -> tuple[str, ...]:
    return (f"{key}/web", f"{key}/batch", f"{key}/agents") if rank < SEVERAL_SUBJECTS else (key,)
