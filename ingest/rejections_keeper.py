"""The thread that keeps rejections: a verdict that refuses events is handed on when these are durable, not before.

Batches whose events were all accepted or duplicates pass at once. Those that wait here share one sync.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ingest.decode.originals import originals, text_attribute
from ingest.errors import CommitUnknown, DiskFull, Overloaded
from ingest.limits import IngestLimits
from ingest.rejections import RejectionStore
from ingest.verdicts import CONFLICT, DUPLICATE, BatchVerdict, EventVerdict

_log = logging.getLogger(__name__)
GROUP_BYTES = 64 << 20


@dataclass(frozen=True)
class Origin:
    """What a batch came as: the unpacked body, and which request brought it; into which backfill, if into one."""

    body: bytes
    content_type: str
    received_at: datetime
    request_id: str | None = None
    backfill: str | None = None


@dataclass(frozen=True)
class _Waiting:
    origin: Origin
    verdict: BatchVerdict
    answer: "Future[BatchVerdict]"


class RejectionKeeper:
    """Runs from `start` to `stop`; the logs of backfills may share it in between. `on_failure` is told when the disk
    fails: nothing may be acknowledged any more."""

    def __init__(
        self, store: RejectionStore, limits: IngestLimits, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._store, self._limits, self._on_failure = store, limits, on_failure
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="ingest-rejections", daemon=True)

    def start(self) -> None:
        """Begin to keep."""
        self._thread.start()

    def stop(self) -> None:
        """Keep what waits, then end."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join()
        self._store.close()

    @property
    def store(self) -> RejectionStore:
        """What it has kept."""
        return self._store

    def check_room(self) -> None:
        """Raise Overloaded when more waits to be kept than is held in memory."""
        if self._waiting_bytes > self._limits.waiting_bytes:
            raise Overloaded("many refused events wait to be kept; send it again after a moment")

    def answer(self, future: "Future[BatchVerdict]", verdict: BatchVerdict, origin: Origin | None) -> None:
        """Give `future` the verdict on what came as `origin`, when the events that it refuses are kept. Without an
        origin, and of an atomic batch that was not taken, none are kept."""
        if origin is None or not verdict.conflict + verdict.rejected or verdict.is_atomic_refusal:
            future.set_result(verdict)
        else:
            self._enqueue(_Waiting(origin, verdict, future))

    def _enqueue(self, waiting: _Waiting) -> None:
        with self._changed:
            self._waiting.append(waiting)
            self._waiting_bytes += len(waiting.origin.body)
            self._changed.notify()

    def _run(self) -> None:
        while group := self._next_group():
            try:
                self._store.append([entry for waiting in group for entry in _entries(waiting, self._limits)])
            except DiskFull as error:
                _answer_all(group, error)
            except BaseException as error:
                _log.critical("rejections cannot be kept any more; start the process again", exc_info=error)
                self._on_failure(error)
                _answer_all(group, CommitUnknown(f"refused events cannot be kept: {error}. Send it again, with the same"
                                                 " event ids, after the restart"))  # fmt: skip
            else:
                for waiting in group:
                    waiting.answer.set_result(waiting.verdict)

    def _next_group(self) -> list[_Waiting]:
        """Those that share the next sync. Empty when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_stopping)
            group: list[_Waiting] = []
            size = 0
            while self._waiting and size <= GROUP_BYTES:
                group.append(self._waiting.popleft())
                size += len(group[-1].origin.body)
            self._waiting_bytes -= size
            return group


def _answer_all(group: list[_Waiting], error: BaseException) -> None:
    for waiting in group:
        waiting.answer.set_exception(error)


def _entries(waiting: _Waiting, limits: IngestLimits) -> list[dict[str, Any]]:
    refused = [event for event in waiting.verdict.events if event.code != DUPLICATE]
    origin = waiting.origin
    bodies = _bodies(origin, [event.index for event in refused], limits)
    return [_entry(origin, event, body, limits) for event, body in zip(refused, bodies, strict=True)]


def _bodies(origin: Origin, rows: list[int], limits: IngestLimits) -> list[bytes | None]:
    """Null where an event cannot be told apart any more: a bug, which must not stop the log."""
    try:
        return list(originals(origin.body, origin.content_type, rows, limits))
    except Exception:
        _log.exception("refused events of a %s body are kept without their bodies", origin.content_type)
        return [None] * len(rows)


def _entry(origin: Origin, event: EventVerdict, body: bytes | None, limits: IngestLimits) -> dict[str, Any]:
    whole = body or b""
    kept = whole[: limits.rejection_body_bytes]
    attributes = {name: _cut(text_attribute(whole, name), limits) for name in ("source", "id", "type", "subject")}
    return {
        "replays": None,
        "received_at": origin.received_at,
        "request_id": origin.request_id,
        "content_type": origin.content_type,
        "index": event.index,
        "verdict": CONFLICT if event.code == CONFLICT else "rejected",
        "code": event.code,
        "message": event.message,
        **attributes,
        "body": kept,
        "is_truncated": body is None or len(kept) < len(body),
        "backfill": origin.backfill,
    }


def _cut(text: str | None, limits: IngestLimits) -> str | None:
    return None if text is None else text[: limits.string_bytes]
