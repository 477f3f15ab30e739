"""What the writers of a crash run know, and what is wrong when a server's totals say something else.

The events of a subject have the quantities 1, 16, 256, ... billionths: in base 16 the n-th digit of the subject's sum
is how often its n-th event was counted, up to 15 times. So one usage query tells for every event whether it is there
once. The sixteen digits take 64 bits, more than a float holds.

LOST      acknowledged, not there
VANISHED  it was there after an earlier start
DOUBLED   counted more than once
TORN      there, while no request that carried it is there whole
GHOST     there, never sent
ROUNDED   the sum is not the sum of its events
REFUSED   a good event was called conflict or rejected, or the verdicts do not add up
STUCK     the server did not start, did not answer, or did not take the last resend
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

EVENTS_PER_SUBJECT = 16
_WHOLE = sum(16**digit for digit in range(EVENTS_PER_SUBJECT))


class Event(NamedTuple):
    """One usage event; its identity and its quantity follow from its place."""

    subject: int
    digit: int

    @property
    def cloud_event(self) -> dict[str, Any]:
        """The event as it is posted: the same every time."""
        return {
            "specversion": "1.0",
            "id": f"{self.subject}-{self.digit}",
            "source": "crash",
            "type": "usage",
            "subject": str(self.subject),
            "time": f"2024-03-{1 + self.subject % 3:02d}T{self.digit:02d}:00:00Z",
            "data": {"quantity": f"{Decimal(16**self.digit) / 10**9:f}"},
        }


class Total(NamedTuple):
    """What a server says about a subject."""

    quantity: str
    events: int


class Finding(NamedTuple):
    """One thing that is wrong."""

    kind: str
    what: str


@dataclass(eq=False)
class Request:
    """A body that was sent, at least in part; acknowledged when a 2xx for it arrived."""

    events: Sequence[Event]
    is_acknowledged: bool = False


@dataclass
class Ledger:
    """For several threads. `requests` are in the order in which they were begun."""

    requests: list[Request] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    acknowledged: set[Event] = field(default_factory=set)
    _sent_in: dict[Event, list[Request]] = field(default_factory=dict)
    _seen: set[Event] = field(default_factory=set)
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def new_events(self, count: int) -> list[Event]:
        """Events that nobody has sent yet."""
        with self._lock:
            first, self._next = self._next, self._next + count
        return [Event(*divmod(number, EVENTS_PER_SUBJECT)) for number in range(first, first + count)]

    def send(self, events: Sequence[Event]) -> Request:
        """Note a request, before its first byte leaves."""
        request = Request(events)
        with self._lock:
            self.requests.append(request)
            for event in set(events):
                self._sent_in.setdefault(event, []).append(request)
        return request

    def acknowledge(self, request: Request) -> None:
        """Note that each event of `request` was called accepted or duplicate."""
        with self._lock:
            request.is_acknowledged = True
            self.acknowledged.update(request.events)

    def find(self, kind: str, what: str) -> None:
        """Note what a writer found wrong by itself."""
        with self._lock:
            self.findings.append(Finding(kind, what))

    @property
    def unacknowledged(self) -> list[Event]:
        """The events that were sent and that no answer has confirmed."""
        return [event for event in self._sent_in if event not in self.acknowledged]

    def check(self, totals: Mapping[str, Total]) -> list[Finding]:
        """What is wrong with the totals of a server that no writer talks to at the moment, by subject."""
        found = list(self.findings)
        counts: Counter[Event] = Counter()
        for subject, total in totals.items():
            units = Decimal(total.quantity) * 10**9
            if not subject.isdecimal() or units < 0:
                found.append(Finding("GHOST", f"subject {subject!r} with {total}"))
            elif units != int(units) or sum(_digits(int(units))) != total.events:
                found.append(Finding("ROUNDED", f"subject {subject}: {total} is no sum of its events"))
            elif total != (f"{Decimal(_WHOLE) / 10**9:f}", EVENTS_PER_SUBJECT):
                counts.update({Event(int(subject), at): times for at, times in enumerate(_digits(int(units))) if times})
            else:
                counts.update(dict.fromkeys((Event(int(subject), at) for at in range(EVENTS_PER_SUBJECT)), 1))
        found += self._wrong_counts(counts)
        absent = [event for event in self._sent_in if not counts[event]]
        found += self._absent(absent) + self._torn(absent, counts)
        self._seen.update(counts)
        return found

    def _wrong_counts(self, counts: Counter[Event]) -> list[Finding]:
        ghosts = [Finding("GHOST", f"{event} was never sent") for event in counts if event not in self._sent_in]
        doubled = [Finding("DOUBLED", f"{event} {times} times") for event, times in counts.items() if times > 1]
        return ghosts + doubled

    def _absent(self, absent: Iterable[Event]) -> list[Finding]:
        missing = ((event, "VANISHED" if event in self._seen else "LOST") for event in absent)
        return [
            Finding(kind, f"{event} {'' if event in self.acknowledged else 'not '}acknowledged")
            for event, kind in missing
            if kind == "VANISHED" or event in self.acknowledged
        ]

    def _torn(self, absent: Iterable[Event], counts: Counter[Event]) -> list[Finding]:
        """Only a request with an event that is absent can be torn."""
        partial = {id(request): request for event in absent for request in self._sent_in[event]}
        suspects = {event for request in partial.values() for event in request.events if counts[event]}
        return [
            Finding("TORN", f"{event} without the rest of any request that carried it")
            for event in suspects
            if all(id(request) in partial for request in self._sent_in[event])
        ]


def _digits(units: int) -> list[int]:
    return [int(digit, 16) for digit in reversed(f"{units:x}")]
