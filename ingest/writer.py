"""The thread that commits: it takes all batches that wait, in order, and has them share one sync.

What waits is bounded. When the disk fails, nothing more is acknowledged by this process: the group at hand may or may
not be kept (CommitUnknown), everything behind it is not (NotCommitted).
"""

import logging
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from ingest.admission import Candidates
from ingest.committer import Committer
from ingest.errors import CommitUnknown, IngestError, NotCommitted, Overloaded
from ingest.limits import IngestLimits
from ingest.verdicts import BatchVerdict

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Waiting:
    batch: Candidates
    bytes: int
    future: Future[BatchVerdict] = field(default_factory=Future)


class Writer:
    """Runs from `start` to `stop`. `sealed` is set when a segment was sealed because it is full."""

    def __init__(self, committer: Committer, limits: IngestLimits) -> None:
        self.sealed = threading.Event()
        self._committer = committer
        self._limits = limits
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._committing = threading.Lock()
        self._is_stopping = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ingest-writer", daemon=True)

    def start(self) -> None:
        """Begin to commit."""
        self._thread.start()

    def submit(self, batch: Candidates, size: int) -> Future[BatchVerdict]:
        """Let a batch of `size` bytes wait for its verdict. Raises Overloaded, NotCommitted."""
        waiting = _Waiting(batch, size)
        with self._changed:
            if self._is_stopping or self._failure is not None:
                raise self._refusal()
            if (
                len(self._waiting) >= self._limits.waiting_batches
                or self._waiting_bytes + size > self._limits.waiting_bytes
            ):
                raise Overloaded(f"{len(self._waiting)} batches wait to be written; send it again after a moment")
            self._waiting.append(waiting)
            self._waiting_bytes += size
            self._changed.notify()
        return waiting.future

    def check_room(self) -> None:
        """Raise what `submit` would raise for a small batch: before the work of decoding a body is done."""
        with self._changed:
            if self._is_stopping or self._failure is not None:
                raise self._refusal()
            if len(self._waiting) >= self._limits.waiting_batches:
                raise Overloaded(f"{len(self._waiting)} batches wait to be written; send it again after a moment")

    def seal(self) -> None:
        """Seal the open segment between two groups."""
        with self._committing:
            self._committer.seal()

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
    def waiting(self) -> int:
        """The number of batches that wait."""
        return len(self._waiting)

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            try:
                with self._committing:
                    verdicts = self._committer.commit([waiting.batch for waiting in group]) if group else []
                    is_full = self._committer.segment_size >= self._limits.segment_bytes
                    if is_full:
                        self._committer.seal()
            except BaseException as error:
                self._abandon(group, error)
                return
            for waiting, verdict in zip(group, verdicts, strict=True):
                waiting.future.set_result(verdict)
            if is_full:
                self.sealed.set()

    def _next_group(self) -> list[_Waiting] | None:
        """The batches that share the next sync: all that wait, up to `group_events`. Null when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_stopping or self._failure is not None)
            if self._failure is not None:
                self._refuse_waiting()
                return None
            if not self._waiting:
                return None
            group: list[_Waiting] = []
            events = 0
            while self._waiting and (not group or events + self._waiting[0].batch.total <= self._limits.group_events):
                waiting = self._waiting.popleft()
                self._waiting_bytes -= waiting.bytes
                if waiting.future.set_running_or_notify_cancel():  # its caller may have gone away
                    group.append(waiting)
                    events += waiting.batch.total
            return group

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

    def _refusal(self) -> IngestError:
        if self._failure is not None:
            return NotCommitted(f"{_SENTENCE}: {self._failure}. Send it again after the restart")
        return NotCommitted("the log is closed; send it again after the restart")


_SENTENCE = "the log has stopped after an error"
