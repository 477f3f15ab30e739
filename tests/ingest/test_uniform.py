"""Events that are all written alike are read as columns: the same columns and problems as one by one, for any body."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.decode import Decoded, decode, read_values, uniform
from ingest.decode.json_body import JsonValues, typed
from ingest.decode.uniform import UniformBody, read_uniform
from ingest.errors import IngestError, UnreadableBody
from ingest.limits import IngestLimits
from tests.ingest.events import BATCH, PROPERTIES, event, json_body, open_log

LIMITS = IngestLimits()
TEXTS = st.text(st.sampled_from('ab }]{[,:"\\\u00e9\u20ac\x7f\n0-'), max_size=5)
NUMBERS = st.sampled_from(
    ["0", "-0", "1", "12", "1.50", "1e3", "-7", "1e400", "10000000000000001", "007", "1.", "true"]
)
TIMES = st.sampled_from(["2026-10-15T12:00:00Z", "2026-10-15T12:00:00.123456789Z", "2026-10-15", "never", ""])
KEYS = ["tokens", "model", "region", "note", "\u00e9", "a%b"]


@pytest.fixture(autouse=True)
def _any_size() -> Iterator[None]:
    before, uniform.BYTES_MIN = uniform.BYTES_MIN, 0
    yield
    uniform.BYTES_MIN = before


def outcome(decoded: Decoded) -> tuple[list[dict[str, Any]], dict[int, str]]:
    return decoded.events.rows(named=True), {row: p.code for row, p in sorted(decoded.problems.items())}


def both_ways(body: bytes, limits: IngestLimits = LIMITS) -> bool:
    """Check that both ways agree; whether the fast one was gone."""
    values = read_values(body, BATCH, PROPERTIES, limits)
    assert isinstance(values, UniformBody)
    fast = read_uniform([values])
    if fast is not None:
        assert outcome(fast) == outcome(typed(values.read()))
    return fast is not None


def dumped(keys: list[str], values: list[list[str]], space: str) -> bytes:
    """Events with the properties `keys`, their values as they stand in JSON."""
    events = []
    for row, own in enumerate(values):
        data = f",{space}".join(
            f"{json.dumps(k, ensure_ascii=False)}:{space}{v}" for k, v in zip(keys, own, strict=True)
        )
        events.append(
            f'{{"specversion": "1.0", "id":{space}"{row}", "source":"s","type":"t","subject":"c","data": {{{data}}}}}'
        )
    return f"[{f',{space}'.join(events)}]".encode("utf-8", "surrogatepass")


@settings(max_examples=400)
@given(st.data(), st.lists(st.sampled_from(KEYS), max_size=4), st.sampled_from(["", " ", "  "]))
def test_whatever_is_read_as_columns_is_what_is_read_one_by_one(
    data: st.DataObject, keys: list[str], space: str
) -> None:
    kinds = [data.draw(st.sampled_from(["text", "number", "any"])) for _ in keys]
    quoted = TEXTS.map(lambda text: f'"{text}"')
    strategies = {
        "text": quoted,
        "number": NUMBERS,
        "any": st.one_of(quoted, NUMBERS, st.sampled_from(["null", "[]", "{}"])),
    }
    values = [[data.draw(strategies[kind]) for kind in kinds] for _ in range(data.draw(st.integers(1, 4)))]
    body = dumped(keys, values, space)
    found = read(body)
    if isinstance(found, UniformBody):
        fast = read_uniform([found])
        if fast is not None:
            assert outcome(fast) == outcome(typed(found.read()))
    assert wrong(body) == wrong_one_by_one(body)


def read(body: bytes) -> JsonValues | UniformBody | str:
    try:
        values = read_values(body, BATCH, PROPERTIES, LIMITS)
    except IngestError as error:
        return type(error).__name__
    assert values is not None
    return values


def wrong(body: bytes) -> str | None:
    """The class of the error that decoding raises."""
    try:
        decode(body, BATCH, PROPERTIES, LIMITS)
    except IngestError as error:
        return type(error).__name__
    return None


def wrong_one_by_one(body: bytes) -> str | None:
    before, uniform.BYTES_MIN = uniform.BYTES_MIN, len(body) + 1
    try:
        return wrong(body)
    finally:
        uniform.BYTES_MIN = before


UNIFORM = json_body([event(n, data={"tokens": n, "model": f"m{n}", "region": "eu", "ok": True}) for n in range(4)])


@settings(max_examples=500)
@given(st.integers(0, len(UNIFORM) - 1), st.sampled_from(list(b'"{}[],:\\ 0a-e.\x00\n\x80\xc3')), st.booleans())
@example(0, ord("{"), False)
def test_one_byte_that_is_another_is_never_taken_for_the_pattern(at: int, byte: int, is_added: bool) -> None:
    body = UNIFORM[:at] + bytes([byte]) + UNIFORM[at + (not is_added) :]
    found = read(body)
    if isinstance(found, UniformBody) and (fast := read_uniform([found])) is not None:
        assert outcome(fast) == outcome(typed(found.read()))
    assert wrong(body) == wrong_one_by_one(body)


def test_what_services_send_is_read_as_columns() -> None:
    assert both_ways(UNIFORM)
    spaced = json.dumps([event(n, data={"tokens": str(n), "model": "m", "n": n}) for n in range(3)]).encode()
    assert both_ways(spaced)
    umlauts = json.dumps([event(n, data={"model": "m\u00fcller"}) for n in range(3)], ensure_ascii=False).encode()
    assert both_ways(umlauts)


@pytest.mark.parametrize("key", ["id", "data", "tokens"])
def test_a_key_that_is_there_twice_is_left_to_the_reader_that_tells(key: str) -> None:
    body = UNIFORM.replace(b'"region"', f'"{key}"'.encode()) if key == "tokens" else UNIFORM.replace(b'"type"', b'"id"')
    assert decode(body, BATCH, PROPERTIES, LIMITS).problems[0].code == "repeated_key"


def test_bodies_of_one_pattern_are_read_as_one_and_a_false_one_alone(tmp_path: Path) -> None:
    bodies = [json_body([event(10 * b + n, data={"tokens": n}) for n in range(5)]) for b in range(3)]
    values = [read(body) for body in bodies]
    assert all(isinstance(each, UniformBody) for each in values)
    whole = read_uniform([each for each in values if isinstance(each, UniformBody)])
    assert whole is not None
    assert whole.events["id"].to_list() == [event(10 * b + n)["id"] for b in range(3) for n in range(5)]
    odd = bodies[1].replace(b'"tokens": 3', b'"tokens": x')
    log = open_log(tmp_path)
    futures = [log.submit(body, BATCH) for body in (bodies[0], odd, bodies[2])]
    assert [futures[at].result().accepted for at in (0, 2)] == [5, 5]
    with pytest.raises(UnreadableBody):
        futures[1].result()
    log.close()
