"""What the demonstration found out: filled in step by step, then shown and printed as JSON."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

from api.demo.checks import Checked
from api.demo.customers import DemoCustomer
from rating.core.periods import Month


@dataclass
class Findings:
    """What the demonstration found out; everything that is shown is in here."""

    events: int
    seed: int
    day: date
    customers: list[DemoCustomer]
    catalog: dict[str, Any]
    post_seconds: float = 0.0
    rate_seconds: float = 0.0
    verdicts: Counter[str] = field(default_factory=Counter)
    resent: Counter[str] = field(default_factory=Counter)
    run: dict[str, Any] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)  # the largest
    signals: list[dict[str, Any]] = field(default_factory=list)
    explained: dict[str, Any] = field(default_factory=dict)
    checks: list[Checked] = field(default_factory=list)

    @cached_property
    def month(self) -> Month:
        return Month(self.day.year, self.day.month)

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def limits(self) -> dict[str, int]:
        """The token limit of each plan."""
        return {key: int(plan["entitlements"]["tokens"]["limit"]) for key, plan in self.catalog["plans"].items()}

    def as_json(self) -> dict[str, Any]:
        report = self.run["report"]
        return {
            "ok": self.ok,
            "events": self.events,
            "seed": self.seed,
            "day": self.day.isoformat(),
            "customers": len(self.customers),
            "posted": {
                **self.verdicts,
                "seconds": round(self.post_seconds, 3),
                "events_per_second": self.events_per_second,
            },
            "sent_again": dict(self.resent),
            "run": {"id": self.run["id"], "digest": self.run["digest"], "seconds": round(self.rate_seconds, 3)},
            "lines": report["lines"],
            "totals": report["totals"],
            "top_lines": self.lines,
            "unpriced": report["unpriced"],
            "unsubscribed": report["unsubscribed"],
            "ran_out": self.signals,
            "explained": self.explained,
            "checks": [check.as_json() for check in self.checks],
        }

    @property
    def events_per_second(self) -> int:
        return round(self.events / self.post_seconds) if self.post_seconds else 0
