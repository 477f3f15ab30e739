"""`tallystick webhooks` and `states` on a real data directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.cli.conftest import Run
from tests.webhooks.receiver import Receiver, receiving


@pytest.fixture
def data(run: Run, book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TALLYSTICK_WEBHOOK_PRIVATE_ADDRESSES", "true")
    monkeypatch.setenv("TALLYSTICK_WEBHOOK_HTTP", "true")
    data = tmp_path / "data"
    for command in (("catalog", "apply", book), ("customers", "put", "acme")):
        assert run(*command, "--data", data).code == 0
    return data


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


def test_an_endpoint_is_added_tried_paused_and_removed(run: Run, data: Path, receiver: Receiver) -> None:
    added = run("webhooks", "add", receiver.url, "--type", "quota.exhausted", "--data", data)
    key, secret = added.out.split()
    assert (added.code, secret[:6]) == (0, "whsec_")
    assert "taken: the receiver answered 200" in run("webhooks", "test", key, "--data", data).out
    Webhook(secret).verify(receiver.came[0].body, receiver.came[0].headers)
    receiver.behave = lambda _: "500"
    refused = run("webhooks", "test", key, "--data", data)
    assert (refused.code, "not taken: the receiver answered 500" in refused.out) == (1, True)
    assert "is paused" in run("webhooks", "pause", key, "--data", data).err
    [listed] = run("webhooks", "list", "--data", data, "--json").json["items"]
    assert (listed["state"], listed["waiting"], listed["behind"]) == ("paused", 0, 0)
    assert key in run("webhooks", "list", "--data", data).out
    assert "is active" in run("webhooks", "resume", key, "--data", data).err
    assert run("webhooks", "change", key, "--customer", "acme", "--data", data, "--json").json["customers"] == ["acme"]
    assert run("webhooks", "rotate", key, "--data", data).out.startswith("whsec_")
    assert run("webhooks", "remove", key, "--data", data).code == 0
    gone = run("webhooks", "test", key, "--data", data)
    assert (gone.code, "there is no webhook endpoint" in gone.err) == (1, True)


def test_a_url_that_may_not_be_sent_to_is_refused_with_the_reason(run: Run, data: Path) -> None:
    refused = run("webhooks", "add", "ftp://h.example/", "--data", data)
    assert (refused.code, "https://" in refused.err) == (65, True)


def test_a_customer_is_suspended_and_its_signals_are_replayed(run: Run, data: Path, receiver: Receiver) -> None:
    key = run("webhooks", "add", receiver.url, "--data", data, "--json").json["id"]
    begun = run("states", "begin", "acme", "suspended", "--reason", "unpaid", "--id", "s", "--data", data)
    assert "s: acme is suspended (unpaid)" in begun.err
    assert "unpaid" in run("states", "list", "acme", "--data", data).out
    assert run("states", "end", "acme", "s", "--data", data, "--json").json["ended_because"] == "asked"
    told = run("signals", "--type", "customer.resumed", "--data", data, "--json").json["items"]
    assert [signal["type"] for signal in told] == ["customer.resumed"]
    assert run("signals", "--customer", "nobody", "--data", data, "--json").json["items"] == []
    replayed = run("webhooks", "replay", key, "--after", 0, "--data", data)
    assert "0 signals are delivered again" in replayed.err  # they wait behind its cursor, for a server
    assert run("webhooks", "replay", key, "--data", data).code == 65
    assert "0 deliveries" in run("webhooks", "deliveries", key, "--state", "dead", "--data", data).out
