"""The thread that commits: it takes all batches that wait, in order, and has them share one sync.

A group of one event costs nearly as much as one of a hundred. So the writer gives the clients that it has just answered
a moment to send again before it takes what waits: no longer than the last group took, and only while little waits.

What waits is bounded. When the disk fails, nothing more is acknowledged by this process: the group at hand may or may
not be kept (CommitUnknown), everything behind it is not (NotCommitted). When it is only full, nothing of the group was
kept (DiskFull), and what comes is refused until a probe write finds room again.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ingest.committer import Committer
from ingest.counts import IngestCounts
from ingest.errors import CommitUnknown, DiskFull, IngestError, NotCommitted, Overloaded
from ingest.limits import IngestLimits
from ingest.merging import Screen, Submission, parts_of, split
from ingest.rejections_keeper import Origin, RejectionKeeper
from ingest.room import PROBE_SECONDS
from ingest.verdicts import BatchVerdict
from rating.spans import here, span

_log = logging.getLogger(__name__)

GATHERED_BYTES = 64 << 10  # a group of so many bytes gains nothing from more
GATHER_SECONDS_MAX = 0.005
CATCH_UP_SECONDS = 5.0  # that groups wait for the usage table at most
BUSY_SHARE = 0.5  # of the last second or so that was spent on groups


@dataclass(frozen=True)
class _Waiting:
    batch: Submission
    bytes: int
    is_alone: bool
    origin: Origin | None
    place: Any = field(default_factory=here)  # in a trace
    future: Future[BatchVerdict] = field(default_factory=Future)


class Writer:
    """Runs from `start` to `stop`. `sealed` is set when a segment was sealed because it is full."""

    def __init__(
        self,
        committer: Committer,
        limits: IngestLimits,
        screen: Screen,
        keeper: RejectionKeeper,
        counts: IngestCounts | None = None,
    ) -> None:
        """`screen` is for the small submissions of a group, which come as they were read; `keeper` is for what the
        verdicts refuse."""
        self.sealed = threading.Event()
        self._committer = committer
        self._screen = screen
        self._keeper = keeper
        self._limits = limits
        self._counts = counts or IngestCounts()
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._wanted = 1  # the writer need not wake up for fewer batches
        self._answered = 0  # batches of the last group
        self._ended_at = self._gather_until = 0.0  # monotonic seconds
        self._share = 0.0  # of the time before `_ended_at` that was spent on groups
        self._changed = threading.Condition()
        self._committing = threading.Lock()
        self._is_stopping = False
        self._failure: BaseException | None = None
        self._full: DiskFull | None = None
        self._thread = threading.Thread(target=self._run, name="ingest-writer", daemon=True)

    def start(self) -> None:
        """Begin to commit."""
        self._thread.start()

    def submit(
        self, batch: Submission, size: int, *, is_alone: bool = False, origin: Origin | None = None
    ) -> Future[BatchVerdict]:
        """Let a batch of `size` bytes wait for its verdict; `is_alone` when it must not share a group. With `origin`
        the events that the verdict refuses are kept before it is known.

        Raises Overloaded, NotCommitted.
        """
        waiting = _Waiting(batch, size, is_alone, origin)
        with self._changed:
            if self._refuses():
                raise self._refusal()
            if (
                len(self._waiting) >= self._limits.waiting_batches
                or self._waiting_bytes + size > self._limits.waiting_bytes
            ):
                raise Overloaded(f"{len(self._waiting)} batches wait to be written; send it again after a moment")
            self._waiting.append(waiting)
            self._waiting_bytes += size
            if self._has_enough():
                self._changed.notify()
        return waiting.future

    def check_room(self) -> None:
        """Raise what `submit` would raise for a small batch: before the work of decoding a body is done."""
        if self._refuses():
            with self._changed:  # there may be room again by now
                if self._refuses():
                    raise self._refusal()
        if len(self._waiting) >= self._limits.waiting_batches:
            raise Overloaded(f"{len(self._waiting)} batches wait to be written; send it again after a moment")

    def seal(self) -> None:
        """Seal the open segment between two groups."""
        with self._committing:
            self._committer.seal()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is committed while the block runs; what is submitted waits."""
        with self._committing:
            yield

    def check_failure(self) -> None:
        """Raise NotCommitted when nothing is accepted any more because of a failure."""
        if self._failure is not None:
            raise self._refusal()

    def fail(self, failure: BaseException) -> None:
        """Accept nothing more, because of `failure`."""
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    def stop(self) -> None:
        """Commit what waits, then end."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._thread.join()
        self._committer.seal()

    @property
    def failure(self) -> BaseException | None:
        """Why nothing is accepted any more; null while all is well."""
        return self._failure

    @property
    def full(self) -> DiskFull | None:
        """Why nothing is accepted until there is room on the disk; null while there is."""
        return self._full

    @property
    def is_busy(self) -> bool:
        """Whether ingest wants the machine for itself just now."""
        return self._share * math.exp(self._ended_at - time.monotonic()) > BUSY_SHARE

    @property
    def waiting(self) -> int:
        """The number of batches that wait."""
        return len(self._waiting)

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            began_at = time.monotonic()
            try:
                with span("commit", links=[waiting.place for waiting in group], batches=len(group)):
                    self._commit(group)
            except DiskFull as error:
                self._refuse(_unanswered(group), error)
            except BaseException as error:
                self._abandon(_unanswered(group), error)
                return
            self._note(began_at, time.monotonic(), len(group))

    def _note(self, began_at: float, ended_at: float, answered: int) -> None:
        """How busy the last second was, and how long the next group may wait for those that were answered now."""
        self._share *= math.exp(self._ended_at - began_at)
        self._share = 1 - (1 - self._share) * math.exp(began_at - ended_at)
        self._answered, self._ended_at = answered, ended_at
        self._gather_until = ended_at + min(ended_at - began_at, GATHER_SECONDS_MAX)

    def _commit(self, group: list[_Waiting]) -> None:
        """Judge and write a group, then answer it. Raises DiskFull, nothing was kept then, and OSError."""
        parts, failed = parts_of([waiting.batch for waiting in group], self._screen)
        for place, failure in failed.items():
            group[place].future.set_exception(failure)
        with self._committing:
            verdicts = self._committer.commit([part.batch for part in parts]) if parts else []
            is_full = self._committer.segment_size >= self._limits.segment_bytes
            if is_full:
                self._committer.seal()
        if parts:
            self._counts.judged(verdicts, len(group), sum([waiting.bytes for waiting in group]))
        for part, verdict in zip(parts, verdicts, strict=True):
            for place, own in split(part, verdict):
                self._keeper.answer(group[place].future, own, group[place].origin)
        if is_full:
            self.sealed.set()
            self._let_the_table_catch_up()

    def _let_the_table_catch_up(self) -> None:
        """Slow down for a while when half of the sealed segments wait that may: no batch is refused then, and memory
        stays what it is."""
        until = time.monotonic() + CATCH_UP_SECONDS
        while self._committer.sealed_segments >= max(2, self._limits.sealed_segments // 2) and time.monotonic() < until:
            if self._is_stopping or self._failure is not None:
                return
            time.sleep(CATCH_UP_SECONDS / 100)

    def _next_group(self) -> list[_Waiting] | None:
        """The batches that share the next sync: all that wait, up to `group_events`. Null when it is time to end."""
        self._wait_for_room()
        with self._changed:
            self._gather()
            if self._failure is not None:
                self._refuse_waiting()
                return None
            if not self._waiting:
                return None
            group: list[_Waiting] = []
            events = 0
            while self._waiting and (not group or self._fits(group, events)):
                waiting = self._waiting.popleft()
                self._waiting_bytes -= waiting.bytes
                if waiting.future.set_running_or_notify_cancel():  # its caller may have gone away
                    group.append(waiting)
                    events += len(waiting.batch)
            return group

    def _gather(self) -> None:
        """Wait until something waits; and a moment longer for as many as were answered last and have not come again."""
        wanted = len(self._waiting) + self._answered
        self._changed.wait_for(self._has_enough)
        self._wanted = wanted
        self._changed.wait_for(self._has_enough, max(0.0, self._gather_until - time.monotonic()))
        self._wanted = 1

    def _has_enough(self) -> bool:
        """Whether the writer has what it waits for, or must end."""
        has_batches = len(self._waiting) >= self._wanted or self._waiting_bytes >= GATHERED_BYTES
        return has_batches or self._is_stopping or self._failure is not None

    def _fits(self, group: list[_Waiting], events: int) -> bool:
        """Whether the next batch that waits can join a group of so many events."""
        waiting = self._waiting[0]
        if group[-1].is_alone or waiting.is_alone:
            return False
        return events + len(waiting.batch) <= self._limits.group_events

    def _refuse(self, group: list[_Waiting], full: DiskFull) -> None:
        _log.error("%s", full)
        with self._changed:
            self._full = full
            self._refuse_waiting()
        for waiting in group:
            waiting.future.set_exception(full)

    def _wait_for_room(self) -> None:
        """Return when the disk is not full, or it is time to end."""
        while self._full is not None and self._failure is None and not self._is_stopping:
            try:
                has_room = self._committer.has_room()
            except OSError as error:
                self.fail(error)
                return
            with self._changed:
                if has_room:
                    self._full = None
                else:
                    self._changed.wait(PROBE_SECONDS)

    def _abandon(self, group: list[_Waiting], error: BaseException) -> None:
        _log.critical("the journal cannot be written any more; start the process again", exc_info=error)
        for waiting in group:
            waiting.future.set_exception(
                CommitUnknown(f"{_SENTENCE}: {error}. Send it again, with the same event ids, after the restart")
            )
        with self._changed:
            self._failure = self._failure or error
            self._refuse_waiting()

    def _refuse_waiting(self) -> None:
        while self._waiting:
            future = self._waiting.popleft().future
            if future.set_running_or_notify_cancel():
                future.set_exception(self._refusal())
        self._waiting_bytes = 0

    def _refuses(self) -> bool:
        return self._is_stopping or self._failure is not None or self._full is not None

    def _refusal(self) -> IngestError:
        if self._failure is not None:
            return NotCommitted(f"{_SENTENCE}: {self._failure}. Send it again after the restart")
        if self._full is not None and not self._is_stopping:
            return DiskFull(str(self._full))
        return NotCommitted("the log is closed; send it again after the restart")


def _unanswered(group: list[_Waiting]) -> list[_Waiting]:
    return [waiting for waiting in group if not waiting.future.done()]


_SENTENCE = "the log has stopped after an error"
