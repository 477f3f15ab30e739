"""Leases and consume against a plain Python model: holds, reports, renewals, release, expiry, a month's end, restarts.

The limit is 100 a month, and the clock stands a minute before a month's end.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from api.engine import Engine
from api.leases import LeaseAsked, ReportAsked
from api.settings import Settings
from rating.core.quota.answer import QuotaAnswer
from store.customers import Customer
from store.errors import UsageGoesBack
from store.leases import Lease
from store.subscriptions import Subscription
from tests.api.conftest import CATALOG, event

LIMIT = 100
MONTH_END = datetime(2026, 11, 1, tzinfo=UTC)
BEGIN = MONTH_END - timedelta(minutes=1)
small, amounts = st.integers(0, 15), st.integers(1, 60)


@dataclass
class Held:
    """What the model knows of a lease. All numbers are whole."""

    granted: int
    left: int
    minimum: int
    seconds: int
    expires_at: datetime
    made_at: datetime
    used: int = 0
    sequence: int = 0
    state: str = "open"


class Model:
    def __init__(self) -> None:
        self.now = BEGIN
        self.used = {9: 0, 10: 0, 11: 0}
        self.leases: dict[str, Held] = {}

    def held(self) -> int:
        return sum(lease.left for lease in self.leases.values())

    def room(self) -> int:
        return LIMIT - self.used[self.now.month] - self.held()

    def end(self, seconds: int) -> datetime:
        later = self.now + timedelta(seconds=seconds)
        return min(later, MONTH_END) if self.now < MONTH_END else later

    def granted(self, amount: int, minimum: int, alone: bool) -> int:
        """None is granted where `minimum` is not there."""
        room = self.room()
        if room <= 0 or minimum > room:
            return 0
        return min(amount, room if alone else max(room // 2, minimum))

    def make(self, id: str, amount: int, minimum: int, seconds: int) -> int:
        granted = self.granted(amount, minimum, alone=self.held() == 0)
        if granted:
            self.leases[id] = Held(granted, granted, minimum, seconds, self.end(seconds), self.now)
        return granted

    def report(self, id: str, sequence: int, used: int, renew: int | None, *, release: bool) -> bool:
        """Whether it goes back."""
        lease = self.leases[id]
        is_newest = sequence >= lease.sequence
        if sequence > lease.sequence:
            if used < lease.used:
                return True
            delta = used - lease.used
            at = max(lease.made_at, min(self.now, lease.expires_at - timedelta(microseconds=1)))
            self.used[at.month] += delta
            lease.left = max(lease.left - delta, 0)
            lease.used, lease.sequence = used, sequence
        if release and lease.state == "open":
            lease.state, lease.left = "released", 0
        if renew is not None and is_newest and lease.state == "open":
            missing = renew - lease.left
            if missing > 0:
                alone = self.held() == lease.left
                more = self.granted(missing, min(missing, lease.minimum), alone)
                lease.left += more
                lease.granted = lease.used + lease.left if more else lease.granted
            lease.expires_at = self.end(lease.seconds)
        return False

    def expire(self) -> None:
        for lease in self.leases.values():
            if lease.state == "open" and lease.expires_at <= self.now:
                lease.state, lease.left = "expired", 0


class Leasing(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.directory = Path(tempfile.mkdtemp())
        self.number = 0

    def _now(self) -> datetime:
        return self.model.now

    @initialize()
    def open(self) -> None:
        self.engine = Engine.open(Settings(data=self.directory / "data"), now=self._now)
        pro = {**CATALOG["plans"]["pro"], "entitlements": {"tokens": {"limit": str(LIMIT), "window": "month"}}}
        catalog = {**CATALOG, "plans": {**CATALOG["plans"], "pro": pro}}
        self.engine.apply_catalog(json.dumps(catalog), format="json")
        self.engine.put_customers([Customer("acme", "", "UTC", BEGIN, ("acme",))])
        self.engine.put_subscriptions([Subscription("s", "acme", "pro", datetime(2026, 1, 1, tzinfo=UTC), None)])

    @rule(amount=amounts, minimum=small, seconds=st.sampled_from([5, 30, 300]))
    def make(self, amount: int, minimum: int, seconds: int) -> None:
        minimum = min(max(minimum, 1), amount)
        self.number += 1
        id = f"lease-{self.number}"
        granted = self.model.make(id, amount, minimum, seconds)
        asked = LeaseAsked(id, "acme", "tokens", Decimal(amount), Decimal(minimum), seconds, "usage", {})
        made = self.engine.leases.make(asked)
        assert isinstance(made, Lease) == (granted > 0)
        if isinstance(made, Lease):
            assert self.engine.leases.make(asked) == made

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), sequence=st.integers(0, 3), used=st.integers(-1, 20), renew=st.none() | amounts)
    def report(self, data: st.DataObject, sequence: int, used: int, renew: int | None) -> None:
        self._tell(data, sequence, used, renew, release=False)

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), sequence=st.integers(1, 3), used=st.integers(0, 20))
    def release(self, data: st.DataObject, sequence: int, used: int) -> None:
        self._tell(data, sequence, used, None, release=True)

    def _tell(self, data: st.DataObject, ahead: int, more: int, renew: int | None, *, release: bool) -> None:
        id = data.draw(st.sampled_from(sorted(self.model.leases)))
        lease = self.model.leases[id]
        sequence, used = max(lease.sequence + ahead - 1, 1), max(lease.used + more, 0)
        goes_back = self.model.report(id, sequence, used, renew, release=release)
        asked = ReportAsked(sequence, Decimal(used), renew=None if renew is None else Decimal(renew))
        tell = self.engine.leases.release if release else self.engine.leases.report
        if goes_back:
            with pytest.raises(UsageGoesBack):
                tell(id, asked)
        else:
            tell(id, asked)

    @rule(tokens=st.integers(1, 40))
    def consume(self, tokens: int) -> None:
        self.number += 1
        body = event(f"event-{self.number}", data={"input_tokens": tokens}, time=self.model.now.isoformat())
        fits = tokens <= self.model.room()
        for _ in range(2):
            assert self.engine.consuming.consume(json.dumps(body).encode()).allowed == fits
        if fits:
            self.model.used[self.model.now.month] += tokens

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds: int) -> None:
        self.model.now += timedelta(seconds=seconds)
        self.model.expire()
        self.engine.leases.tick()

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self.engine = Engine.open(Settings(data=self.directory / "data"), now=self._now)

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        if not hasattr(self, "engine"):
            return
        answer = self.engine.quota.check("acme", "tokens", Decimal(0), self.model.now)
        assert isinstance(answer, QuotaAnswer)
        assert (answer.used, answer.reserved) == (self.model.used[self.model.now.month], self.model.held())
        for id, expected in self.model.leases.items():
            lease = self.engine.leases.get(id)
            found = (lease.granted, lease.used, lease.sequence, lease.state, lease.expires_at)
            assert found == (expected.granted, expected.used, expected.sequence, expected.state, expected.expires_at), (
                id
            )

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()
        shutil.rmtree(self.directory)


def test_leases_do_what_the_model_does() -> None:
    run_state_machine_as_test(Leasing, settings=settings(max_examples=8, stateful_step_count=25))


@pytest.mark.long
def test_leases_do_what_the_model_does_for_long() -> None:
    run_state_machine_as_test(Leasing, settings=settings(max_examples=100, stateful_step_count=40))
