"""Envoy's rate limit service, asked by a client whose messages are generated from Envoy's own files."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from envoy.extensions.common.ratelimit.v3 import ratelimit_pb2
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc
from google.protobuf import wrappers_pb2

from api.gateways.envoy_messages import RateLimitRequest
from api.gateways.envoy_rate_limit import questions_of, serve_rate_limits
from store.errors import DatabaseUnavailable, Refused
from tests.api.test_server import Server
from tests.gateways.conftest import Quotas, catalog, free_port

OK, OVER_LIMIT = rls_pb2.RateLimitResponse.OK, rls_pb2.RateLimitResponse.OVER_LIMIT
WAIT = 1425600  # seconds from 15 October noon to 1 November

Ask = Callable[..., Any]


@pytest.fixture
def ask(quotas: Quotas) -> Iterator[Ask]:
    with (
        closing(serve_rate_limits(quotas.engine, "127.0.0.1", 0)) as service,
        grpc.insecure_channel(f"127.0.0.1:{service.port}") as channel,
    ):
        stub = rls_pb2_grpc.RateLimitServiceStub(channel)
        yield lambda *descriptors, **more: stub.ShouldRateLimit(request(*descriptors, **more), timeout=30)


def request(*descriptors: Any, domain: str = "tallystick", hits: int = 0) -> Any:
    return rls_pb2.RateLimitRequest(domain=domain, descriptors=descriptors, hits_addend=hits)


def descriptor(hits: int | None = None, **entries: str) -> Any:
    made = ratelimit_pb2.RateLimitDescriptor(
        entries=[ratelimit_pb2.RateLimitDescriptor.Entry(key=key, value=value) for key, value in entries.items()]
    )
    if hits is not None:
        made.hits_addend.CopyFrom(wrappers_pb2.UInt64Value(value=hits))
    return made


ACME = {"subject": "acme", "feature": "requests"}


def test_an_answer_has_the_code_what_is_left_and_until_when(ask: Ask, quotas: Quotas) -> None:
    quotas.use("1", 1999)
    answer = ask(descriptor(**ACME))
    assert answer.overall_code == OK
    [status] = answer.statuses
    assert (status.code, status.current_limit.requests_per_unit, status.current_limit.name) == (OK, 2000, "requests")
    assert (status.limit_remaining, status.duration_until_reset.seconds) == (1, WAIT)
    assert {header.key: header.value for header in answer.response_headers_to_add} == {
        "X-Quota-Status": "200",
        "X-Quota-Reason": "allowed",
        "RateLimit-Policy": '"requests";q=2000;w=2678400',
        "RateLimit": f'"requests";r=1;t={WAIT}',
    }
    for over in (ask(descriptor(**ACME), hits=2), ask(descriptor(**ACME, amount="1.5")), ask(descriptor(2, **ACME))):
        assert (over.overall_code, over.statuses[0].code) == (OVER_LIMIT, OVER_LIMIT)
        headers = {header.key: header.value for header in over.response_headers_to_add}
        assert (headers["X-Quota-Status"], headers["Retry-After"]) == ("429", str(WAIT))


def test_every_descriptor_must_allow(ask: Ask) -> None:
    answer = ask(
        descriptor(**ACME), descriptor(subject="globex", feature="requests"), descriptor(**ACME, amount="9999")
    )
    assert answer.overall_code == OVER_LIMIT
    assert [status.code for status in answer.statuses] == [OK, OVER_LIMIT, OVER_LIMIT]
    assert not answer.statuses[1].HasField("current_limit")
    headers = {header.key: header.value for header in answer.response_headers_to_add}
    assert (headers["X-Quota-Status"], headers["X-Quota-Reason"]) == ("403", "not_entitled")
    assert headers["RateLimit"] == ", ".join([f'"requests";r=2000;t={WAIT}'] * 2)


def test_limits_beyond_32_bits_are_clipped(ask: Ask, quotas: Quotas) -> None:
    assert httpx2.put(f"{quotas.url}/v1/catalog", json=catalog(10**12)).status_code == 200
    [status] = ask(descriptor(**ACME)).statuses
    assert (status.current_limit.requests_per_unit, status.limit_remaining) == (2**32 - 1, 2**32 - 1)


@pytest.mark.parametrize(
    ("descriptors", "hits", "expected"),
    [
        pytest.param([descriptor(**ACME)], 0, "1", id="one hit unless said"),
        pytest.param([descriptor(**ACME)], 7, "7", id="hits of the request"),
        pytest.param([descriptor(0, **ACME)], 7, "0", id="hits of the descriptor, also none"),
        pytest.param([descriptor(5, **ACME, amount="2.5")], 7, "2.5", id="an amount goes before hits"),
    ],
)
def test_amounts(descriptors: Any, hits: int, expected: str) -> None:
    asked = questions_of(RateLimitRequest.FromString(request(*descriptors, hits=hits).SerializeToString()))
    assert asked == [("acme", "requests", Decimal(expected))]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        pytest.param(request(descriptor(**ACME), domain="other"), "'tallystick'", id="another domain"),
        pytest.param(request(), "0 descriptors", id="nothing asked"),
        pytest.param(request(*[descriptor(**ACME)] * 101), "101 descriptors", id="too many"),
        pytest.param(request(descriptor(subject="acme")), "send subject, feature", id="no feature"),
        pytest.param(request(descriptor(**ACME, other="x")), "send subject, feature", id="an unknown entry"),
        pytest.param(request(descriptor(**ACME, amount="-1")), "-1", id="no amount"),
    ],
)
def test_what_asks_nothing_clear_is_refused(asked: Any, says: str) -> None:
    with pytest.raises(Refused, match=says):
        questions_of(RateLimitRequest.FromString(asked.SerializeToString()))


def test_a_refused_question_is_an_invalid_argument(ask: Ask) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        ask(descriptor(subject="acme"))
    assert failed.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "send subject, feature" in failed.value.details()


def test_a_database_that_is_away_is_unavailable(ask: Ask, quotas: Quotas, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(quotas.engine.quota, "_read_terms", away)
    quotas.engine.quota.terms_changed()
    with pytest.raises(grpc.RpcError) as failed:
        ask(descriptor(**ACME))
    assert failed.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_port_that_is_taken_is_said(quotas: Quotas) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(OSError, match="rate limit service cannot listen"),
    ):
        serve_rate_limits(quotas.engine, "127.0.0.1", taken.getsockname()[1])


def test_a_server_with_a_port_for_it_answers_until_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("TALLYSTICK_RATELIMIT_PORT", str(port))
    server = Server(tmp_path / "data")
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = rls_pb2_grpc.RateLimitServiceStub(channel).ShouldRateLimit(request(descriptor(**ACME)), timeout=30)
    assert answer.overall_code == OVER_LIMIT
    assert server.end(signal.SIGTERM) == 0
