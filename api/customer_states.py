"""States of customers: recorded first, then obeyed by the next check."""

from collections.abc import Callable
from datetime import datetime
from threading import Lock

from rating.core.quota.seam import CustomerState, Quota
from store.changes import Now
from store.customer_states import CustomerStates, RecordedState


class StateService:
    """Every method may be called from any thread."""

    def __init__(self, records: CustomerStates, quota: Quota, now: Now, on_recorded: Callable[[], None]) -> None:
        """`on_recorded` is told of signals that say so."""
        self.records = records
        self._quota, self._now, self._on_recorded = quota, now, on_recorded
        self._publishing = Lock()

    def begin(self, state: CustomerState) -> RecordedState:
        """Raises NotFound and IdTaken."""
        begun = self.records.begin(state)
        self._changed()
        return begun

    def end(self, customer: str, key: str) -> RecordedState:
        """Raises NotFound."""
        ended = self.records.end(customer, key)
        self._changed()
        return ended

    def end_due(self) -> None:
        """End those whose time is over; checks know that by themselves, readers of signals do not."""
        if self.records.end_due():
            self._changed()

    def publish(self) -> None:
        """Let the next check obey what is recorded."""
        with self._publishing:
            self._quota.put_states(self.records.in_force())

    def instant(self) -> datetime:
        """Now."""
        return self._now()

    def _changed(self) -> None:
        self.publish()
        self._on_recorded()
