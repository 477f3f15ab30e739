"""Quota questions answered in the process of a gateway. The limit is 2,000 tokens in October."""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.client_journal import Allowance, digits, units_of
from api.engine import Engine
from api.lease_client import LeasedQuota, NotTaken
from tests.api.test_consume import events_of
from tests.api.test_leases import standing
from tests.api.test_quota import use


class Wire(httpx2.BaseTransport):
    """What lies between the client and the application; `cut` is a server that cannot be reached."""

    def __init__(self, server: httpx2.Client) -> None:
        self._inner = server._transport
        self.is_cut = False
        self.paths: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.is_cut:
            raise httpx2.ConnectError("cut", request=request)
        self.paths.append(request.url.path)
        return self._inner.handle_request(request)


@pytest.fixture
def wire(sold: httpx2.Client) -> Wire:
    return Wire(sold)


@pytest.fixture
def opened(wire: Wire) -> Iterator[Callable[..., LeasedQuota]]:
    clients: list[LeasedQuota] = []

    def make(**changes: Any) -> LeasedQuota:
        clients.append(LeasedQuota("http://testserver", transport=wire, **{"slice_amount": 100, **changes}))
        return clients[-1]

    yield make
    wire.is_cut = False
    for client in clients:
        if not client._is_closed:
            client.close()


def taken(client: LeasedQuota, most: int, amount: int | Decimal = 1) -> int:
    return sum(client.take("acme", "tokens", amount) for _ in range(most))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_takes_are_answered_here_and_reported(
    sold: httpx2.Client, wire: Wire, opened: Callable[..., LeasedQuota]
) -> None:
    client = opened()
    assert taken(client, 50) == 50
    assert wire.paths == ["/v1/leases"]
    until(lambda: standing(sold)[:2] == ("50", "50"))
    assert taken(client, 35) == 35  # 85 of 100: it is renewed behind the callers' backs
    until(lambda: standing(sold)[:2] == ("85", "100"))
    client.close()
    assert standing(sold) == ("85", "0", "1915")


def test_exactly_the_limit_is_taken_by_many_threads_and_clients(
    sold: httpx2.Client, opened: Callable[..., LeasedQuota]
) -> None:
    """4 clients of 4 threads each try 4,000 times 1 of 2,000; the last go to whoever asks when all is given back."""
    clients = [opened(slice_amount=50) for _ in range(4)]
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda n: taken(clients[n % 4], 250), range(16)))
    for client in clients:
        client.close()
    rest = opened(slice_amount=50)
    total = sum(found) + taken(rest, 2100)
    rest.close()
    assert total == 2000
    assert standing(sold) == ("2000", "0", "0")


def test_a_call_reserves_and_settles(sold: httpx2.Client, opened: Callable[..., LeasedQuota]) -> None:
    client = opened()
    call = client.reserve("acme", "tokens", 1300)
    assert call is not None
    assert standing(sold)[1] == "1300"
    assert client.reserve("acme", "tokens", 701) is None
    call.settle(Decimal("411.5"))
    assert standing(sold) == ("411.5", "0", "1588.5")


def test_a_call_is_settled_when_the_server_is_back(
    sold: httpx2.Client, wire: Wire, opened: Callable[..., LeasedQuota]
) -> None:
    client = opened()
    call = client.reserve("acme", "tokens", 1300)
    wire.is_cut = True
    assert call is not None
    call.settle(400)
    assert client.reserve("acme", "tokens", 1) is None
    wire.is_cut = False
    until(lambda: standing(sold) == ("400", "0", "1600"))


def test_fractions_and_unknown_names(sold: httpx2.Client, opened: Callable[..., LeasedQuota]) -> None:
    client = opened(slice_amount=Decimal("0.5"))
    assert taken(client, 5, Decimal("0.2")) == 5
    assert client.take("acme", "tokens", 1999)
    assert not client.take("acme", "tokens", Decimal("0.000000001"))
    assert not client.take("nobody", "tokens")
    with pytest.raises(NotTaken, match="no feature 'images'"):
        client.take("acme", "images")
    for wrong in (-1, Decimal("0.0000000001")):
        with pytest.raises(ValueError, match="amount"):
            client.take("acme", "tokens", wrong)


