"""Whatever the bytes: columns, or one of the declared refusals, and never a wrong type."""

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.admission import screen
from ingest.decode import CONTENT_TYPES, decode
from ingest.errors import BodyTooLarge, UnreadableBody
from ingest.limits import IngestLimits
from tests.ingest.events import ARROW, BATCH, NOW, PROPERTIES, arrow_body, event, json_body

LIMITS = IngestLimits(arrow_bytes=1 << 20)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ATTRIBUTES = ("id", "source", "type", "subject", "time", "data", "specversion", "data_base64", "other")
ODD_EVENTS = st.dictionaries(st.sampled_from(ATTRIBUTES), JSON_VALUES, max_size=6) | JSON_VALUES
ODD_DATA = st.dictionaries(st.sampled_from(["tokens", "model", "other"]), JSON_VALUES, max_size=3)


def read(body: bytes, content_type: str) -> None:
    """Decode and screen; each event is either ready or has a verdict."""
    try:
        decoded = decode(body, content_type, PROPERTIES, LIMITS)
    except (UnreadableBody, BodyTooLarge):
        return
    candidates = screen(decoded, now=NOW, limits=LIMITS, seeds=(1, 2))
    assert len(candidates.index) + len(candidates.rejected) == candidates.total == decoded.events.height
    assert candidates.events["time"].null_count() == 0


@given(st.binary(max_size=200), st.sampled_from(CONTENT_TYPES))
def test_any_bytes(body: bytes, content_type: str) -> None:
    read(body, content_type)


@given(st.lists(ODD_EVENTS, max_size=5), ODD_DATA)
def test_any_json_value_in_the_place_of_an_event(events: list[object], data: dict[str, object]) -> None:
    body = json_body([event(0), event(1, data=data), *events])
    decoded = decode(body, BATCH, PROPERTIES, LIMITS)
    assert decoded.events["id"][0] == "0"
    assert 0 not in decoded.problems
    read(body, BATCH)


GOOD_JSON = json_body([event(1), event(2, data={"tokens": 1.5, "x": "\u00e9"})])
GOOD_ARROW = arrow_body(
    {
        "source": ["s", "s"],
        "id": ["1", "2"],
        "type": pa.array(["t", "t"]).dictionary_encode(),
        "subject": ["x", None],
        "time": pa.array([1, None], pa.timestamp("us", "UTC")),
        "tokens": pa.array([Decimal("1.5"), None], pa.decimal128(10, 3)),
        "extra": pa.array([[1, 2], None]),
        "data": ['{"a": 1}', None],
    }
)


@pytest.mark.parametrize(("body", "content_type"), [(GOOD_JSON, BATCH), (GOOD_ARROW, ARROW)], ids=["json", "arrow"])
def test_every_truncation_and_flipped_bits(body: bytes, content_type: str) -> None:
    for size in range(0, len(body), 3):
        read(body[:size], content_type)
    for place in range(0, len(body), 2):
        flipped = bytearray(body)
        flipped[place] ^= 1 << (place % 8)
        read(bytes(flipped), content_type)
