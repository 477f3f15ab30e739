"""Consume: check a quota and record the usage in one durable step.

The problem: between a check and the event that follows it, others check too, and all of them may go on. The choice:
what the event will count is held first, all of its features or none, in the counters' own lock; then the event is
submitted like every other, and the hold is dropped when the counters have moved, before anybody is told. For an instant
both count: nobody ever gets one unit too many, and somebody may be refused the last one that is being taken.

The event has an identity. Sent again it is a duplicate, also where nothing is left by now; sent again while the first
is under way, it waits for that one. Whether the event is kept is unknown only when the log has failed: then its hold
stays until the process ends, and a restart counts what is there.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import uuid4

from api.feature_events import BATCH, by_feature
from ingest.admission import Candidates
from ingest.errors import CommitUnknown
from ingest.lift import as_usage
from ingest.log import UsageLog
from ingest.schema import IDENTITY_COLUMNS
from ingest.verdicts import CONFLICT, BatchVerdict
from rating.core.money import plain
from rating.core.quota.answer import QuotaAnswer
from rating.core.quota.seam import Hold, Quota
from store.errors import IdTaken, Refused

CLOUDEVENT = "application/cloudevents+json"
_NOTHING = Decimal(0)
Identity = tuple[str, str]


@dataclass(frozen=True)
class Consumed:
    """Whether an event was taken, and each quota that it counts in; those that refused it, where it was not. A
    `duplicate` was taken before, and nothing has changed."""

    allowed: bool
    duplicate: bool
    items: list[QuotaAnswer]


@dataclass(frozen=True)
class Started:
    """An event that is on its way into the log; `uses` is what it counts, by feature."""

    verdict: "Future[BatchVerdict]"
    subject: str
    uses: dict[str, Decimal]


@dataclass(frozen=True)
class _Event:
    candidates: Candidates
    bytes: int
    identity: Identity
    subject: str
    time: datetime
    now: datetime


class ConsumeService:
    """Takes events that fit. Every method may be called from any thread."""

    def __init__(self, log: UsageLog, quota: Quota, now: Callable[[], datetime]) -> None:
        self._log, self._quota, self._now = log, quota, now
        self._under_way: dict[Identity, threading.Event] = {}
        self._lock = threading.Lock()

    def consume(self, events: bytes, features: list[str] | None = None) -> Consumed:
        """`begin` and `end`, and the wait between them."""
        begun = self.begin(events, features)
        if isinstance(begun, Consumed):
            return begun
        begun.verdict.result()
        return self.end(begun)

    def begin(self, events: bytes, features: list[str] | None = None, *, was_used: bool = False) -> Consumed | Started:
        """Hold what an event counts, and submit it; or what refuses it, and nothing is kept. It is a CloudEvent in
        JSON, or a batch of events of one subject, which are taken together. What `was_used` is recorded in any case.

        Of the `features`, each must allow it; unless given, of all that the event counts in and the customer is
        entitled to. May wait for the counters, and for the same event when it is under way. Raises Refused for an event
        that is not good or of another window, IdTaken when its identity has another body, what UsageLog.submit raises,
        and DatabaseUnavailable.
        """
        found = self._event(events)
        done = self._alone(found.identity)
        try:
            begun = self._begin(found, features, done, was_used=was_used)
        except BaseException:
            done()
            raise
        if isinstance(begun, Consumed):
            done()
        return begun

    def end(self, started: Started) -> Consumed:
        """The answer when the verdict is in. Raises Refused, IdTaken, and what the verdict raises."""
        verdict = started.verdict.result()
        for event in verdict.events:
            if event.code == CONFLICT:
                raise IdTaken([event.message])
        if verdict.rejected:
            raise Refused([f"{event.code}: {event.message}" for event in verdict.events])
        now = self._now()
        items = [self._taken(started.subject, feature, amount, now) for feature, amount in started.uses.items()]
        return Consumed(True, verdict.accepted == 0, items)

    def _event(self, body: bytes) -> _Event:
        candidates = self._log.screened(body, BATCH if body[:1] == b"[" else CLOUDEVENT)
        if candidates.rejected:
            raise Refused([f"{event.code}: {event.message}" for event in candidates.rejected])
        assert candidates.events.n_unique("subject") == 1, "events of several subjects"
        row = candidates.events.row(0, named=True)
        identity = (row["source"], row["id"])
        return _Event(candidates, len(body), identity, row["subject"], row["time"], row["received_at"])

    def _begin(
        self, event: _Event, features: list[str] | None, done: Callable[[], None], *, was_used: bool
    ) -> Consumed | Started:
        uses = by_feature(self._quota.amounts(as_usage(event.candidates.events, self._log.declared)))
        asked = {feature: uses.get(feature, _NOTHING) for feature in features or uses}
        answers = [self._quota.check(event.subject, f, max(n, _NOTHING), event.now) for f, n in asked.items()]
        if features is None and any(answer.reason != "not_entitled" for answer in answers):
            answers = [answer for answer in answers if answer.reason != "not_entitled"]
        uses = {answer.feature: asked[answer.feature] for answer in answers}
        if was_used:
            return self._submitted(event, uses, [], done)
        refused = [a for a in answers if not a.allowed and (asked[a.feature] > 0 or features is not None)]
        outside = None if refused else _outside(event, answers)
        if not refused and outside is None:
            held = self._held(event, uses)
            if isinstance(held, list):
                return self._submitted(event, uses, held, done)
            refused = [held]
        if self._log.knows(event.candidates.events.select(IDENTITY_COLUMNS)).all():
            return self._submitted(event, uses, [], done)  # a duplicate, or a conflict: it adds nothing
        if outside is not None:
            raise Refused([outside])
        return Consumed(False, False, refused)

    def _held(self, event: _Event, uses: dict[str, Decimal]) -> list[Hold] | QuotaAnswer:
        """Room for all that an event counts, or whose limit has none."""
        holds: list[Hold] = []
        for feature, amount in uses.items():
            if amount > 0:
                key = f"consume:{uuid4().hex}"
                held = self._quota.hold(key, event.subject, feature, amount, amount, event.now)
                if isinstance(held, Hold):
                    holds.append(held)
                elif not held.allowed:
                    self._drop(holds)
                    return held
        return holds

    def _submitted(
        self, event: _Event, uses: dict[str, Decimal], holds: list[Hold], done: Callable[[], None]
    ) -> Started:
        try:
            verdict = self._log.submit_screened(event.candidates, event.bytes)
        except BaseException:
            self._drop(holds)
            raise
        verdict.add_done_callback(lambda judged: self._judged(judged, holds, done))
        return Started(verdict, event.subject, uses)

    def _judged(self, verdict: "Future[BatchVerdict]", holds: list[Hold], done: Callable[[], None]) -> None:
        """In the writer's thread: the counters have moved, and nobody is told yet."""
        if not isinstance(verdict.exception(), CommitUnknown):
            self._drop(holds)
        done()

    def _drop(self, holds: list[Hold]) -> None:
        for hold in holds:
            self._quota.drop(hold.id)

    def _taken(self, subject: str, feature: str, amount: Decimal, now: datetime) -> QuotaAnswer:
        answer = self._quota.check(subject, feature, _NOTHING, now).in_words()
        if answer.allowed or answer.remaining is None or answer.limit is None:
            return replace(answer, amount=amount)
        left = f"{plain(answer.remaining)} of {plain(answer.limit)} left"
        return replace(answer, allowed=True, reason="allowed", message=left, amount=amount)

    def _alone(self, identity: Identity) -> Callable[[], None]:
        """Wait until no other event of this identity is under way; this one is, until the result is called."""
        while True:
            with self._lock:
                other = self._under_way.get(identity)
                if other is None:
                    own = self._under_way[identity] = threading.Event()
                    break
            other.wait()

        def done() -> None:
            with self._lock:
                self._under_way.pop(identity, None)
            own.set()

        return done


def _outside(event: _Event, answers: list[QuotaAnswer]) -> str | None:
    """Why this event is not for now: it counts in a window that is over, or has not begun."""
    for answer in answers:
        begins, ends = answer.window_start, answer.resets_at
        if (begins is not None and event.time < begins) or (ends is not None and event.time >= ends):
            return (
                f"time {event.time.isoformat()} is outside the running window of {answer.feature}: usage of another "
                "window is not checked, post it to /v1/events"
            )
    return None
