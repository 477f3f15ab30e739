"""What waits for one endpoint: a line for each customer, of which only the first is ever on its way.

So the signals of a customer arrive in their order, and a customer whose signal is not taken holds up no other.
"""

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from heapq import heappop, heappush

from store.webhooks import Delivery


class Lines:
    """Of one endpoint; not for several threads."""

    def __init__(self, deliveries: Iterable[Delivery] = (), on_their_way: Iterable[str] = ()) -> None:
        """`deliveries` ascend; `on_their_way` are the customers of whom one was taken and is not settled yet."""
        self.waiting = 0
        self.on_their_way = set(on_their_way)
        self._of_customers: dict[str, deque[Delivery]] = {}
        self._due: list[tuple[datetime, int, str]] = []  # the first of each line that is not on its way
        self.add(deliveries)

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """At the end of their lines; they ascend."""
        for delivery in deliveries:
            self.waiting += 1
            line = self._of_customers.setdefault(delivery.customer, deque())
            line.append(delivery)
            if len(line) == 1:
                self._offer(delivery.customer)

    def take(self, now: datetime) -> Delivery | None:
        """The next one that is due: it is on its way until it is settled."""
        if not self._due or self._due[0][0] > now:
            return None
        _, _, customer = heappop(self._due)
        self.on_their_way.add(customer)
        return self._of_customers[customer][0]

    def settle(self, delivery: Delivery) -> None:
        """What became of one that was taken: it goes, or is the first again, until its `next_at`."""
        customer = delivery.customer
        self.on_their_way.discard(customer)
        line = self._of_customers.get(customer)
        if not line:
            return
        if line[0].signal == delivery.signal:
            if delivery.state == "waiting":
                line[0] = delivery
            else:
                line.popleft()
                self.waiting -= 1
        if line:
            self._offer(customer)
        else:
            del self._of_customers[customer]

    @property
    def next_at(self) -> datetime | None:
        """When the next one is due; null when nothing waits that is not on its way."""
        return self._due[0][0] if self._due else None

    def _offer(self, customer: str) -> None:
        if customer not in self.on_their_way:
            first = self._of_customers[customer][0]
            assert first.next_at is not None, first
            heappush(self._due, (first.next_at, first.signal, customer))
