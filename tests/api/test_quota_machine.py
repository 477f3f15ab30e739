"""Quotas of all kinds at once against a plain Python model (tests/oracle/quota.py): whatever happens to them, in any
order, over the ends of windows, restarts and crashes. After each step every check, and every signal, is the model's.

Two plans of seven features: a hard month and a day with grace of one meter, a soft hour and a rolling day of another, a
lifetime with grants and a billing period that rolls over and carries, and a month that a parent shares.
"""

import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
    run_state_machine_as_test,
)

from api.feature_events import BATCH
from api.leases import LeaseAsked, ReportAsked
from ingest.verdicts import DUPLICATE
from store.errors import DatabaseUnavailable, Refused
from store.leases import Lease
from store.quota_grants import QuotaGrantRecord
from store.quota_overrides import QuotaOverride
from store.subscription_changes import AskedChange
from tests.api.quota_compared import QuotasCompared
from tests.api.quota_plans import AGREED_AT, CATALOGS, GOING_ON, GRANTED, METERS, SUBJECTS, written
from tests.oracle.quota_records import NEVER, Grant, Override, Use
from tests.oracle.quota_records import Customer as Known

amounts, subjects, features = st.integers(0, 14), st.sampled_from(SUBJECTS), st.sampled_from(sorted(METERS))


