"""Any order of posts, resends, conflicts, late events, corrections, backfills, flushes, merges and restarts, compared
with a model of lists after every step.

The engine is the whole one: log, store, live quota counters. What is read back after each post is a usage query and a
quota check, so an acknowledgement that they do not show is a failure.
"""

import atexit
import gc
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import closing
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from api.engine import Engine
from api.settings import Settings
from api.usage import UsageQuery
from ingest.backfill_range import BackfillRange
from store.customers import Customer
from store.subscriptions import Subscription
from tests.api.conftest import CATALOG, NOW, event
from tests.conftest import PROFILE
from tests.ingest.counted import Backfill, Counted, Key, Record

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
DAYS = ("2026-10-10T10:00:00Z", "2026-10-14T23:59:59.999999Z", "2026-10-01T00:00:00Z")
LATE = ("2026-09-30T23:59:59.999999Z", "2026-08-01T00:00:00Z", "2024-02-29T12:00:00Z")
SOURCES, MODELS = ("gw", "gw-2"), ("big", "small")
tokens = st.decimals(0, 10**6, places=9).map(lambda value: f"{value:f}")
RANGES = [
    BackfillRange(datetime(2026, 10, first, tzinfo=UTC), datetime(2026, 10, end, tzinfo=UTC))
    for first, end in ((10, 11), (10, 15), (14, 15), (1, 2))
]
BATCH = "application/cloudevents-batch+json"


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
    """`counted` says what must be there. `staging` is the backfill that is open, of which there is one at most."""

    sent = Bundle("sent")
    corrections = Bundle("corrections")
    staged = Bundle("staged")
    AGAIN = st.lists(st.one_of(sent, sent, staged, corrections), max_size=3)

    @initialize()
    def open(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tallystick-state-"))
        self.counted = Counted()
        self.staging: Backfill | None = None
        self.next_id = 0
        shutil.copytree(sold_directory(), self.directory / "data")
        self._open()

    def teardown(self) -> None:
        self.engine.close()
        shutil.rmtree(self.directory)
        gc.collect()  # a closed engine is large, and made of few objects: Python would keep a hundred of them

    @rule(target=sent, days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=4), amount=tokens, data=st.data())
    def post(self, days: Sequence[str], amount: str, data: st.DataObject) -> Any:
        """New events, some of them twice in the one batch."""
        models = data.draw(st.lists(st.sampled_from(MODELS), min_size=len(days), max_size=len(days)), label="models")
        events = [self._new(day, amount, model) for day, model in zip(days, models, strict=True)]
        repeated = data.draw(st.lists(st.sampled_from(events), max_size=2), label="repeated")
        self._submit([*events, *repeated])
        return multiple(*events)

    @rule(target=sent, day=st.sampled_from(LATE), amount=tokens, model=st.sampled_from(MODELS))
    def post_late(self, day: str, amount: str, model: str) -> Any:
        """An event of a period long over."""
        late = self._new(day, amount, model)
        self._submit([late])
        return late

    @rule(again=st.lists(st.one_of(sent, staged), min_size=1, max_size=4))
    def resend(self, again: list[dict[str, Any]]) -> None:
        """What was sent before, in any grouping; what is staged counts as sent from the commit to the revert."""
        self._submit(again)

    @rule(target=sent, again=sent, amount=tokens, model=st.sampled_from(MODELS))
    def resend_with_new_ones(self, again: dict[str, Any], amount: str, model: str) -> Any:
        new = self._new(DAYS[0], amount, model)
        self._submit([again, new])
        return new

    @rule(first=sent, amount=tokens, model=st.sampled_from(MODELS))
    def resend_with_another_body(self, first: dict[str, Any], amount: str, model: str) -> None:
        """The first stands; equal numbers in other spelling are the same body."""
        self._submit([{**first, "data": {"input_tokens": amount, "model": model}}])

    @rule(target=corrections, first=st.one_of(sent, staged))
    def void(self, first: dict[str, Any]) -> Any:
        """The event does not count any more; what is corrected already stays as it is."""
        return self._correct({"action": "void"}, first)

    @rule(
        target=corrections,
        first=st.one_of(sent, staged),
        amount=tokens,
        model=st.sampled_from(MODELS),
        day=st.sampled_from((*DAYS, "")),
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
        ended = [c for c in again if not self.counted.is_in_force(self.counted.known(_key(c))[0])]
        self._submit_corrections(again, duplicates=len(again) - len(ended), conflicts=len(ended))

    @rule(first=corrections)
    def resend_a_correction_as_an_event(self, first: dict[str, Any]) -> None:
        """Its identity is taken."""
        forged = event(first["id"], source=first["source"], data=first.get("data"), time=first.get("time"))
        verdict = self.engine.log.submit(orjson.dumps([forged]), BATCH).result(30)
        assert (verdict.conflict, verdict.total) == (1, 1), verdict

    @precondition(lambda self: self.staging is None)
    @rule(target=staged, wanted=st.sampled_from(RANGES), again=AGAIN, new=st.integers(0, 2), amount=tokens)
    def open_a_backfill(self, wanted: BackfillRange, again: list[dict[str, Any]], new: int, amount: str) -> Any:
        opened = self.engine.backfills.open(wanted)
        self.staging = Backfill(opened.id, wanted, len(self.counted.log))
        return self._load(again, new, amount)

    @precondition(lambda self: self.staging is not None)
    @rule(target=staged, again=AGAIN, new=st.integers(0, 2), amount=tokens)
    def load(self, again: list[dict[str, Any]], new: int, amount: str) -> Any:
        return self._load(again, new, amount)

    @precondition(lambda self: self.staging is not None)
    @rule()
    def preview(self) -> None:
        """It says what a commit would give."""
        assert self.staging is not None
        counted, staging = deepcopy((self.counted, self.staging))
        counted.commit(staging)
        frame = self.engine.log.scan(view=self.engine.backfills.compare(staging.id).after).frame
        assert set(frame.select("source", "id").collect().iter_rows()) == counted.kept().keys()

    @precondition(lambda self: self.staging is not None)
    @rule()
    def commit(self) -> None:
        assert self.staging is not None
        self.engine.backfills.commit(self.staging.id)
        self.counted.commit(self.staging)
        self.staging = None

    @precondition(lambda self: self.staging is not None)
    @rule()
    def drop(self) -> None:
        assert self.staging is not None
        self.engine.backfills.drop(self.staging.id)
        self.staging = None

    @precondition(lambda self: self.counted.committed)
    @rule()
    def revert(self) -> None:
        self.engine.backfills.revert(self.counted.committed.pop().id)

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
        for record in self._kept_in(OCTOBER):
            day = record.time.replace(hour=0, minute=0, second=0, microsecond=0)
            quantity, events = expected.get((day, record.body["data"]["model"]), (Decimal(0), 0))
            expected[day, record.body["data"]["model"]] = quantity + _amount(record), events + 1
        assert found == expected

    @invariant()
    def what_is_acknowledged_is_seen(self) -> None:
        if not hasattr(self, "counted"):
            return
        kept = self.counted.kept().values()
        frame = self.engine.usage(UsageQuery("tokens"))
        assert frame["events"].sum() == len(kept)
        assert sum(frame["quantity"].to_list(), Decimal(0)) == sum(map(_amount, kept), Decimal(0))
        answer = self.engine.quota.check("acme", "tokens", Decimal(1), NOW)
        used = sum(map(_amount, self._kept_in(OCTOBER)), Decimal(0))
        assert answer.used == used
        assert answer.allowed == (answer.limit is not None and used + 1 <= answer.limit)

    def _open(self) -> None:
        self.engine = open_engine(self.directory / "data")

    def _new(self, day: str, amount: str, model: str) -> dict[str, Any]:
        """An event that nobody has sent; the id of one source may be that of the other."""
        self.next_id += 1
        source = SOURCES[self.next_id % 2]
        return event(str(self.next_id // 2), source=source, time=day, data=_data(amount, model))

    def _load(self, again: list[dict[str, Any]], new: int, amount: str) -> Any:
        """New events, and such as stand in the log or in another backfill, with another amount; all of them twice."""
        assert self.staging is not None
        time = self.staging.range.start.isoformat()
        known = [event(e["id"], source=e["source"], time=time, data=_data(amount, MODELS[0])) for e in again]
        bodies = {_key(body): body for body in [*known, *(self._new(time, amount, MODELS[0]) for _ in range(new))]}
        fresh = [body for key, body in bodies.items() if key not in self.staging.staged]
        verdict = self.engine.backfills.staged(self.staging.id).submit(orjson.dumps(fresh * 2), BATCH).result(30)
        assert (verdict.accepted, verdict.duplicate, verdict.total) == (len(fresh), len(fresh), 2 * len(fresh)), verdict
        for body in fresh:
            self.staging.staged[_key(body)] = Record(body, len(self.staging.staged) + 1, self.staging)
        return multiple(*fresh)

    def _correct(self, correction: dict[str, Any], first: dict[str, Any]) -> Any:
        """What counts under an identity can be corrected; all else is refused."""
        self.next_id += 1
        named = {"corrects": {"source": first["source"], "id": first["id"]}, "source": "desk", "id": f"c{self.next_id}"}
        sent = {**correction, **named}
        target = self.counted.kept().get(_key(first))
        self._submit_corrections([sent], accepted=int(target is not None), rejected=int(target is None))
        if target is None:
            return multiple()
        body = {**target.body, "source": "desk", "id": sent["id"], "time": sent.get("time", target.body["time"])}
        is_void = sent["action"] == "void"
        self.counted.accept(body if is_void else {**body, "data": sent["data"]}, target, is_void=is_void)
        return sent

    def _submit_corrections(
        self, corrections: list[Any], accepted: int = 0, duplicates: int = 0, rejected: int = 0, conflicts: int = 0
    ) -> None:
        verdict = self.engine.log.corrections.submit(orjson.dumps(corrections), "application/json").result(30)
        found = (verdict.accepted, verdict.duplicate, verdict.rejected, verdict.conflict)
        assert found == (accepted, duplicates, rejected, conflicts), verdict

    def _kept_in(self, period: tuple[datetime, datetime]) -> list[Record]:
        return [record for record in self.counted.kept().values() if period[0] <= record.time < period[1]]

    def _submit(self, events: list[dict[str, Any]]) -> None:
        """Each is accepted, or a duplicate of one that says the same, or a conflict."""
        verdict = self.engine.log.submit(orjson.dumps(events), BATCH).result(30)
        expected = [self._expected(body) for body in events]
        found = {one.index: one.code for one in verdict.events}
        assert [found.get(index, "accepted") for index in range(len(events))] == expected, verdict

    def _expected(self, body: dict[str, Any]) -> str:
        known = self.counted.known(_key(body))
        if not known:
            self.counted.accept(body)
            return "accepted"
        return "duplicate" if any(_says_the_same(record, body) for record in known) else "conflict"


def _key(body: dict[str, Any]) -> Key:
    return body["source"], body["id"]


def _data(amount: str, model: str) -> dict[str, str]:
    return {"model": model, "input_tokens": amount}


def _amount(record: Record) -> Decimal:
    return Decimal(record.body["data"]["input_tokens"])


def _says_the_same(record: Record, body: dict[str, Any]) -> bool:
    """A correction says more than an event: what it corrects."""
    is_event = record.corrects is None and record.time == datetime.fromisoformat(body["time"])
    same = record.body["data"]["model"] == body["data"]["model"]
    return is_event and same and _amount(record) == Decimal(body["data"]["input_tokens"])


TestService = Service.TestCase
if PROFILE == "long":
    TestService.settings = settings(max_examples=1_000, stateful_step_count=50)
else:
    TestService.settings = settings(max_examples=30, stateful_step_count=25)
