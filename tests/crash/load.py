"""Clients of a server until it goes away: writers that post new events, resends, regroupings, races, repetitions in a
body; and one that starts rating runs, where the server has them."""

import http.client
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.crash.ledger import Event, Ledger, Request
from tests.crash.rating_runs import RunLedger, start_run
from tests.crash.server import Connection

BATCH = "application/cloudevents-batch+json"
WAITING_HELPS = (429, 503, 507)


class Load:
    """One thread a client, from `start` to `stop`; it ends by itself when its connection breaks.

    `on_acknowledged` is called with the number of acknowledgements so far, in the thread that got the latest one.
    """

    def __init__(
        self,
        url: str,
        ledger: Ledger,
        runs: RunLedger | None,
        seed: int,
        writers: int,
        on_acknowledged: Callable[[int], None],
    ) -> None:
        self._url, self._ledger, self._runs, self._on_acknowledged = url, ledger, runs, on_acknowledged
        self._count, self._lock = 0, threading.Lock()
        self._is_stopping, self.is_cut = False, False
        self.statuses: set[int] = set()
        self._threads = [
            threading.Thread(target=self._write, args=(random.Random(f"{seed} {number}"),), daemon=True)
            for number in range(writers)
        ]
        if runs is not None:
            self._threads.append(threading.Thread(target=self._rate, args=(runs,), daemon=True))

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the requests at hand."""
        self._is_stopping = True
        for thread in self._threads:
            thread.join(60)
            if thread.is_alive():
                self._ledger.find("STUCK", "a request is neither answered nor refused after 60 s")

    def cut(self) -> None:
        """Believe no answer from now on: the disk below the server is gone."""
        with self._lock:
            self.is_cut = True

    @property
    def has_ended(self) -> bool:
        """Whether every client has lost its connection."""
        return not any(thread.is_alive() for thread in self._threads)

    def must_resume(self, within_seconds: float) -> None:
        """Note it when no writer gets a new acknowledgement in this time, while the server runs."""
        before, deadline = self._count, time.monotonic() + within_seconds
        while self._count == before and not self.has_ended and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._count == before:
            self._ledger.find("STUCK", f"nothing was taken within {within_seconds} s after there was space again")

    def _write(self, chance: random.Random) -> None:
        connection = Connection(self._url)
        while not self._is_stopping:
            request = self._ledger.send(next_events(self._ledger, chance))
            try:
                status, answer = connection.ask("POST", "/v1/events", bodies(request), BATCH)
            except (OSError, http.client.HTTPException, ValueError):
                break
            self.statuses.add(status)
            self._note(request, status, answer)
            if status != 200:
                time.sleep(0.01)
        connection.close()

    def _rate(self, runs: RunLedger) -> None:
        connection = Connection(self._url, timeout=60)
        while not self._is_stopping:
            try:
                status, answer = start_run(connection)
            except (OSError, http.client.HTTPException, ValueError):
                break
            with self._lock:
                if self.is_cut:
                    break
                self.statuses.add(status)
                if status == 201:
                    runs.acknowledge(answer)
                elif status not in WAITING_HELPS:
                    self._ledger.find("REFUSED", f"a rating run is answered {status} {answer}")
        connection.close()

    def _note(self, request: Request, status: int, answer: Any) -> None:
        with self._lock:
            if self.is_cut:
                return
            if status == 200:
                self._ledger.acknowledge(request)
                self._count += 1
        if status == 200 and answer["accepted"] + answer["duplicates"] != len(request.events):
            self._ledger.find("REFUSED", f"{len(request.events)} events were answered {answer}")
        elif status == 200:
            self._on_acknowledged(self._count)
        elif status not in WAITING_HELPS:
            self._ledger.find("REFUSED", f"{status} {answer}")


def bodies(request: Request) -> list[dict[str, Any]]:
    """The JSON of a request."""
    return [event.cloud_event for event in request.events]


def next_events(ledger: Ledger, chance: random.Random) -> list[Event]:
    """What a writer sends next."""
    recent = ledger.requests[-40:]
    what = chance.choices(("new", "twice", "resend", "race", "regroup"), (50, 10, 15, 15, 10))[0]
    if what == "new" or not recent:
        return ledger.new_events(chance.choice((1, 2, 5, 20)))
    if what == "twice":
        events = ledger.new_events(chance.randint(1, 5))
        return [*events, *chance.choices(events, k=2)]
    if what == "resend":
        return list(chance.choice(recent).events)
    if what == "race":  # most likely another writer has it under way
        return list(recent[-1].events)
    mixed = [*chance.choice(recent).events, *chance.choice(recent).events, *ledger.new_events(2)]
    return chance.sample(mixed, chance.randint(1, len(mixed)))


def resend_unacknowledged(url: str, ledger: Ledger, deadline: float) -> bool:
    """Send again what no answer has confirmed, until it is; False when that has not happened by `deadline`."""
    connection = Connection(url)
    waiting = ledger.unacknowledged
    while waiting and time.monotonic() < deadline:
        request = ledger.send(waiting[:500])
        status, answer = connection.ask("POST", "/v1/events", bodies(request), BATCH)
        if status == 200 and answer["accepted"] + answer["duplicates"] == len(request.events):
            ledger.acknowledge(request)
            waiting = waiting[500:]
        elif status in WAITING_HELPS:
            time.sleep(0.05)
        else:
            ledger.find("REFUSED", f"the last resend was answered {status} {answer}")
            break
    connection.close()
    return not waiting
