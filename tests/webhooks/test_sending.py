"""One delivery: what the receiver sees, and whatever it does."""

import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from api.webhooks import sending
from api.webhooks.endpoints import new_secret
from api.webhooks.resolving import Rules
from api.webhooks.sending import Sender, signed
from tests.webhooks import receiver as module
from tests.webhooks.receiver import Receiver, receiving

LOOSE = Rules(private=True, http=True, ports=frozenset())
STRICT = Rules(private=False, http=True, ports=frozenset({443}))
SENDER = Sender(LOOSE, seconds=20, agent="test")
BODY = b'{"type":"quota.exhausted"}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as opened:
        yield opened


@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [
        ("ok", 200, None),
        ("204", 204, None),
        ("huge", 200, None),
        ("500", 500, None),
        ("404", 404, None),
        ("410", 410, None),
        ("redirect", 302, None),
        ("reset", None, "connection failed"),
        ("garbage", None, "no HTTP"),
        ("hang", None, "no answer in time"),
        ("drip", None, "no answer in time"),
    ],
)
def test_whatever_a_receiver_does_is_an_answer_in_time(
    receiver: Receiver, behaviour: str, status: int | None, error: str | None
) -> None:
    receiver.behave = lambda _: behaviour
    began, sender = time.monotonic(), replace(SENDER, seconds=0.3 if behaviour in ("hang", "drip") else 20)
    sent = sender.send(receiver.url, signed("sig_1", datetime.now(UTC), BODY, [new_secret()]), BODY)
    assert time.monotonic() - began < 5
    assert sent.status == status
    assert (sent.error is None) == (error is None)
    assert error is None or error in str(sent.error)
    assert sent.is_taken == (status in (200, 204))
    assert receiver.elsewhere == []  # a redirect leads nowhere


def test_a_receiver_that_is_not_there_refuses_the_connection() -> None:
    with receiving() as gone:
        url = gone.url
    assert SENDER.send(url, {}, BODY).error == "the connection was refused"


def test_nothing_is_sent_to_a_private_address_whatever_the_name_meant_before(receiver: Receiver) -> None:
    """The name means a public address when the endpoint is made, and this machine when a signal is sent."""
    answers = [["93.184.215.14"], ["127.0.0.1"], ["93.184.215.14", "::ffff:127.0.0.1"]]
    rebound = replace(SENDER, rules=STRICT, resolve=lambda host, port: answers.pop(0))
    url = "http://hooks.example.com:443/hook"
    rebound.check(url)
    for _ in range(2):
        assert "public Internet" in str(rebound.send(url, {}, BODY).error)
    assert receiver.came == []


def test_the_connection_goes_to_the_address_that_was_checked(receiver: Receiver) -> None:
    """The second name is asked for once, and the socket is opened to what was found then."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    url = receiver.url.replace("127.0.0.1", "hooks.example.com")
    assert replace(SENDER, resolve=resolve).send(url, signed("sig_1", datetime.now(UTC), BODY, ["AA=="]), BODY).is_taken
    assert asked == ["hooks.example.com"]
    assert receiver.came[0].headers["host"].startswith("hooks.example.com:")


def test_the_library_accepts_either_signature_and_nothing_else() -> None:
    old, new, at = new_secret(), new_secret(), datetime.now(UTC)
    headers = signed("sig_1", at, BODY, [new, old])
    for secret in (old, new):
        Webhook(secret).verify(BODY, headers)
    wrong = [
        (new_secret(), BODY, headers),
        (new, BODY + b" ", headers),
        (new, BODY, {**headers, "webhook-id": "sig_2"}),
        (old, BODY, signed("sig_1", at, BODY, [new])),
        (new, BODY, signed("sig_1", at - timedelta(minutes=6), BODY, [new])),
        (new, BODY, signed("sig_1", at + timedelta(minutes=6), BODY, [new])),
    ]
    for secret, body, sent in wrong:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, sent)


def test_a_signature_is_that_of_the_specification() -> None:
    """The example of the Standard Webhooks specification."""
    at = datetime.fromtimestamp(1614265330, UTC)
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}', [secret])
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_of_an_answer_of_any_size_a_little_is_read(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver.behave = lambda _: "huge"
    read: list[int] = []
    readinto = sending._Reader.readinto

    def counted(reader: sending._Reader, buffer: bytearray) -> int:
        read.append(readinto(reader, buffer))
        return read[-1]

    monkeypatch.setattr(sending._Reader, "readinto", counted)
    assert SENDER.send(receiver.url, signed("sig_1", datetime.now(UTC), BODY, ["AA=="]), BODY).is_taken
    assert sending.ANSWER_BYTES_MAX <= sum(read) < 2 * sending.ANSWER_BYTES_MAX < module.ANSWER_BYTES


def test_tls_is_by_the_name_of_the_url_and_to_the_address_that_was_checked(tmp_path: Path) -> None:
    """A certificate for hooks.example.com, at 127.0.0.1: taken under that name, refused under another."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-days", "2", "-subj", "/CN=hooks.example.com", "-addext", "subjectAltName=DNS:hooks.example.com",
               "-keyout", str(key), "-out", str(certificate)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    trusting = replace(
        SENDER,
        tls=lambda: ssl.create_default_context(cafile=str(certificate)),
        resolve=lambda host, port: ["127.0.0.1"],
    )
    with receiving(serving) as receiver:
        url = receiver.url.replace("http://127.0.0.1", "https://hooks.example.com")
        headers = signed("sig_1", datetime.now(UTC), BODY, ["AA=="])
        assert trusting.send(url, headers, BODY).status == 200
        assert "TLS failed" in str(trusting.send(url.replace("hooks", "other"), headers, BODY).error)
        assert "TLS failed" in str(replace(trusting, tls=ssl.create_default_context).send(url, headers, BODY).error)
    assert len(receiver.came) == 1