class QuotaMachine(QuotasCompared):
    # usage

    @rule(meter=st.sampled_from("abcd"), subject=subjects, parts=st.lists(amounts, min_size=1, max_size=3))
    def use(self, meter: str, subject: str, parts: list[int]) -> None:
        self._post([Use(meter, subject, self.now, n) for n in parts])

    @rule(meter=st.sampled_from("abcd"), subject=subjects, n=amounts, minutes=st.integers(-4000, 60))
    def use_late_or_early(self, meter: str, subject: str, n: int, minutes: int) -> None:
        self._post([Use(meter, subject, self.now + timedelta(minutes=minutes), n)])

    @precondition(lambda self: any(key.startswith("event") for key in self.events))
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(key for key in self.events if key.startswith("event"))))
        verdict = self.engine.log.submit(json.dumps([self._body(key, self.events[key])]).encode(), BATCH).result()
        assert (verdict.accepted, [event.code for event in verdict.events]) == (0, [DUPLICATE])

    @precondition(lambda self: self.events)
    @rule(data=st.data(), n=st.none() | amounts)
    def correct(self, data: st.DataObject, n: int | None) -> None:
        """Void an event, or replace it."""
        key = data.draw(st.sampled_from(sorted(self.events)))
        use = self.events.pop(key)
        new = self._key("correction")
        more = {"action": "void"} if n is None else {"action": "replace", "data": {"n": n}}
        body = {"corrects": {"source": "test", "id": key}, "source": "test", "id": new, **more}
        verdict = self.engine.log.corrections.submit(json.dumps([body]).encode(), "application/json").result()
        assert verdict.accepted == 1, verdict
        self._remember()
        self.model.uses.remove(use)
        if n is not None:
            self._remember()
            self.events[new] = Use(use.meter, use.subject, use.at, n)
            self._count([self.events[new]])

    @rule(meter=st.sampled_from("abcd"), subject=subjects, n=st.integers(1, 14))
    def consume(self, meter: str, subject: str, n: int) -> None:
        use, key = Use(meter, subject, self.now, n), self._key("event")
        answers = [self.model.check(subject, f, n, self.now) for f, m in METERS.items() if m == meter]
        entitled = [answer for answer in answers if answer.reason != "not_entitled"] or answers
        fits = all(answer.allowed for answer in entitled)
        body = json.dumps(self._body(key, use)).encode()
        assert [self.engine.consuming.consume(body).allowed for _ in range(2)] == [fits, fits]
        if fits:
            self.events[key] = use
            self._remember()
            self._count([use])

    def _post(self, uses: list[Use]) -> None:
        keys = [self._key("event") for _ in uses]
        self.events |= dict(zip(keys, uses, strict=True))
        body = json.dumps([self._body(key, use) for key, use in zip(keys, uses, strict=True)]).encode()
        assert self.engine.log.submit(body, BATCH).result().accepted == len(uses)
        self._remember()
        self._count(uses)

    def _body(self, key: str, use: Use) -> dict[str, Any]:
        said = {"id": key, "type": use.meter, "subject": use.subject, "time": use.at.isoformat()}
        return {"specversion": "1.0", "source": "test", **said, "data": {"n": use.amount}}

    def _key(self, kind: str) -> str:
        self.number += 1
        return f"{kind}-{self.number:04d}"

    # leases

    @rule(subject=subjects, feature=features, n=st.integers(1, 20), seconds=st.sampled_from([60, 3600]))
    def lease(self, subject: str, feature: str, n: int, seconds: int) -> None:
        id = self._key("lease")
        answer = self.model.check(subject, feature, 1, self.now)
        asked = LeaseAsked(id, subject, feature, Decimal(n), Decimal(1), seconds, "usage", {})
        made = self.engine.leases.make(asked)
        assert isinstance(made, Lease) == answer.allowed, (made, answer)
        if isinstance(made, Lease):
            assert 1 <= made.granted <= min([n, *self._rooms(subject, feature)])
            self.leases[id] = made
            self.model.held[id] = (subject, feature, int(made.granted))

    def _rooms(self, subject: str, feature: str) -> Iterator[int]:
        """What is left of each hard limit."""
        for owner in self.model.owners(subject, feature):
            stand, says = self.model.stands(owner, self.now), None
            says = stand.says or {}
            holds = owner.scope != "pool" or says.get("shared")
            if holds and stand.entitled and stand.limit is not None and says.get("enforcement") != "soft":
                yield stand.limit - stand.used - self.model.reserved(owner) + int(says.get("grace", 0))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), more=st.integers(0, 12), release=st.booleans())
    def report(self, data: st.DataObject, more: int, release: bool) -> None:
        id = data.draw(st.sampled_from(sorted(self.leases)))
        lease = self.leases[id]
        is_open = id in self.model.held
        tell = self.engine.leases.release if release else self.engine.leases.report
        told = tell(id, ReportAsked(None, lease.used + more))
        at = max(lease.made_at, min(self.now, lease.expires_at - timedelta(microseconds=1)))
        self._remember()
        if is_open:
            left = self.model.held[id][2] - more
            self.model.held[id] = (lease.subject, lease.feature, left)
            if release or left <= 0:
                del self.model.held[id]
        if not release:
            self.leases[id] = told
        if more:
            self._count([Use(METERS[lease.feature], lease.subject, at, more)])
        if release:
            del self.leases[id]

    # terms

    @rule(
        customer=st.sampled_from(["acme", "group"]),
        feature=st.sampled_from(GRANTED),
        n=st.integers(1, 20),
        priority=st.sampled_from([1, 100, 200]),
        begins=st.sampled_from([0, 0, 90, -2000]),
        lasts=st.none() | st.sampled_from([45, 1440, 9000]),
        most=st.none() | st.integers(0, 6),
    )
    def grant(
        self, customer: str, feature: str, n: int, priority: int, begins: int, lasts: int | None, most: int | None
    ) -> None:
        id, start = self._key("grant"), self.now + timedelta(minutes=begins)
        expires = None if lasts is None else start + timedelta(minutes=lasts)
        clipped = None if most is None else Decimal(most)
        given = QuotaGrantRecord(
            id, customer, feature, Decimal(n), priority, self.now, start, expires, None, None, None, None, clipped, {}
        )
        if any(self._is_short(one, feature, max(start, self.now)) for one in self.model.customers[customer].overrides):
            with pytest.raises(Refused):
                self.engine.quota_records.grant(given, self.engine.in_force.catalog)
            return
        for _ in range(2):
            self.engine.quota_records.grant(given, self.engine.in_force.catalog)
        made = Grant(id, feature, n, priority, self.now, start, expires, None, most)
        self.model.customers[customer].grants.append(made)
        self._terms_changed()

    def _is_short(self, override: Override, feature: str, at: datetime) -> bool:
        """Whether it has hours of a whole customer at `at` or later, which take no grants."""
        of_feature = (override.feature, override.subject) == (feature, None)
        return of_feature and override.says.get("window") == "hour" and (override.end or NEVER) > at

    @precondition(lambda self: self._grants())
    @rule(data=st.data())
    def void_grant(self, data: st.DataObject) -> None:
        grant = data.draw(st.sampled_from(self._grants()))
        self.engine.quota_records.void(grant.id, None)
        grant.voided = self.now
        self._terms_changed()

    def _grants(self) -> list[Grant]:
        return [g for c in self.model.customers.values() for g in c.grants if g.voided is None]

    @rule(
        customer=st.sampled_from(["acme", "group"]),
        of_subject=st.booleans(),
        feature=features,
        limit=st.none() | st.integers(0, 50),
        window=st.none() | st.sampled_from(["hour", "day"]),
        lasts=st.none() | st.sampled_from([30, 700]),
    )
    def override(
        self, customer: str, of_subject: bool, feature: str, limit: int | None, window: str | None, lasts: int | None
    ) -> None:
        known = self.model.customers[customer]
        subject = known.subjects[0] if of_subject else None
        expires = None if lasts is None else self.now + timedelta(minutes=lasts)
        rule = None if window is None else dict.fromkeys(("every", "step", "anchor", "time_zone")) | {"kind": window}
        value = None if limit is None else Decimal(limit)
        given = {"limit": limit, "window": window, "n": self._key("override")}
        put = QuotaOverride(
            customer, subject, feature, limit is None, value, None, None, rule, self.now, expires, "", given
        )
        lasting = [g for g in known.grants if g.feature == feature and g.end > self.now]
        if window == "hour" and subject is None and (lasting or feature in GOING_ON):
            with pytest.raises(Refused):
                self.engine.quota_records.override(put, self.engine.in_force.catalog, is_included=False)
            return
        self.engine.quota_records.override(put, self.engine.in_force.catalog, is_included=False)
        self._end_override(known, feature, subject)
        says = {"limit": limit} | ({} if window is None else {"window": window})
        known.overrides.append(Override(feature, subject, self.now, expires, says))
        self._terms_changed()

    @rule(data=st.data())
    def remove_override(self, data: st.DataObject) -> None:
        running = [
            (known, o) for known in self.model.customers.values() for o in known.overrides if self._is_running(o)
        ]
        if running:
            known, one = data.draw(st.sampled_from(running))
            self.engine.quota_records.end_override(known.key, one.feature, one.subject)
            self._end_override(known, one.feature, one.subject)
            self._terms_changed()

    def _is_running(self, override: Override) -> bool:
        return override.start <= self.now and (override.end is None or self.now < override.end)

    def _end_override(self, known: Known, feature: str, subject: str | None) -> None:
        for one in known.overrides:
            if (one.feature, one.subject) == (feature, subject) and self._is_running(one):
                one.end = self.now
        known.overrides = [one for one in known.overrides if one.start != one.end]

    @rule(
        customer=st.sampled_from(["acme", "group"]),
        plan=st.sampled_from(["small", "big"]),
        minutes=st.sampled_from([0, 0, 40, -300]),
    )
    def change_plan(self, customer: str, plan: str, minutes: int) -> None:
        at = self.now + timedelta(minutes=minutes)
        if self.ends[customer] is not None or at <= AGREED_AT:
            return
        change = AskedChange(id=self._key("change"), effective_at=at, item="plan", plan=plan, given={"n": self.number})
        self.engine.change_subscription(f"s-{customer}", [change])
        self.changes[customer].append((at, plan))
        self._plan(customer)

    @rule(customer=st.sampled_from(["acme", "group"]), minutes=st.sampled_from([0, 25]))
    def cancel_or_resume(self, customer: str, minutes: int) -> None:
        end = self.now + timedelta(minutes=minutes) if self.ends[customer] is None else None
        changes = self.changes[customer]
        if end is None or end > max(at for at, _ in changes):
            self._put_subscription(customer, changes[0][1], end)
            self.ends[customer] = end
            self._plan(customer)

    @rule(number=st.sampled_from([0, 1]))
    def change_catalog(self, number: int) -> None:
        self.engine.apply_catalog(json.dumps(written(CATALOGS[number])), format="json")
        self.model.plans = CATALOGS[number]
        self._terms_changed()

    @rule()
    def let_go_on(self) -> None:
        """End by hand what no window ends."""
        for known in self.model.customers.values():
            for state in [state for state in known.states if state["until"] is None]:
                self.engine.signalling.states.end(known.key, state["id"])
                known.states.remove(state)

    # time and stops

    @rule(step=st.sampled_from([1, 10, 29, 30, 31, 60, 6 * 60, 24 * 60, 25 * 60, 7 * 24 * 60]))
    def wait(self, step: int) -> None:
        self.now += timedelta(minutes=step)
        self.engine.leases.tick()
        for id in [id for id in self.model.held if self.leases[id].expires_at <= self.now]:
            del self.model.held[id]

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self._start()
        self._terms_changed()

    @rule(subject=subjects, meter=st.sampled_from("abcd"), n=amounts)
    def crash(self, subject: str, meter: str, n: int) -> None:
        """What was answered is there again, also where no signal was recorded yet."""
        outbox, record = self.engine.signalling.outbox, self.engine.signalling.outbox._record

        def away(changes: object) -> None:
            raise DatabaseUnavailable("the process is about to end")

        outbox._record = away  # type: ignore[method-assign]
        self._post([Use(meter, subject, self.now, n)])
        old = self.directory / f"data-{self.copies}"
        self.copies += 1
        with self.engine.log.paused():
            shutil.copytree(old, self.directory / f"data-{self.copies}")
        self.engine.close()
        shutil.rmtree(old)
        outbox._record = record  # type: ignore[method-assign]
        self._start()
        self._terms_changed()


