"""A real engine on a temporary directory beside the model of its quotas, compared whenever something has happened."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from api.engine import Engine
from api.settings import Settings
from rating.core.quota.answer import QuotaAnswer
from store.customers import Customer
from store.leases import Lease
from store.signals import RecordedSignal
from store.subscriptions import Subscription
from tests.api.quota_plans import AGREED_AT, ANCHOR, BEGIN, CATALOGS, METERS, POLICIES, SUBJECTS, ZONE, written
from tests.oracle.quota import Answer, Quotas
from tests.oracle.quota_records import Customer as Known
from tests.oracle.quota_records import Owner, Plan, Use


class QuotasCompared(RuleBasedStateMachine):
    """Without the rules that move them. What is done to both is in test_quota_machine.py."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        known = {
            "acme": Known("acme", ZONE, ["a1", "a2"], "group"),
            "group": Known("group", ZONE, ["g1"]),
        }
        self.model = Quotas(METERS, CATALOGS[0], known)
        self.directory = Path(tempfile.mkdtemp())
        self.copies = self.number = 0
        self.changes: dict[str, list[tuple[datetime, str]]] = {}
        self.ends: dict[str, datetime | None] = dict.fromkeys(known)
        self.events: dict[str, Use] = {}
        self.leases: dict[str, Lease] = {}
        self.signals: list[RecordedSignal] = []
        self.expected: set[tuple[Any, ...]] = set()
        self.before: dict[Owner, dict[str, int]] = {}

    @initialize()
    def open(self) -> None:
        self._start()
        self.engine.apply_catalog(json.dumps(written(CATALOGS[0])), format="json")
        group = Customer("group", "", ZONE, BEGIN, ("g1",))
        self.engine.put_customers([group, Customer("acme", "", ZONE, BEGIN, ("a1", "a2"), parent="group")])
        for key, plan in (("acme", "small"), ("group", "big")):
            self._put_subscription(key, plan, None)
            self.changes[key] = [(AGREED_AT, plan)]
            self._plan(key)

    def _start(self) -> None:
        settings = Settings(data=self.directory / f"data-{self.copies}")
        self.engine = Engine.open(settings, now=lambda: self.now)

    def _put_subscription(self, customer: str, plan: str, ends_at: datetime | None) -> None:
        given = Subscription(f"s-{customer}", customer, plan, AGREED_AT, ends_at, anchor=ANCHOR)
        self.engine.put_subscriptions([given])

    def _plan(self, customer: str) -> None:
        """What the changes, whenever they were recorded, and the end make of a subscription."""
        plans: list[Plan] = []
        for at, plan in sorted(self.changes[customer], key=lambda change: change[0]):
            if plans:
                plans[-1].end = at
            if plans and plans[-1].start == at:
                plans.pop()
            if plans and plans[-1].plan == plan:
                plans[-1].end = None
            else:
                plans.append(Plan(plan, at, None, ANCHOR))
        plans[-1].end = self.ends[customer]
        self.model.customers[customer].plans = plans
        self._terms_changed()

    def _owners(self) -> Iterator[Owner]:
        for known in self.model.customers.values():
            for feature in METERS:
                found = {owner for subject in known.subjects for owner in self.model.owners(subject, feature)}
                yield from sorted(owner for owner in found if owner.scope != "pool")

    def _remember(self) -> None:
        """Where accounts stand before they move."""
        self.before = {}
        for owner in self._owners():
            used, levels, _ = self.model.levels(owner, self.now)
            self.before[owner] = {"": used, **{name: at for name, at in levels.items() if used >= at}}

    def _count(self, uses: list[Use]) -> None:
        self.model.uses += uses
        for owner in self._owners():
            used, levels, stand = self.model.levels(owner, self.now)
            before = self.before[owner]
            if stand.entitled and used > before[""]:
                self._raise(owner, {n: at for n, at in levels.items() if used >= at and n not in before}, stand)

    def _terms_changed(self) -> None:
        """Everything is counted again: what is reached now is said, if it was not."""
        for owner in self._owners():
            used, levels, stand = self.model.levels(owner, self.now)
            if stand.entitled and used:
                self._raise(owner, {name: at for name, at in levels.items() if used >= at}, stand)

    def _raise(self, owner: Owner, levels: dict[str, int], stand: Any) -> None:
        for name in levels:
            kind = "quota.exhausted" if name == "100%" else "quota.threshold"
            said = (owner.scope, owner.key, owner.feature, stand.window[0], name, stand.limit or 0)
            self.expected.add((kind, *said))

    @invariant()
    def checks_are_the_models(self) -> None:
        if not hasattr(self, "engine"):
            return
        self._record()
        for subject in SUBJECTS:
            for feature in METERS:
                asked = [0, 1, 7]
                answers = [self.engine.quota.check(subject, feature, Decimal(n), self.now) for n in asked]
                expected = self.model.checks(subject, feature, asked, self.now)
                shown = [self._shown(one) for one in answers]
                assert shown == expected, f"{subject} {feature} {self.now}: {shown} instead of {expected}"

    def _shown(self, answer: QuotaAnswer) -> Answer:
        if answer.reason in ("suspended", "not_entitled"):
            return Answer(answer.allowed, answer.reason)
        numbers = [
            None if n is None else int(n) for n in (answer.limit, answer.used, answer.reserved, answer.remaining)
        ]
        return Answer(answer.allowed, answer.reason, *numbers, answer.resets_at, answer.owner)

    def _record(self) -> None:
        """All signals that there are by now, and the states that they lead to."""
        self.engine.quota.refresh()
        self.engine.signalling.outbox.record()
        self._read()
        self.engine.quota.tick(self.now)
        self.engine.signalling.states.end_due()
        self.engine.signalling.outbox.record()
        self._read()
        found = {self._said(s) for s in self.signals if s.type in ("quota.exhausted", "quota.threshold")}
        is_sure = {said for said in self.expected if said[3] != "calls"}
        assert is_sure <= found, is_sure - found
        assert found <= self.expected, found - self.expected
        ids = [signal.id for signal in self.signals]
        assert len(set(ids)) == len(ids)

    def _read(self) -> None:
        last = self.signals[-1].sequence if self.signals else 0
        for signal in self.engine.store.signals.after(last, limit=1000):
            self.signals.append(signal)
            if signal.type in ("quota.exhausted", "quota.threshold") and signal.scope == "customer":
                self._obey(signal)
            elif signal.type == "quota.restored":
                self._restored(signal)

    def _said(self, signal: RecordedSignal) -> tuple[Any, ...]:
        data, start = signal.data, signal.data["window_start"]
        begin = None if start is None else datetime.fromisoformat(start)
        who = (signal.scope, signal.owner, signal.feature)
        return (signal.type, *who, begin, data["level"], int(data["limit"]))

    def _obey(self, signal: RecordedSignal) -> None:
        known, reached_at = self.model.customers[signal.customer], datetime.fromisoformat(signal.data["reached_at"])
        running = {p.plan for p in known.plans if p.start <= reached_at and (p.end is None or reached_at < p.end)}
        for plan in running:
            for policy in POLICIES:
                is_met = policy["feature"] == signal.feature and policy.get("at", "100%") == signal.data["level"]
                if not is_met or ("daily" not in self.model.plans[plan] and policy is POLICIES[1]):
                    continue
                ends = None if policy.get("until") == "manual" else signal.data["window_end"]
                until = None if ends is None else datetime.fromisoformat(ends)
                id = f"{plan}/{POLICIES.index(policy)}/{signal.id.removeprefix('sig_')}"
                if until is None or until > self.now:
                    state = {"id": id, "since": reached_at, "until": until, "features": policy["features"]}
                    known.states.append({**state, "of": (signal.scope, signal.owner, signal.feature)})

    def _restored(self, signal: RecordedSignal) -> None:
        known, of = self.model.customers[signal.customer], (signal.scope, signal.owner, signal.feature)
        exhausted = [s for s in self.signals if s.type == "quota.exhausted" and (s.scope, s.owner, s.feature) == of]
        assert exhausted, signal
        self._has_room_again(signal)
        known.states = [state for state in known.states if state["of"] != of or state["until"] is None]

    def _has_room_again(self, signal: RecordedSignal) -> None:
        """Whatever changed the terms: what is told to be restored has something left, or is owed no more."""
        owner = Owner(signal.scope, signal.owner, signal.customer, signal.feature)
        stand = self.model.stands(owner, self.now)
        more = 0 if signal.data["level"] == "100%" else 1
        assert stand.entitled, signal
        assert stand.limit is None or stand.used < stand.limit + more, (signal, stand)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()
        shutil.rmtree(self.directory)
