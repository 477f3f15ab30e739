"""Everything behind a limit that was reached: the outbox, states of customers, webhooks, and who listens."""

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from api.bell import Bell
from api.customer_states import StateService
from api.expiring import CUSTOMERS, raised_by_expiring
from api.level_signals import change_of, raised_by
from api.outbox import Outbox
from api.pruning import Kept, Pruner
from api.quota import QuotaService
from api.settings import Settings
from api.signal_stream import Streams
from api.webhooks.delivering import Deliverer, Limits
from api.webhooks.endpoints import EndpointService
from api.webhooks.resolving import Rules
from api.webhooks.sending import Sender
from rating.core.quota.seam import CustomerState, LevelChange
from store import Store
from store.changes import Now
from store.signals import Signals

if TYPE_CHECKING:
    from api.signal_broker import SignalBroker

LOOK_SECONDS = 60.0  # between two looks at grants that end soon

Policies = Callable[[LevelChange], Sequence[CustomerState]]
"""The states that a level change leads to, by the policies of the catalog."""


class Signalling:
    """Of one engine."""

    def __init__(self, store: Store, quota: QuotaService, settings: Settings, now: Now, policies: Policies) -> None:
        self._store, self._quota, self._now, self._policies = store, quota, now, policies
        self._looked_at, self._looked_behind = -math.inf, 0
        self.bell = Bell()
        self.outbox = Outbox(self._record, self._tick)
        self.states = StateService(store.customer_states, quota, now, self.bell.ring)
        sender = sender_of(settings)
        limits = Limits(settings.webhook_waiting_max, settings.webhook_days)
        kept = Kept(settings.signals_days, settings.webhook_dead_days)
        self.broker = broker_of(settings, store.signals)
        pruner = Pruner(store.pruning, kept, now, lambda: self.broker.cursor if self.broker is not None else None)
        self.deliverer = Deliverer(store, sender, now, limits, pruner=pruner)
        self.endpoints = EndpointService(store.webhooks, self.deliverer, sender, now, settings.webhook_waiting_max)
        self.bell.call(self.deliverer.wake)
        self.streams = Streams(store.signals, self.bell)
        if self.broker is not None:
            self.bell.call(self.broker.wake)

    def start(self) -> None:
        """Begin to pass signals on."""
        self.deliverer.start()
        if self.broker is not None:
            self.broker.start()

    def load(self) -> None:
        """Let checks obey what was recorded."""
        self.states.publish()
        outbox, now = self._store.outbox, self._now()
        self._quota.open_levels([change_of(signal) for signal in outbox.open_levels(now)], outbox.arms(now))

    def close(self) -> None:
        """Record what waits, and end."""
        self.outbox.close()
        if self.broker is not None:
            self.broker.close()
        self.deliverer.close()

    def status(self) -> dict[str, Any]:
        """What waits where."""
        standing = self._store.webhooks.standing()
        return {
            "unrecorded": self.outbox.waiting,
            "streams": self.streams.open,
            "endpoints": [vars(each) for each in standing],
            "nats": self.broker.status() if self.broker is not None else None,
        }

    def _record(self, changes: Sequence[LevelChange]) -> None:
        now = self._now()
        raised = [raised_by(change, self._policies(change), now) for change in changes]
        with self.states.changing():
            self._store.outbox.record(raised, now, self.states.obey)
        self.bell.ring()

    def _tick(self) -> None:
        self._quota.tick(self._now())
        self.states.end_due()
        if self._looked_behind or time.monotonic() >= self._looked_at + LOOK_SECONDS:
            self._looked_at = time.monotonic() if not self._looked_behind else self._looked_at
            self.look_for_expiring()

    def look_for_expiring(self) -> None:
        """Record what ends soon of the next customers; each is recorded once."""
        now = self._now()
        found, behind = self._quota.expiring(now, self._looked_behind, CUSTOMERS)
        self._looked_behind = behind or 0
        raised = [raised_by_expiring(*each, now) for each in found]
        if raised:
            self._store.outbox.record(raised, now, self.states.obey)
            self.bell.ring()


def broker_of(settings: Settings, signals: Signals) -> "SignalBroker | None":
    """The broker that signals are published to, where one is set. Raises ImportError without the package for it."""
    if settings.signals_nats_url is None:
        return None
    from api.signal_broker import SignalBroker

    return SignalBroker(signals, settings.signals_nats_url.split(","), settings.signals_nats_subject)


def sender_of(settings: Settings) -> Sender:
    """How webhooks are sent by these settings."""
    rules = Rules(settings.webhook_private_addresses, settings.webhook_http, settings.webhook_port_list())
    return Sender(rules, settings.webhook_seconds, "tallystick-webhooks/1")