@pytest.fixture(autouse=True)
def nobody_looks_at_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes where a rule says so."""
    monkeypatch.setattr("api.outbox.TICK_SECONDS", 3600.0)
    monkeypatch.setattr("api.leases.TICK_SECONDS", 3600.0)


CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def test_quotas_are_what_the_model_says() -> None:
    phases = [Phase.explicit, Phase.generate]  # to make a smaller example of a failure takes minutes
    profile = settings(
        max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=CHECKS, phases=phases
    )
    run_state_machine_as_test(QuotaMachine, settings=profile)


@pytest.mark.parametrize(("is_scheduled", "gap"), [(False, 0), (False, 60), (True, 60)])
def test_a_grant_behind_the_end_of_a_plan_has_a_use_and_a_signal_of_its_own(is_scheduled: bool, gap: int) -> None:
    """Also where the process knows the plan, because all was scheduled while it held, and behind a restart."""
    machine = QuotaMachine()
    machine.open()
    try:
        machine.use("d", "g1", [9])
        if is_scheduled:
            machine.grant("group", "team", 17, 100, 25 + gap, None, None)
        machine.cancel_or_resume("group", 25)
        machine.checks_are_the_models()
        machine.now += timedelta(minutes=25 + gap)
        machine.use("d", "g1", [14, 14])
        if not is_scheduled:
            machine.grant("group", "team", 17, 100, 0, None, None)
        for again in (machine.checks_are_the_models, machine.restart, machine.checks_are_the_models):
            again()
            answer = machine.engine.quota.check("g1", "team", Decimal(1), machine.now)
            assert (answer.reason, answer.limit, answer.used, answer.resets_at) == ("exhausted", 17, 28, None)
        told = [signal.data for signal in machine.signals if signal.type == "quota.exhausted"]
        assert [(data["limit"], data["window_start"]) for data in told] == [("17", None)]
    finally:
        machine.teardown()


@pytest.mark.long
def test_quotas_are_what_the_model_says_for_long() -> None:
    profile = settings(max_examples=5000, stateful_step_count=100, deadline=None, suppress_health_check=CHECKS)
    run_state_machine_as_test(QuotaMachine, settings=profile)
