"""A client that answers quota questions in its own process: it leases slices and spends them, and asks the server for
each slice, not for each call. Needs the standard library and httpx2; use it, or copy the file and client_journal.py.

    with LeasedQuota("http://127.0.0.1:8080", slice_amount=1000) as quota:
        if not quota.take("acme", "calls"):
            ...  # refuse the request
        call = quota.reserve("acme", "tokens", prompt_tokens + max_tokens)
        ...
        call.settle(tokens_used)

A thread reports what was used each second, and renews a slice before it ends. While the server is away, what is leased
is spent until its end. Then `unreachable="closed"` refuses; "open" goes on with `allowance` for each subject and
feature: each part of it is in `journal` before it is spent, and is sent when the server is back, so the most that a
quota is passed by is this allowance, for each client. Time is counted from the server's answer by a clock that nobody
sets.
"""

import logging
import threading
import time
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote
from uuid import uuid4

import httpx2

from api.client_journal import Allowance, digits, units_of

_log = logging.getLogger(__name__)
_UNITS = 10**9
REPORT_SECONDS = 1.0
REFUSED_SECONDS = 0.25  # for which a refusal is believed: a refused caller that tries again asks nobody
_REFUSALS = (402, 403, 429)
_PROBLEM = "application/problem+json"
Number = int | Decimal


class ServerAway(Exception):
    """The server cannot be reached, or cannot answer now."""


class NotTaken(ValueError):
    """The server does not understand the question: an unknown feature, for one."""


class _Pair:
    """The slice of one subject and feature, in units of 10^-9. `lock` is of the numbers, `talk` of the requests."""

    __slots__ = (
        "asked", "ends_at", "feature", "granted", "id", "is_due", "left", "lock", "refused", "refused_until",
        "renew_at", "reported", "seconds", "sequence", "spent", "subject", "talk",
    )  # fmt: skip

    def __init__(self, subject: str, feature: str) -> None:
        self.subject, self.feature = subject, feature
        self.lock, self.talk = threading.Lock(), threading.RLock()
        self.id: str | None = None
        self.is_due = False
        self.left = self.spent = self.granted = self.reported = self.asked = self.refused = 0
        self.renew_at = self.sequence = 0
        self.ends_at = self.refused_until = self.seconds = 0.0

    def take(self, units: int) -> bool:
        with self.lock:
            if units <= self.left and time.monotonic() < self.ends_at:
                self.left -= units
                self.spent += units
                return True
        return False


class Reservation:
    """What one call may use at most; `settle` says what it has used. Without a word it ends with its time."""

    def __init__(self, client: "LeasedQuota", id: str, amount: int, *, is_journaled: bool) -> None:
        self._client, self._id, self._amount, self._is_journaled = client, id, amount, is_journaled
        self._is_open = True

    def settle(self, used: Number) -> None:
        """Record what was used and give back the rest; sent again later where the server is away."""
        units = units_of(used)
        assert self._is_open, "it was settled before"
        self._is_open = False
        self._client._settle(self._id, units, is_journaled=self._is_journaled)


