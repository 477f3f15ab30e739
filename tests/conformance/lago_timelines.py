"""Timelines of another engine's test suite: the plans as a catalog, and what is known of a subscription at each step.

A day on which a subscription is ended belongs to it there, unless another begins on it: such a one ends at the end of
that day. A trial there is one of the fee alone, and of a customer's first subscription: where a plan has usage too, the
fee is an item that begins when the trial ends.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from rating.core.money import plain
from tests.conformance.agreed import Agreed, Change, Document, cut, midnight
from tests.conformance.test_lago_charge_models import version_of

Case = dict[str, Any]
FEE_ITEM = "fee"
INTERVALS = {
    "weekly": ("week", 1),
    "monthly": ("month", 1),
    "quarterly": ("month", 3),
    "semiannual": ("month", 6),
    "yearly": ("year", 1),
}
A_YEAR = {"weekly": 52, "monthly": 12, "quarterly": 4, "semiannual": 2, "yearly": 1}


# plans as a catalog


def catalog_of(case: Case) -> Document:
    prices: Document = {}
    plans: Document = {}
    meters: Document = {}
    for plan in case["plans"]:
        code, charges = plan["code"], plan.get("charges", [])
        fee, fixed = {f"{code}.fee": _fee(plan)}, {f"{code}.{it['add_on']}": _fixed(it) for it in _fixed_of(plan)}
        usage = {f"{code}.{charge['metric']}": _usage(charge) for charge in charges}
        meters |= {charge["metric"]: _meter(charge) for charge in charges}
        own = {**usage, **fixed, **({} if has_fee_item(plan) else fee)}
        adjust = (
            [{**_minimum(plan["minimum_commitment_cents"]), "items": "all"}]
            if "minimum_commitment_cents" in plan
            else []
        )
        plans[code] = {"currency": case["currency"], "prices": sorted(own), "adjust": adjust}
        plans[f"{code}.fee"] = {"currency": case["currency"], "prices": sorted(fee)}
        prices |= {**fee, **usage, **fixed}
    priced = {key: {"currency": case["currency"], **price} for key, price in prices.items()}
    return {"tallystick": 1, "currencies": [case["currency"]], "meters": meters, "prices": priced, "plans": plans}


def _fixed_of(plan: Case) -> list[Case]:
    return list(plan.get("fixed_charges", []))


def has_fee_item(plan: Case) -> bool:
    return "trial_days" in plan and bool(plan.get("charges"))


def amount(cents: int) -> str:
    return plain(Decimal(cents).scaleb(-2))


def _fee(plan: Case) -> Document:
    when = "in_advance" if plan["pay_in_advance"] else "in_arrears"
    return {"model": "flat", "due": when, "prorate": "days", "versions": [{"amount": amount(plan["amount_cents"])}]}


def _fixed(charge: Case) -> Document:
    """So many units of an add-on, whether or not they are used."""
    when = "in_advance" if charge["pay_in_advance"] else "in_arrears"
    prorated = {"prorate": "days"} if charge["prorated"] else {}
    total = Decimal(charge["units"]) * Decimal(charge["unit_amount"])
    return {"model": "flat", "due": when, **prorated, "versions": [{"amount": plain(total)}]}


def _usage(charge: Case) -> Document:
    price = charge["price"]
    adjust = [_minimum(charge["min_amount_cents"])] if "min_amount_cents" in charge else []
    model, numbers = version_of(charge)
    version = {**numbers, "adjust": adjust}
    if "filters" not in price:
        return {"model": model, "meter": charge["metric"], "versions": [version]}
    cells = [
        {"match": {name: value}, "unit_amount": one["unit_amount"]}
        for one in price["filters"]
        for name, values in one["values"].items()
        for value in values
    ]
    return {"model": "matrix", "meter": charge["metric"], "versions": [{**version, "cells": cells}]}


def _minimum(cents: int) -> Document:
    return {"kind": "minimum", "amount": amount(cents), "prorate": "days"}


def _meter(charge: Case) -> Document:
    aggregation = charge.get("aggregation", "sum")
    dimensions = sorted({name for one in charge["price"].get("filters", []) for name in one["values"]})
    meter: Document = {"event_type": charge["metric"], "aggregation": aggregation, "group_by": dimensions}
    if aggregation != "count":
        meter["property"] = "value"
    if charge.get("recurring"):
        meter["carried"] = True
    return meter


# what is known at each step


@dataclass
class Known:
    """What is known of the subscriptions and their usage after some steps of a timeline."""

    case: Case
    agreed: dict[str, Agreed] = field(default_factory=dict)
    events: list[Document] = field(default_factory=list)
    codes: dict[str, str] = field(default_factory=dict)

    def take(self, step: Case, after: Sequence[Case]) -> None:
        """Learn of one step; `after` are those behind it."""
        match step["do"]:
            case "subscribe":
                self._subscribe(step, instant(step))
            case "terminate":
                self._end(step, self._end_of(step, after))
            case "change_plan":
                self._change(step)
            case "event":
                self.events += events_of(step)

    def plan(self, code: str) -> Case:
        [found] = [plan for plan in self.case["plans"] if plan["code"] == code]
        return dict(found)

    def _subscribe(self, step: Case, starts_at: datetime, anchor: datetime | None = None) -> None:
        plan, zone = self.plan(step["plan"]), self.case["timezone"]
        key = f"{step['subscription']}:{len(self.agreed)}"
        if step["billing_time"] == "anniversary" and anchor is None:
            anchor = midnight(local_date(starts_at, zone), zone)
        trial = starts_at + timedelta(days=0 if self.agreed else plan.get("trial_days", 0))
        item = (Change(trial, FEE_ITEM, f"{plan['code']}.fee"),) if has_fee_item(plan) else ()
        own = {"interval": INTERVALS[plan["interval"]], "anchor": anchor, "zone": zone, "changes": item}
        ends = trial if "trial_days" in plan and not item else None
        self.agreed[key] = Agreed(key, plan["code"], starts_at, trial_ends_at=ends, **own)
        self.codes[step["subscription"]] = key

    def _end(self, step: Case, ends_at: datetime) -> None:
        key = self.codes[step["subscription"]]
        self.agreed[key] = self.agreed[key]._replace(ends_at=ends_at)

    def _end_of(self, step: Case, after: Sequence[Case]) -> datetime:
        zone, at = self.case["timezone"], instant(step)
        day = local_date(at, zone)
        begins = [local_date(instant(one), zone) for one in after if one["do"] == "subscribe"]
        return at if day in begins else midnight(day + timedelta(days=1), zone)

    def _change(self, step: Case) -> None:
        """A dearer plan holds at once, a cheaper one from the next period on; another interval is another billing cycle
        with the same anchor."""
        one = self.agreed[self.codes[step["subscription"]]]
        old, new, at = self.plan(one.plan), self.plan(step["plan"]), instant(step)
        if yearly(new) < yearly(old):
            [at] = [end for start, end in cut(one.anchor, one.interval, at, at + timedelta(seconds=1), one.zone)]
        interval, intervals = INTERVALS[new["interval"]]
        change = Change(at, plan=new["code"], interval=interval, intervals=intervals, anchor=one.anchor)
        self.agreed[one.key] = one._replace(changes=(*one.changes, change))

    def period_end(self, at: datetime) -> datetime:
        """Of the period that a subscription is in, the last instant."""
        ends = [
            end
            for one in self.agreed.values()
            for _, end in cut(one.anchor, one.interval, at, at + timedelta(seconds=1), one.zone)
        ]
        return max(ends)


def yearly(plan: Case) -> int:
    """What a plan costs in a year."""
    return int(plan["amount_cents"]) * A_YEAR[plan["interval"]]


def instant(step: Case) -> datetime:
    return datetime.fromisoformat(step["at"]).astimezone(UTC)


def local_date(at: datetime, zone: str) -> date:
    return at.astimezone(ZoneInfo(zone)).date()


def events_of(step: Case) -> list[Document]:
    data = step.get("properties", {})
    event = {
        "type": step["metric"],
        "time": datetime.fromisoformat(str(step.get("timestamp", step["at"]))),
        "data": data,
    }
    return [event] * step.get("times", 1)


def steps(case: Case) -> Iterator[tuple[Case, Known]]:
    """Each step with what is known behind it. A run that another one follows on the same day, and that nothing is
    expected of, is that other one."""
    known, timeline = Known(case), case["timeline"]
    for place, step in enumerate(timeline):
        known.take(step, timeline[place + 1 :])
        following = timeline[place + 1] if place + 1 < len(timeline) else None
        is_again = following is not None and (following["do"], following["at"][:10]) == (step["do"], step["at"][:10])
        if "expect" in step or not (is_again and step["do"] == "run_billing"):
            yield step, known
