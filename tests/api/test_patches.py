"""An edited event as a merge patch: what comes out of applying it is what was written."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.patches import NotAnObject, patch_between
from ingest.rejections_replay import merge_patch

LEAVES = st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.none() | st.integers(), max_size=3)
VALUES = st.recursive(LEAVES, lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8)
OBJECTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)


@given(before=OBJECTS, after=OBJECTS)
def test_the_patch_makes_the_one_of_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    texts = [json.dumps(each).encode() for each in (before, after)]
    assert json.loads(merge_patch(texts[0], patch_between(*texts))) == after


@given(same=OBJECTS)
def test_laying_out_is_no_change(same: dict[str, Any]) -> None:
    assert patch_between(json.dumps(same).encode(), json.dumps(same, indent=2).encode()) == b"{}"


def test_only_what_was_edited_is_in_it_digit_for_digit() -> None:
    before = b'{"id":"1","time":"soon","data":{"n":1.10,"m":12345678901234567890.5},"gone":0}'
    after = b'{"id":"1","time":"2026-10-01T00:00:00Z","data":{"n":1.100,"m":12345678901234567890.5}}'
    assert patch_between(before, after) == b'{"gone":null,"time":"2026-10-01T00:00:00Z","data":{"n":1.100}}'


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"a":}', b'{"a":{"b":}}', b"\xff", b"[" * 5000])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(NotAnObject):
        patch_between(b"{}", text)
