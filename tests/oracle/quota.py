"""What a quota must answer, by plain loops over everything that ever happened: written from docs/entitlements.md alone.

Nothing is kept between two questions: each walks the whole history of an account again, change by change, use by use
(quota_walk.py). Amounts are whole units of the meter, and none is below zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from tests.oracle.quota_records import NEVER, Customer, Entitlement, Grant, Owner, Stands, Use
from tests.oracle.quota_walk import Walk
from tests.oracle.quota_windows import local_days_later, window


class Answer(NamedTuple):
    allowed: bool
    reason: str
    limit: int | None = None
    used: int | None = None
    reserved: int | None = None
    remaining: int | None = None
    resets_at: datetime | None = None
    owner: str | None = None


@dataclass
class Quotas:
    meters: dict[str, str]  # of each feature
    plans: dict[str, dict[str, Entitlement]]
    customers: dict[str, Customer]
    uses: list[Use] = field(default_factory=list)
    held: dict[str, tuple[str, str, int]] = field(default_factory=dict)  # subject, feature, amount

    def customer_of(self, subject: str) -> Customer:
        return next(one for one in self.customers.values() if subject in one.subjects)

    def check(self, subject: str, feature: str, amount: int, now: datetime) -> Answer:
        return self.checks(subject, feature, [amount], now)[0]

    def checks(self, subject: str, feature: str, amounts: list[int], now: datetime) -> list[Answer]:
        """What is answered to each amount."""
        if self.is_suspended(self.customer_of(subject), feature, now):
            return [Answer(False, "suspended") for _ in amounts]
        stands = [(owner, self.stands(owner, now)) for owner in self.owners(subject, feature)]
        stands = [(o, s) for o, s in stands if s.entitled and (o.scope != "pool" or (s.says or {}).get("shared"))]
        if not stands:
            return [Answer(False, "not_entitled") for _ in amounts]
        answers = []
        for amount in amounts:
            judged = [self._judged(owner, stand, amount) for owner, stand in stands]
            refused = [one for one in judged if not one[1].allowed]
            answers.append(min(refused or judged, key=lambda one: one[0])[1])
        return answers

    def is_suspended(self, customer: Customer, feature: str, now: datetime) -> bool:
        for state in customer.states:
            concerns = not state["features"] or feature in state["features"]
            if concerns and state["since"] <= now < (state["until"] or NEVER):
                return True
        return False

    def owners(self, subject: str, feature: str) -> list[Owner]:
        """Whose limits a subject's use of a feature counts against."""
        customer = self.customer_of(subject)
        found = [Owner("customer", customer.key, customer.key, feature)]
        if any(o.subject == subject and o.feature == feature for o in customer.overrides):
            found.insert(0, Owner("key", subject, customer.key, feature))
        if customer.parent is not None:
            found.append(Owner("pool", customer.parent, customer.parent, feature))
        return found

    def reserved(self, owner: Owner) -> int:
        plans = self.customers[owner.customer].plans
        is_shared = any(self.plans[one.plan].get(owner.feature, {}).get("shared") for one in plans)
        here = [(subject, amount) for subject, feature, amount in self.held.values() if feature == owner.feature]
        return sum(amount for subject, amount in here if self._counts(owner, subject, is_shared=is_shared))

    def _judged(self, owner: Owner, stand: Stands, amount: int) -> tuple[tuple[bool, int], Answer]:
        held, says = self.reserved(owner), stand.says or {}
        ends, whose = stand.window[1], owner.key
        if stand.limit is None:
            return (True, 0), Answer(True, "unlimited", None, stand.used, held, None, ends, whose)
        room = stand.limit - stand.used - held
        with_grace = room + (says.get("grace", 0) if says.get("enforcement") == "grace" else 0)
        if room > 0 and amount <= room:
            reason = "allowed"
        elif says.get("enforcement") == "soft":
            reason = "over_soft_limit"
        elif with_grace <= 0:
            reason = "exhausted"
        else:
            reason = "in_grace" if amount <= with_grace else "would_exceed"
        is_allowed = reason not in ("exhausted", "would_exceed")
        return (False, room), Answer(is_allowed, reason, stand.limit, stand.used, held, max(room, 0), ends, whose)

    def stands(self, owner: Owner, now: datetime) -> Stands:
        if self.is_month_alone(owner):
            return self._month(owner, now)
        return Walk(self, owner).to(now)

    def is_month_alone(self, owner: Owner) -> bool:
        """Whether it is a hard limit of calendar months and nothing else: those count whatever is used in the month."""
        if owner.scope != "customer":
            return False
        customer = self.customers[owner.customer]
        given = [plan[owner.feature] for plan in self.plans.values() if owner.feature in plan]
        beside = [o for o in (*customer.grants, *customer.overrides) if o.feature == owner.feature]
        return not beside and all(set(one) == {"limit", "window"} and one["window"] == "month" for one in given)

    def _month(self, owner: Owner, now: datetime) -> Stands:
        start, end = window("month", now, self.customers[owner.customer].zone)
        says = self.says(owner, now)
        used = self.used(owner, start, end or NEVER, is_shared=False)
        return Stands(says is not None, used, says["limit"] if says else None, (start, end), says, [])

    def used(self, owner: Owner, start: datetime, end: datetime, *, is_shared: bool) -> int:
        meter = self.meters[owner.feature]
        here = [use for use in self.uses if use.meter == meter and start <= use.at < end]
        return sum(use.amount for use in here if self._counts(owner, use.subject, is_shared=is_shared))

    def _counts(self, owner: Owner, subject: str, *, is_shared: bool) -> bool:
        if owner.scope == "key":
            return subject == owner.key
        customer = self.customer_of(subject)
        return customer.key == owner.key or (is_shared and customer.parent == owner.key)

    def says(self, owner: Owner, at: datetime) -> Entitlement | None:
        """What plans, or an override instead of them, give at an instant."""
        customer, feature = self.customers[owner.customer], owner.feature
        subject = owner.key if owner.scope == "key" else None
        given = [
            {**self.plans[one.plan][feature], "anchor": one.anchor}
            for one in customer.plans
            if subject is None and feature in self.plans[one.plan] and one.start <= at < (one.end or NEVER)
        ]
        standing_in = [
            one.says
            for one in customer.overrides
            if (one.feature, one.subject) == (feature, subject) and one.start <= at < (one.end or NEVER)
        ]
        if not given and not standing_in:
            return None
        planned = given[0] if given else {"limit": 0, "window": "month"}
        return {**planned, **standing_in[-1]} if standing_in else planned

    def grants(self, owner: Owner, until: datetime) -> Iterator[Grant]:
        """What is granted of a feature, by hand and by plans; what never can be used is nothing."""
        customer = self.customers[owner.customer]
        if owner.scope == "key":
            return
        for grant in customer.grants:
            if grant.feature == owner.feature and grant.end > grant.start:
                yield grant
        for place, one in enumerate(customer.plans):
            goes_on = place > 0 and customer.plans[place - 1].plan == one.plan
            welcome = self.plans[one.plan].get(owner.feature, {}).get("welcome")
            if welcome is not None and not (goes_on and customer.plans[place - 1].end == one.start):
                last = self._end_of_plan(customer, place)
                expires = min(local_days_later(one.start, welcome["days"], customer.zone), last)
                name = f"plan/{one.start.isoformat()}"
                if expires > one.start:
                    yield Grant(name, owner.feature, welcome["amount"], 10, one.start, one.start, expires)

    def _end_of_plan(self, customer: Customer, place: int) -> datetime:
        one = customer.plans[place]
        for other in customer.plans[place + 1 :]:
            if other.plan != one.plan or other.start != one.end:
                break
            one = other
        return one.end or NEVER

    def levels(self, owner: Owner, now: datetime) -> tuple[int, dict[str, int], Stands]:
        """What is used in the window, and at how much each level is reached."""
        stand = self.stands(owner, now)
        if not stand.entitled:
            return 0, {}, stand
        found: dict[int, str] = {}
        for name in (stand.says or {}).get("thresholds", ()):
            if not name.endswith("%"):
                found[int(name)] = name
            elif stand.limit is not None:
                found[ceil(Fraction(stand.limit * int(name[:-1]), 100))] = name
        if stand.limit is not None:
            found[stand.limit] = "100%"
        return stand.used, {name: units for units, name in found.items()}, stand
