"""The client that waits."""

import atexit
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Self, TypeVar

import httpx2

from tallystick import calls
from tallystick.answers import Applied, Catalog, Charged, Consumed, Customer, Kept, Quota, Refusal, Run, Usage
from tallystick.buffering import Limits
from tallystick.calls import Call, Reply
from tallystick.errors import Unreachable
from tallystick.events import Event, event_of, new_id
from tallystick.recorder import Recorder, log_refusal
from tallystick.recording import Recorded
from tallystick.retrying import Retrying, wait_seconds
from tallystick.transport import arguments, options, reply_of

T = TypeVar("T")
log = logging.getLogger("tallystick")


class Tallystick:
    """`record` puts an event in a buffer of `limits`; it waits `full_wait_seconds` for room, and raises BufferFull
    behind that (0: at once). What the server refuses goes to `on_refused`, else to the log. Leaving the context sends
    the rest, for at most `close_seconds`; what is left then is in the result of `close`."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        source: str = "python",
        limits: Limits | None = None,
        retrying: Retrying | None = None,
        on_refused: Callable[[Refusal], None] = log_refusal,
        full_wait_seconds: float = 10.0,
        close_seconds: float = 30.0,
        timeout_seconds: float = 30.0,
    ) -> None:
        self._http = httpx2.Client(**options(url, api_key, timeout_seconds))
        self._source, self._retrying = source, retrying or Retrying()
        self._full_wait_seconds, self._close_seconds = full_wait_seconds, close_seconds
        self._recorder = Recorder(self._reply, limits or Limits(), self._retrying, on_refused)
        self._closed: Recorded | None = None
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(
        self,
        kind: str,
        *,
        subject: str,
        data: Mapping[str, Any] | None = None,
        id: str | None = None,
        time: datetime | None = None,
        source: str | None = None,
    ) -> str:
        """Record a usage event of the type `kind` and return its id. It counts once however often it has to be sent."""
        event = event_of(kind, subject=subject, source=source or self._source, data=data, id=id, time=time)
        self._recorder.add(event, self._full_wait_seconds)
        return event.id

    def flush(self, wait_seconds: float = 30.0) -> bool:
        """Send all that waits; whether every event is kept or refused by then."""
        return self._recorder.flush(wait_seconds)

    def close(self) -> Recorded:
        """Send the rest and say what became of all that was recorded. The second time it says the same."""
        if self._closed is None:
            self._closed = self._recorder.close(self._close_seconds)
            self._http.close()
            atexit.unregister(self.close)
            if self._closed.unsent:
                log.error(
                    "%d recorded events were not acknowledged before the client was closed", len(self._closed.unsent)
                )
        return self._closed

    def check_quota(self, subject: str, feature: str, amount: Decimal | int | str = 0) -> Quota:
        """Whether it may be used now; nothing is taken."""
        return self._ask(calls.check_quota(subject, feature, amount))

    def consume(
        self,
        subject: str,
        feature: str,
        amount: Decimal | int | str = 1,
        *,
        id: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Consumed:
        """Take it if there is room, and record it, in one step; with the same `id` it counts once."""
        made = new_id() if id is None else id
        return self._ask(calls.consume(subject, feature, amount, source=self._source, id=made, data=data))

    def usage(
        self,
        meter: str,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        subject: str | None = None,
        customer: str | None = None,
        group_by: Sequence[str] = (),
        window: str | None = None,
        time_zone: str = "UTC",
    ) -> Usage:
        """Metered usage on [start, end)."""
        return self._ask(calls.usage(meter, start, end, subject, customer, group_by, window, time_zone))

    def post(self, events: Sequence[Event], *, is_atomic: bool = False) -> Kept:
        """Send a batch now, beside what is recorded, and answer what became of it."""
        return self._ask(calls.post_events(events, is_atomic))

    def put_customer(
        self,
        key: str,
        *,
        name: str | None = None,
        time_zone: str = "UTC",
        subjects: Sequence[str] | None = None,
        parent: str | None = None,
    ) -> Customer:
        given = {"name": name, "time_zone": time_zone, "subjects": subjects, "parent": parent}
        return self._ask(calls.put_customer(key, given))

    def customer(self, key: str) -> Customer:
        return self._ask(calls.customer(key))

    def put_subscription(self, key: str, *, customer: str, plan: str, starts_at: datetime) -> Mapping[str, Any]:
        return self._ask(calls.put_subscription(key, {"customer": customer, "plan": plan, "starts_at": starts_at}))

    def catalog(self, version: str | None = None) -> Catalog:
        return self._ask(calls.catalog(version))

    def apply_catalog(self, document: str | Mapping[str, Any]) -> Applied:
        """YAML as text, or a document without floats."""
        return self._ask(calls.apply_catalog(document, is_dry=False))

    def diff_catalog(self, document: str | Mapping[str, Any]) -> Applied:
        """What applying it would change."""
        return self._ask(calls.apply_catalog(document, is_dry=True))

    def rate(self, period: str) -> Run:
        """Rate a calendar month, as `2026-10`. Not sent again when the connection is lost: look for the run first."""
        return self._ask(calls.rate(period))

    def close_due(self) -> tuple[Run, ...]:
        """Close every billing period that is over; none is posted twice."""
        return self._ask(calls.close_due())

    def lines(self, run: str, *, customer: str | None = None) -> Iterator[Charged]:
        """The charge lines of a run, page by page."""
        after: str | None = None
        while True:
            page, after = self._ask(calls.lines(run, customer, after))
            yield from page
            if after is None:
                return

    def lines_table(self, run: str, *, customer: str | None = None) -> Any:
        """The charge lines of a run as one pyarrow.Table; needs pyarrow."""
        import pyarrow as pa

        with pa.ipc.open_stream(self._ask(calls.lines_arrow(run, customer))) as stream:
            return stream.read_all()

    def signals(self, *, customer: str | None = None, after: int = 0) -> Mapping[str, Any]:
        """One page, `items`, and `next` to read on from."""
        return self._ask(calls.signals(customer, after))

    def _ask(self, call: Call[T]) -> T:
        tries = 1
        while calls.is_asked_again(call, reply := self._reply(call), tries, self._retrying):
            told = None if reply is None else reply.headers.get("retry-after")
            time.sleep(wait_seconds(self._retrying, tries, told, random.random()))
            tries += 1
        if reply is None:
            raise Unreachable(f"{call.method} {call.path}: no answer after {tries} tries; it may have been done")
        return calls.result_of(call, reply)

    def _reply(self, call: Call[Any]) -> Reply | None:
        """None where the connection failed."""
        try:
            return reply_of(self._http.request(**arguments(call)))
        except httpx2.HTTPError as error:
            log.warning("%s %s: %s", call.method, call.path, error)
            return None
