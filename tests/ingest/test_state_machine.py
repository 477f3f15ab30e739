"""Any order of posts, resends, conflicts, late events, corrections, flushes, merges and restarts, compared with a dict
after every step.

The engine is the whole one: log, store, live quota counters. What is read back after each post is a usage query and a
quota check, so an acknowledgement that they do not show is a failure.
"""

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from api.engine import Engine
from api.settings import Settings
from api.usage import UsageQuery
from store.customers import Customer
from store.subscriptions import Subscription
from tests.api.conftest import CATALOG, NOW, event
from tests.conftest import PROFILE

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
DAYS = ("2026-10-10T10:00:00Z", "2026-10-14T23:59:59.999999Z", "2026-10-01T00:00:00Z")
LATE = ("2026-09-30T23:59:59.999999Z", "2026-08-01T00:00:00Z", "2024-02-29T12:00:00Z")
SOURCES, MODELS = ("gw", "gw-2"), ("big", "small")
tokens = st.decimals(0, 10**6, places=9).map(lambda value: f"{value:f}")
Key = tuple[str, str]


def open_engine(directory: Path) -> Engine:
    return Engine.open(Settings(data=directory), now=lambda: NOW)


@cache
def sold_directory() -> Path:
    """A data directory with the catalog, and `acme` on the plan `pro`: made once, copied for each example."""
    directory = Path(tempfile.mkdtemp(prefix="tallystick-sold-"))
    atexit.register(shutil.rmtree, directory)
    with closing(open_engine(directory)) as engine:
        engine.apply_catalog(orjson.dumps(CATALOG), format="json")
        engine.put_customers([Customer("acme", "Acme", "UTC", NOW, ("acme",))])
        start = datetime(2024, 1, 1, tzinfo=UTC)
        engine.put_subscriptions([Subscription("acme-pro", "acme", "pro", start)])
    return directory


