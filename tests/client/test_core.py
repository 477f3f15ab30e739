"""The pure part of the Python client."""

import ast
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick import Limits, Problem, Refusal, Retrying, event_of
from tallystick.buffering import Buffer
from tallystick.calls import Reply, check_quota, is_asked_again, rate, result_of
from tallystick.events import new_id
from tallystick.exact_json import dumps, loads
from tallystick.recording import Ledger
from tallystick.retrying import wait_seconds
from tests.conftest import ROOT


@pytest.mark.parametrize("path", sorted((ROOT / "tallystick").glob("*.py")), ids=lambda path: path.name)
def test_the_client_knows_nothing_of_the_server(path):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    roots = {n.module.split(".")[0] for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
    roots |= {alias.name.split(".")[0] for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    assert roots.isdisjoint({"api", "ingest", "rating", "store", "polars"})


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=12))
def test_a_decimal_is_sent_in_its_own_digits(value):
    assert json.loads(dumps({"q": value}), parse_float=Decimal, parse_int=Decimal)["q"] == value
    assert loads(f"[{value:f}]")[0] == value


@pytest.mark.parametrize(
    "value", [1.5, [0.1], {"a": {"b": 2.0}}, {1: 2}, object()], ids=lambda value: type(value).__name__
)
def test_a_float_is_refused_wherever_it_stands(value):
    with pytest.raises(TypeError):
        event_of("t", subject="s", source="x", data={"q": value})


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), datetime(2026, 1, 1)])  # noqa: DTZ001
def test_what_is_no_number_or_has_no_zone_is_refused(value):
    with pytest.raises(ValueError, match=r"no number|no time zone"):
        dumps(value)


def test_ids_sort_by_the_millisecond():
    early, late = new_id(1_700_000_000_000_000_000), new_id(1_700_000_000_001_000_000)
    assert early < late
    assert early[14] == "7"
    assert early[19] in "89ab"


@given(
    tries=st.integers(1, 10_000), chance=st.floats(0, 0.999), told=st.sampled_from([None, "0", "7", "9" * 40, "soon"])
)
def test_a_wait_is_bounded_and_never_shorter_than_the_server_says(tries, chance, told):
    seconds = wait_seconds(Retrying(), tries, told, chance)
    assert 0.05 <= seconds <= 200
    assert told != "7" or seconds >= 7


@pytest.mark.parametrize(
    ("call", "reply", "expected"),
    [
        (check_quota("a", "b", 1), None, True),
        (check_quota("a", "b", 1), Reply(429, {}, b'{"allowed":false}'), False),
        (check_quota("a", "b", 1), Reply(429, {}, b'{"type":"x"}'), True),
        (rate("2026-10"), None, False),
        (rate("2026-10"), Reply(503, {}, b"{}"), False),
        (rate("2026-10"), Reply(429, {}, b"{}"), True),
    ],
    ids=[
        "a question again",
        "a refusal is an answer",
        "too many requests",
        "maybe done",
        "maybe done, 503",
        "not done",
    ],
)
def test_what_is_asked_again(call, reply, expected):
    assert is_asked_again(call, reply, 1, Retrying()) is expected
    assert not is_asked_again(call, reply, 5, Retrying())


def test_a_problem_names_its_slug():
    with pytest.raises(Problem) as raised:
        result_of(rate("x"), Reply(422, {}, b'{"type":"urn:tallystick:problem:refused","detail":"no month"}'))
    assert (raised.value.status, raised.value.slug) == (422, "refused")


OUTCOMES = st.sampled_from(["kept", "some refused", "lost", "503", "413", "401"])


def reply_for(outcome, batch):
    if outcome == "lost":
        return None
    if outcome in ("503", "413", "401"):
        return Reply(int(outcome), {"retry-after": "1"}, b"{}")
    named = [{"index": 0, "verdict": "rejected", "code": "c", "message": "m"}] if outcome == "some refused" else []
    answer = {"accepted": len(batch) - len(named), "duplicates": 0, "events": named}
    return Reply(207 if named else 200, {}, json.dumps(answer).encode())


@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=40),
    outcomes=st.lists(OUTCOMES, max_size=30),
    events_max=st.integers(1, 30),
    batch_max=st.integers(1, 8),
)
def test_every_event_taken_is_kept_refused_or_still_there(sizes, outcomes, events_max, batch_max):
    limits = Limits(events_max=events_max, batch_events_max=batch_max, batch_bytes_max=900)
    told: list[Refusal] = []
    ledger = Ledger(Buffer(limits), Retrying(), told.append)
    at = datetime(2026, 10, 1, tzinfo=UTC)
    events = [event_of("t", subject="s", source="x", data={"p": "x" * size}, time=at) for size in sizes]
    taken = sum(ledger.buffer.add(event, 0.0) for event in events)
    assert taken == min(events_max, len(events))
    now, last = 0.0, None
    for outcome in outcomes:
        due_at = ledger.buffer.due_at(is_flushing=True)
        if due_at is None:
            break
        now = max(now, due_at)
        batch = ledger.buffer.take(now, is_flushing=True)
        assert 1 <= len(batch) <= batch_max
        assert last is None or batch == last, "a batch that failed is sent as it was"
        ledger.tell(ledger.heard(reply_for(outcome, batch), now, 0.5))
        last = batch if outcome in ("lost", "503") else None
        result = ledger.result()
        assert result.kept + result.refused + len(result.unsent) == taken
        assert result.refused == len(told)
    assert len({e.id for e in ledger.result().unsent}) == len(ledger.result().unsent)


def test_a_batch_waits_for_its_size_or_its_age():
    buffer = Buffer(Limits(batch_events_max=2, age_seconds=1.0))
    event = event_of("t", subject="s", source="x")
    assert buffer.add(event, 10.0)
    assert buffer.take(10.9, is_flushing=False) == ()
    assert buffer.take(11.0, is_flushing=False) == (event,)
