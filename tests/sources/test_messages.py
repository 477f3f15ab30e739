"""Messages of a broker become CloudEvents, whatever is in them."""

import json

import pytest

from api.sources.messages import batch_of, event_of

EVENT = b'{"id":"1", "data":{"a":1.10}}'


@pytest.mark.parametrize(
    ("payload", "headers", "expected"),
    [
        pytest.param(EVENT, {}, EVENT.decode(), id="structured: as it is, digits and all"),
        pytest.param(EVENT, {"content-type": "application/cloudevents+json"}, EVENT.decode(), id="with its type"),
        pytest.param(
            b'{"a":1.10}',
            {"ce-specversion": "1.0", "CE-ID": "1", "ce-source": "%2Fgw%20%C3%A9", "ce-ext": "x", "content-type": "y"},
            '{"specversion":"1.0","id":"1","source":"/gw é","data":{"a":1.10}}',
            id="binary: attributes are percent-encoded, extensions are left out",
        ),
        pytest.param(b"", {"ce-id": "1"}, '{"id":"1"}', id="binary without data"),
        pytest.param(b"[1]", {"ce-id": "1"}, '{"id":"1","data":"[1]"}', id="data that is no object"),
        pytest.param(b"{", {}, '"{"', id="no JSON"),
        pytest.param(b"[1]", {}, '"[1]"', id="no object"),
        pytest.param(b'{"a":"\xff"}', {}, '"{\\"a\\":\\"\\\\xff\\"}"', id="no UTF-8"),
        pytest.param(b'{"a":1}{"b":2}', {}, '"{\\"a\\":1}{\\"b\\":2}"', id="two objects cannot become two events"),
        pytest.param(b"", {}, '""', id="nothing"),
    ],
)
def test_a_message_becomes_one_event(payload: bytes, headers: dict[str, str], expected: str) -> None:
    assert event_of(payload, headers).decode() == expected


@pytest.mark.parametrize("payload", [b'{"a":' + b"[" * 100_000, b"{" * 100_000, b"\x00", b'{"a":1e999}', b'{"a":NaN}'])
def test_a_batch_is_json_whatever_is_in_it(payload: bytes) -> None:
    assert len(json.loads(batch_of([event_of(payload, {}), EVENT]))) == 2