class LeasedQuota:
    """For any number of threads. Close it: what was not used is anybody's at once."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        slice_amount: Number = 1000,
        seconds: int = 30,
        renew_share: float = 0.8,
        unreachable: Literal["closed", "open"] = "closed",
        allowance: Number = 0,
        journal: Path | None = None,
        wait_seconds: float = 2.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """`slice_amount` is what is leased at a time of a subject and feature, valid for `seconds`; the first taker
        waits for it, at most `wait_seconds`. `api_key` has the scope quota; without one the server must be on this
        machine and have none."""
        if unreachable == "open" and journal is None:
            raise ValueError("to fail open takes a journal: what is spent then must be known after a restart")
        self._slice, self._seconds, self._left_share = units_of(slice_amount), seconds, 1 - renew_share
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._http = httpx2.Client(base_url=url, timeout=wait_seconds, transport=transport, headers=headers)
        self._allowance = Allowance(journal, units_of(allowance)) if unreachable == "open" and journal else None
        self._pairs: dict[tuple[str, str], _Pair] = {}
        self._unsettled: dict[str, int] = {}  # reservations that are over, and what they used
        self._lock = threading.Lock()
        self._is_away = False
        self._wake, self._is_closed = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="leased-quota", daemon=True)
        self._thread.start()

    def take(self, subject: str, feature: str, amount: Number = 1) -> bool:
        """Whether `amount` may be used, and it is taken then: in this process, while the slice has some left. Raises
        NotTaken for what the server does not know."""
        units = amount * _UNITS if type(amount) is int else units_of(amount)
        pair = self._pairs.get((subject, feature))
        if pair is not None:
            with pair.lock:
                if 0 <= units <= pair.left and time.monotonic() < pair.ends_at:
                    pair.left -= units
                    pair.spent += units
                    if pair.spent >= pair.renew_at and not pair.is_due:
                        pair.is_due = True
                        self._wake.set()
                    return True
        return self._take_slowly(subject, feature, units)

    def reserve(self, subject: str, feature: str, amount: Number, seconds: int | None = None) -> Reservation | None:
        """Hold what one call may use at most, or nothing when it may not. Raises NotTaken."""
        units, id = units_of(amount), f"call-{uuid4().hex}"
        asked = {"id": id, "subject": subject, "feature": feature, "amount": digits(units)}
        if not self._is_away:
            try:
                made = self._post("/v1/leases", {**asked, "seconds": seconds or self._seconds})
                return None if made is None else Reservation(self, id, units, is_journaled=False)
            except ServerAway:
                pass
        part = self._allowance and self._allowance.take_alone(subject, feature, units)
        return Reservation(self, part, units, is_journaled=True) if part else None

    def close(self) -> None:
        """Report and release everything, as far as the server can be reached; what is in the journal stays there."""
        self._is_closed = True
        self._wake.set()
        self._thread.join()
        try:
            self._send_what_waits()
            for pair in list(self._pairs.values()):
                with pair.talk:
                    self._release(pair)
        except ServerAway as error:
            _log.error("leases were not released: %s", error)
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _take_slowly(self, subject: str, feature: str, units: int) -> bool:
        if units < 0:
            raise ValueError("an amount below zero cannot be taken")
        with self._lock:
            pair = self._pairs.setdefault((subject, feature), _Pair(subject, feature))
        if not self._is_away:
            try:
                return self._refill(pair, units)
            except ServerAway as error:
                self._went_away(error)
        return pair.take(units) or (self._allowance is not None and self._allowance.take(subject, feature, units))

    def _refill(self, pair: _Pair, units: int) -> bool:
        """Lease or renew, and take. Whoever waited meanwhile finds what was leased."""
        with pair.talk:
            if pair.take(units):
                return True
            if self._is_away:
                raise ServerAway("the server was away a moment ago")
            if units >= pair.refused > 0 and time.monotonic() < pair.refused_until:
                return False
            wanted = max(self._slice, units)
            if pair.id is not None and time.monotonic() < pair.ends_at:
                self._report(pair, renew=wanted)
            if pair.take(units):
                return True
            self._release(pair)  # others may hold some: a new slice of all that is needed, or none
            self._lease(pair, wanted, units)
            if pair.take(units):
                return True
            pair.refused, pair.refused_until = max(units, 1), time.monotonic() + REFUSED_SECONDS
            return False

    def _lease(self, pair: _Pair, wanted: int, minimum: int) -> None:
        asked = {"subject": pair.subject, "feature": pair.feature, "amount": digits(wanted)}
        least = {"minimum": digits(max(minimum, 1))}
        begun_at = time.monotonic()
        made = self._post("/v1/leases", {**asked, **least, "seconds": self._seconds})
        if made is not None:
            with pair.lock:
                pair.id, pair.sequence, pair.spent, pair.reported = made["id"], 0, 0, 0
                pair.asked = wanted
                self._granted(pair, made, begun_at)

    def _report(self, pair: _Pair, renew: int | None) -> None:
        with pair.lock:
            pair.sequence += 1
            used, body = pair.spent, {"sequence": pair.sequence, "used": digits(pair.spent)}
        begun_at = time.monotonic()
        answer = self._post(f"{_path(pair.id)}/report", body if renew is None else {**body, "renew": digits(renew)})
        with pair.lock:
            if answer is None:
                pair.id, pair.left = None, 0
            else:
                pair.reported = used
                if renew is not None:
                    self._granted(pair, answer, begun_at)

    def _granted(self, pair: _Pair, lease: dict[str, Any], begun_at: float) -> None:
        pair.granted = units_of(Decimal(lease["granted"]))
        pair.left = max(pair.granted - pair.spent, 0) if lease["state"] == "open" else 0
        pair.renew_at = pair.granted - int(min(pair.left, pair.asked) * self._left_share)
        pair.is_due = False
        pair.seconds = lease["expires_in"]
        pair.ends_at = begun_at + pair.seconds

    def _release(self, pair: _Pair) -> None:
        """End the lease of a pair: first nobody takes of it any more, then its last number is final."""
        if pair.id is None:
            return
        with pair.lock:
            pair.left = 0
            used = pair.spent
        self._post(f"{_path(pair.id)}/release", {"used": digits(used)})
        with pair.lock:
            pair.id, pair.spent, pair.reported, pair.sequence = None, 0, 0, 0

    def _settle(self, id: str, units: int, *, is_journaled: bool) -> None:
        if is_journaled:
            assert self._allowance is not None
            self._allowance.settle(id, units)
            return
        self._unsettled[id] = units
        if not self._is_away:
            try:
                self._send_settled()
            except ServerAway as error:
                self._went_away(error)

    def _send_settled(self) -> None:
        for id, units in list(self._unsettled.items()):
            self._post(f"{_path(id)}/release", {"used": digits(units)})
            self._unsettled.pop(id, None)

    def _run(self) -> None:
        while not self._is_closed:
            self._wake.wait(REPORT_SECONDS)
            self._wake.clear()
            try:
                self._come_back()
                for pair in list(self._pairs.values()):
                    self._look_after(pair)
                self._send_what_waits()
            except ServerAway as error:
                self._went_away(error)
                time.sleep(min(REPORT_SECONDS, 0.1))
            except Exception:
                _log.exception("leases cannot be looked after; trying again")

    def _look_after(self, pair: _Pair) -> None:
        """Report what is new; renew what is nearly used up, and what is in use and ends soon."""
        is_used = pair.spent != pair.reported
        if pair.id is None or not is_used:
            return
        ends_soon = pair.ends_at - time.monotonic() < pair.seconds / 2
        with pair.talk:
            if pair.id is not None:
                self._report(pair, renew=self._slice if pair.is_due or ends_soon else None)

    def _come_back(self) -> None:
        if self._is_away:
            self._send("GET", "/healthz", None)
            self._is_away = False

    def _send_what_waits(self) -> None:
        self._send_settled()
        if self._allowance is not None:
            self._allowance.send(self._send_usage)

    def _send_usage(self, event: dict[str, Any]) -> None:
        """Where the clock here is ahead, it was used when the server hears of it."""
        try:
            self._post("/v1/quota/consume", event)
        except NotTaken as error:
            if "time_in_future" not in str(error):
                raise
            self._post("/v1/quota/consume", {name: value for name, value in event.items() if name != "time"})

    def _went_away(self, error: ServerAway) -> None:
        if not self._is_away:
            _log.error("%s: leases are spent to their end", error)
        self._is_away = True

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """The answer; nothing where it is no. Raises ServerAway, NotTaken."""
        answer = self._send("POST", path, body)
        if answer.status_code in _REFUSALS and not _is_problem(answer):
            return None
        if answer.status_code == 404 and path.startswith("/v1/leases/"):
            _log.error("%s: the lease is not known any more", path)
            return None
        if answer.status_code >= 400:
            raise NotTaken(f"{path}: {answer.status_code} {answer.text[:500]}")
        found: dict[str, Any] = answer.json()
        return found

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx2.TransportError as error:
            raise ServerAway(f"the server cannot be reached: {error!r}") from error
        if answer.status_code >= 500 or (answer.status_code == 429 and _is_problem(answer)):
            raise ServerAway(f"the server answers {answer.status_code}")
        return answer


def _is_problem(answer: httpx2.Response) -> bool:
    """Whether the key, or the question, is at fault, and not the quota."""
    return answer.headers.get("content-type", "").startswith(_PROBLEM)


def _path(id: str | None) -> str:
    return f"/v1/leases/{quote(str(id), safe='')}"