def test_away_and_closed_spends_what_is_leased_and_no_more(
    sold: httpx2.Client, wire: Wire, opened: Callable[..., LeasedQuota]
) -> None:
    client = opened()
    assert taken(client, 10) == 10
    wire.is_cut = True
    assert taken(client, 200) == 90
    assert not client.take("other", "tokens")
    wire.is_cut = False
    until(lambda: client.take("acme", "tokens"))
    client.close()
    assert standing(sold)[:2] == ("101", "0")


def test_a_slice_ends_with_its_time_also_when_the_server_is_away(
    wire: Wire, opened: Callable[..., LeasedQuota]
) -> None:
    client = opened(seconds=1)
    assert client.take("acme", "tokens")
    wire.is_cut = True
    time.sleep(1.05)
    assert not client.take("acme", "tokens")


def test_a_slice_in_use_is_renewed_in_time(wire: Wire, opened: Callable[..., LeasedQuota]) -> None:
    """Of 3 seconds; for 4 seconds a unit is taken all the time, and the caller never waits for a lease again."""
    client = opened(seconds=3)
    begun_at = time.monotonic()
    while time.monotonic() < begun_at + 4:
        assert client.take("acme", "tokens")
        time.sleep(0.1)
    assert wire.paths.count("/v1/leases") == 1


def test_away_and_open_spends_a_journaled_allowance_that_is_counted_once(
    sold: httpx2.Client, engine: Engine, wire: Wire, opened: Callable[..., LeasedQuota], tmp_path: Path
) -> None:
    """Nothing is left of the quota: 30 more are let through while the server is away, and recorded when it is back."""
    use(sold, "before", 1990)
    client = opened(slice_amount=5, unreachable="open", allowance=30, journal=tmp_path / "journal")
    assert taken(client, 5) == 5
    wire.is_cut = True
    assert taken(client, 100) == 30
    call = client.reserve("acme", "tokens", 1)
    assert call is None
    lines = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    assert sum(Decimal(line.get("amount", 0)) for line in lines) == 30
    wire.is_cut = False
    until(lambda: standing(sold)[0] == str(1990 + 5 + 30))
    until(lambda: (tmp_path / "journal").read_bytes() == b"")
    assert {row[0] for row in events_of(engine) if row[0] == "lease-client"} == {"lease-client"}


def test_what_a_crash_leaves_in_the_journal_counts_whole_and_bounds_the_allowance(
    sold: httpx2.Client, wire: Wire, opened: Callable[..., LeasedQuota], tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    dead = Allowance(journal, units_of(30))
    assert dead.take("acme", "tokens", units_of(2))  # of a part of 3
    id = dead.take_alone("acme", "tokens", units_of(10))
    assert id is not None
    with journal.open("ab") as file:
        file.write(b'{"id": "torn", "amo')
    wire.is_cut = True
    client = opened(unreachable="open", allowance=30, journal=journal)
    assert taken(client, 100) == 30 - 3 - 10
    before = journal.read_bytes()
    wire.is_cut = False
    until(lambda: standing(sold)[0] == "30")
    client.close()
    journal.write_bytes(before)  # it died before it could cut it
    again = opened(unreachable="open", allowance=30, journal=journal)
    until(lambda: journal.read_bytes() == b"")
    again.close()
    assert standing(sold)[0] == "30"


def test_a_part_is_on_the_disk_before_it_is_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowance = Allowance(tmp_path / "journal", units_of(30))

    def failing(_: int) -> None:
        raise OSError("no disk")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="no disk"):
            allowance.take("acme", "tokens", units_of(1))
    assert sum(allowance.take("acme", "tokens", units_of(1)) for _ in range(40)) == 30
    assert not allowance.take("acme", "tokens", units_of(1))
    assert allowance.take("acme", "calls", units_of(1))


def test_to_fail_open_takes_a_journal() -> None:
    with pytest.raises(ValueError, match="journal"):
        LeasedQuota("http://localhost", unreachable="open", allowance=1)


def test_units() -> None:
    for text in ("0", "1", "0.000000001", "1200.5", "9999999999999999.999999999"):
        assert digits(units_of(Decimal(text))) == text
