"""States of customers: checks obey a state from the moment on at which anybody can read of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import RLock

from rating.core.quota.seam import CustomerState, Quota
from store.changes import Now
from store.customer_states import CustomerStates, RecordedState


class StateService:
    """Every method may be called from any thread."""

    def __init__(self, records: CustomerStates, quota: Quota, now: Now, on_recorded: Callable[[], None]) -> None:
        """`on_recorded` is told of signals that say so."""
        self.records = records
        self._quota, self._now, self._on_recorded = quota, now, on_recorded
        self._changing = RLock()
        self._is_unsure = False

    def begin(self, state: CustomerState) -> RecordedState:
        """Raises NotFound and IdTaken."""
        with self.changing():
            begun = self.records.begin(state, self.obey)
        self._on_recorded()
        return begun

    def end(self, customer: str, key: str) -> RecordedState:
        """Raises NotFound."""
        with self.changing():
            ended = self.records.end(customer, key, self.obey)
        self._on_recorded()
        return ended

    def end_due(self) -> None:
        """End those whose time is over; checks know that by themselves, readers of signals do not."""
        with self.changing():
            count = self.records.end_due(self.obey)
        if count:
            self._on_recorded()

    def obey(self, states: Sequence[CustomerState]) -> None:
        """Let the next check obey these, which are about to be committed: within `changing`."""
        self._is_unsure = True
        self._quota.put_states(states)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Whether what is done inside was recorded or failed: checks obey what is recorded in the end."""
        with self._changing:
            try:
                yield
            finally:
                if self._is_unsure:
                    self.publish()

    def publish(self) -> None:
        """Let the next check obey what is recorded."""
        with self._changing:
            self._quota.put_states(self.records.in_force())
            self._is_unsure = False

    def instant(self) -> datetime:
        """Now."""
        return self._now()