class Service(RuleBasedStateMachine):
    """`kept` is what must be there: the first body that was sent under each identity, unless it was corrected."""

    sent = Bundle("sent")
    corrections = Bundle("corrections")

    @initialize()
    def open(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tallystick-state-"))
        self.kept: dict[Key, dict[str, Any]] = {}
        self.next_id = 0
        shutil.copytree(sold_directory(), self.directory / "data")
        self._open()

    def teardown(self) -> None:
        self.engine.close()
        shutil.rmtree(self.directory)

    @rule(target=sent, days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=4), amount=tokens, data=st.data())
    def post(self, days: Sequence[str], amount: str, data: st.DataObject) -> Any:
        """New events, some of them twice in the one batch."""
        events = [self._new(day, amount, data) for day in days]
        repeated = data.draw(st.lists(st.sampled_from(events), max_size=2), label="repeated")
        self._submit([*events, *repeated], accepted=len(events), duplicates=len(repeated))
        return multiple(*events)

    @rule(target=sent, day=st.sampled_from(LATE), amount=tokens, data=st.data())
    def post_late(self, day: str, amount: str, data: st.DataObject) -> Any:
        """An event of a period long over."""
        late = self._new(day, amount, data)
        self._submit([late], accepted=1)
        return late

    @rule(again=st.lists(sent, min_size=1, max_size=4))
    def resend(self, again: list[dict[str, Any]]) -> None:
        """What was sent before, in any grouping."""
        self._submit(again, duplicates=len(again))

    @rule(target=sent, again=sent, amount=tokens, data=st.data())
    def resend_with_new_ones(self, again: dict[str, Any], amount: str, data: st.DataObject) -> Any:
        new = self._new(DAYS[0], amount, data)
        self._submit([again, new], accepted=1, duplicates=1)
        return new

    @rule(first=sent, amount=tokens, model=st.sampled_from(MODELS))
    def resend_with_another_body(self, first: dict[str, Any], amount: str, model: str) -> None:
        """The first stands; equal numbers in other spelling are the same body."""
        same = Decimal(first["data"]["input_tokens"]) == Decimal(amount) and first["data"]["model"] == model
        other = {**first, "data": {"input_tokens": amount, "model": model}}
        self._submit([other], duplicates=int(same), conflicts=int(not same))

    @rule(target=corrections, first=sent)
    def void(self, first: dict[str, Any]) -> Any:
        """The event does not count any more; what is corrected already stays as it is."""
        return self._correct({"action": "void"}, first)

    @rule(
        target=corrections, first=sent, amount=tokens, model=st.sampled_from(MODELS), day=st.sampled_from((*DAYS, ""))
    )
    def replace(self, first: dict[str, Any], amount: str, model: str, day: str) -> Any:
        """Other data, and perhaps another time."""
        body = {"action": "replace", "data": {"input_tokens": amount, "model": model}}
        return self._correct({**body, "time": day} if day else body, first)

    @rule(target=corrections, first=corrections, amount=tokens)
    def correct_a_correction(self, first: dict[str, Any], amount: str) -> Any:
        """A replacement can be replaced; a void is final."""
        return self._correct({"action": "replace", "data": {"input_tokens": amount, "model": MODELS[0]}}, first)

    @rule(again=st.lists(corrections, min_size=1, max_size=4))
    def resend_corrections(self, again: list[dict[str, Any]]) -> None:
        self._submit_corrections(again, duplicates=len(again))

    @rule(first=corrections)
    def resend_a_correction_as_an_event(self, first: dict[str, Any]) -> None:
        """Its identity is taken."""
        forged = event(first["id"], source=first["source"], data=first.get("data"), time=first.get("time"))
        self._submit([forged], conflicts=1)

    @rule()
    def flush(self) -> None:
        self.engine.log.flush()

    @rule()
    def maintain(self) -> None:
        self.engine.log.flush()
        self.engine.log.maintain()

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self._open()

    @rule(model=st.sampled_from(MODELS))
    def query_by_day(self, model: str) -> None:
        query = UsageQuery("tokens", *OCTOBER, group_by=("model",), window="day")
        found = {
            (row["window_start"], row["model"]): (row["quantity"], row["events"])
            for row in self.engine.usage(query).iter_rows(named=True)
        }
        expected: dict[tuple[datetime, str], tuple[Decimal, int]] = {}
        for body in self._kept_in(OCTOBER):
            key = _instant(body).replace(hour=0, minute=0, second=0, microsecond=0), body["data"]["model"]
            quantity, events = expected.get(key, (Decimal(0), 0))
            expected[key] = quantity + Decimal(body["data"]["input_tokens"]), events + 1
        assert found == expected

    @invariant()
    def what_is_acknowledged_is_seen(self) -> None:
        if not hasattr(self, "kept"):
            return
        frame = self.engine.usage(UsageQuery("tokens"))
        quantities = [Decimal(body["data"]["input_tokens"]) for body in self.kept.values()]
        assert frame["events"].sum() == len(quantities)
        assert sum(frame["quantity"].to_list(), Decimal(0)) == sum(quantities, Decimal(0))
        answer = self.engine.quota.check("acme", "tokens", Decimal(1), NOW)
        used = sum((Decimal(body["data"]["input_tokens"]) for body in self._kept_in(OCTOBER)), Decimal(0))
        assert answer.used == used
        assert answer.allowed == (answer.limit is not None and used + 1 <= answer.limit)

    def _open(self) -> None:
        self.engine = open_engine(self.directory / "data")

    def _new(self, day: str, amount: str, data: st.DataObject) -> dict[str, Any]:
        """An event that nobody has sent; the id of one source may be that of the other."""
        self.next_id += 1
        source = SOURCES[self.next_id % 2]
        model = data.draw(st.sampled_from(MODELS), label="model")
        body = {"model": model, "input_tokens": amount}
        new = event(str(self.next_id // 2), source=source, time=day, data=body)
        self.kept[source, new["id"]] = new
        return new

    def _correct(self, correction: dict[str, Any], first: dict[str, Any]) -> Any:
        self.next_id += 1
        target = first["source"], first["id"]
        named = {"corrects": {"source": target[0], "id": target[1]}, "source": "desk", "id": f"c{self.next_id}"}
        sent = {**correction, **named}
        counted = self.kept.pop(target, None)
        self._submit_corrections([sent], accepted=int(counted is not None), rejected=int(counted is None))
        if counted is None:
            return multiple()
        if sent["action"] == "replace":
            self.kept["desk", sent["id"]] = {**counted, "time": sent.get("time", counted["time"]), "data": sent["data"]}
        return sent

    def _submit_corrections(
        self, corrections: list[Any], accepted: int = 0, duplicates: int = 0, rejected: int = 0
    ) -> None:
        verdict = self.engine.log.corrections.submit(orjson.dumps(corrections), "application/json").result(30)
        assert (verdict.accepted, verdict.duplicate, verdict.rejected) == (accepted, duplicates, rejected), verdict
        assert verdict.conflict == 0

    def _kept_in(self, period: tuple[datetime, datetime]) -> list[dict[str, Any]]:
        return [body for body in self.kept.values() if period[0] <= _instant(body) < period[1]]

    def _submit(self, events: list[Any], accepted: int = 0, duplicates: int = 0, conflicts: int = 0) -> None:
        verdict = self.engine.log.submit(orjson.dumps(events), "application/cloudevents-batch+json").result(30)
        assert (verdict.accepted, verdict.duplicate, verdict.conflict) == (accepted, duplicates, conflicts), verdict
        assert verdict.rejected == 0


def _instant(body: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(body["time"])


TestService = Service.TestCase
if PROFILE == "long":
    TestService.settings = settings(max_examples=1_000, stateful_step_count=50)
else:
    TestService.settings = settings(max_examples=100, stateful_step_count=30)
