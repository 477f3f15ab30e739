"""The Python client and a real server, that is also killed."""

import asyncio
import signal
import socket
import threading
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tallystick import AsyncTallystick, BufferFull, Limits, Retrying, Tallystick
from tests.crash.server import CATALOG, TALLYSTICK, Server

AT = datetime(2026, 10, 5, 10, tzinfo=UTC)


@pytest.fixture
def server(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    server = Server(TALLYSTICK, tmp_path / "data", tmp_path / "log")
    server.prefix = ("env", f"TALLYSTICK_PORT={port}")
    assert server.start(server.prefix)
    yield server
    server.kill()


def test_every_recorded_event_counts_once_though_the_server_is_killed(server):
    quick = {"limits": Limits(batch_events_max=20, age_seconds=0.01), "retrying": Retrying(seconds_max=0.3)}
    with Tallystick(server.url, **quick) as client:
        client.apply_catalog(CATALOG)

        def record(subject):
            for _ in range(600):
                client.record("usage", subject=subject, data={"quantity": Decimal("0.1")}, time=AT)

        threads = [threading.Thread(target=record, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for _ in range(2):
            threads[0].join(0.05)
            server.end(signal.SIGKILL)
            assert server.start(server.prefix)
        for thread in threads:
            thread.join()
        assert client.flush()
        used = client.usage("used", group_by=["subject"])
        result = client.close()
    assert {row.group["subject"]: (row.quantity, row.events) for row in used.rows} == {
        name: (Decimal(60), 600)
        for name in ("a", "b")  # 600 x 0.1
    }
    assert (result.kept, result.refused, len(result.unsent)) == (1200, 0, 0)


def test_the_calls_and_what_is_refused(server):
    refused = []
    catalog = {
        **CATALOG,
        "prices": {
            "p": {"meter": "used", "currency": "USD", "model": "per_unit", "versions": [{"unit_amount": "0.3"}]}
        },
        "features": {"units": {"meter": "used"}},
        "plans": {
            "pro": {"currency": "USD", "prices": ["p"], "entitlements": {"units": {"limit": "5", "window": "month"}}}
        },
    }
    with Tallystick(server.url, on_refused=refused.append) as client:
        assert not client.diff_catalog(catalog).applied
        applied = client.apply_catalog(catalog)
        assert applied.version == client.catalog().version
        assert client.put_customer("acme", name="Acme") == client.customer("acme")
        client.put_subscription("s", customer="acme", plan="pro", starts_at=datetime(2026, 1, 1, tzinfo=UTC))
        client.record("usage", subject="acme", data={"quantity": Decimal("1.5")}, time=AT)
        client.record("usage", subject="acme", data={"quantity": "many"}, time=AT, id="bad")
        assert client.flush()
        assert [refusal.event.id for refusal in refused] == ["bad"]
        assert client.consume("acme", "units", 4, id="c").allowed
        assert client.consume("acme", "units", 4, id="c").duplicate
        assert not client.consume("acme", "units", 4).allowed
        assert client.check_quota("acme", "units").limit == 5
        run = client.rate("2026-10")
        assert [line.amount for line in client.lines(run.id)] == [Decimal("0.45")]  # 1.5 x 0.3
        assert client.lines_table(run.id).num_rows == 1
        assert isinstance(client.signals()["next"], int)
    assert client.close().refused == 1


def test_the_client_that_awaits(server):
    async def use():
        async with AsyncTallystick(server.url) as client:
            await client.apply_catalog(CATALOG)
            for _ in range(50):
                await client.record("usage", subject="a", data={"quantity": 2}, time=AT)
            assert await client.flush()
            return await client.usage("used"), await client.close()

    used, result = asyncio.run(use())
    assert used.rows[0].quantity == 100
    assert result.kept == 50


def test_nothing_is_lost_silently_without_a_server():
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    client = Tallystick(url, limits=Limits(events_max=2), full_wait_seconds=0.05, close_seconds=0.1)
    ids = [client.record("usage", subject="a") for _ in range(2)]
    with pytest.raises(BufferFull):
        client.record("usage", subject="a")
    assert [event.id for event in client.close().unsent] == ids
