"""Identity hashes, and judging against a plain dictionary, with hashes that collide on purpose."""

from decimal import Decimal

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ingest.admission import judge
from ingest.identity import body_hash, hash_identities, text_hashes
from rating.core.schema import QUANTITY
from tests.ingest.identities import arrays

FEW = st.integers(0, 3)
PAIRS = st.lists(st.tuples(FEW, st.integers(0, 5)), max_size=12)


@given(PAIRS, st.sets(st.tuples(FEW, st.integers(0, 5))), st.data())
def test_judging_equals_a_loop_with_a_dictionary(
    pairs: list[tuple[int, int]], known: set[tuple[int, int]], data: st.DataObject
) -> None:
    bodies = data.draw(st.lists(st.integers(1, 2), min_size=len(pairs), max_size=len(pairs)))
    is_known = np.array([pair in known for pair in pairs], bool)
    judgement = judge(arrays(pairs), np.array(bodies, np.int64), is_known, np.where(is_known, 1, 0))
    seen: dict[tuple[int, int], int] = dict.fromkeys(known, 1)
    for row, (pair, body) in enumerate(zip(pairs, bodies, strict=True)):
        assert judgement.is_new[row] == (pair not in seen)
        assert (row in judgement.unsure) == (seen.get(pair, body) != body)
        assert pairs[judgement.first[row]] == pair
        seen.setdefault(pair, body)


@given(st.lists(st.tuples(st.text("ab/\0", max_size=4), st.text("ab/\0", max_size=4)), min_size=1, max_size=20))
def test_identities_have_one_hash_only_when_they_are_equal(pairs: list[tuple[str, str]]) -> None:
    frame = pl.DataFrame(pairs, schema={"source": pl.String, "id": pl.String}, orient="row")
    high, low = hash_identities(frame, (1, 2))
    hashes = list(zip(high.tolist(), low.tolist(), strict=True))
    assert len(set(hashes)) == len(set(pairs))
    assert all(pair_high != pair_low for pair_high, pair_low in hashes)


def test_the_hash_of_an_identity_depends_on_the_secret() -> None:
    frame = pl.DataFrame({"source": ["s"], "id": ["1"]})
    assert hash_identities(frame, (1, 2)) != hash_identities(frame, (3, 4))


def fingerprints(**columns: pl.Series) -> list[int]:
    named = {name: column.alias(name) for name, column in columns.items()}
    identity = {name: pl.Series(name, ["x"] * len(column)) for name in ("source", "id") for column in [*named.values()]}
    frame = pl.DataFrame({**identity, **named})
    texts = tuple(name for name, dtype in frame.schema.items() if dtype == pl.String)
    others = [column for column in frame.get_columns() if column.dtype != pl.String]
    hashes: list[int] = body_hash(frame.select_seq(text_hashes(texts, (1, 2))), texts, others).tolist()
    return hashes


BODY = st.tuples(
    st.sampled_from([None, "", "a", "b"]),
    st.sampled_from([None, "", "a", "b"]),
    st.sampled_from([None, 0, 1, 2**63, -1]),
)


@given(st.lists(BODY, min_size=1, max_size=20))
def test_bodies_have_one_fingerprint_only_when_they_are_equal(
    bodies: list[tuple[str | None, str | None, int | None]],
) -> None:
    model, region, tokens = zip(*bodies, strict=True)
    numbers = pl.Series([None if each is None else Decimal(each) for each in tokens], dtype=QUANTITY)
    texts = {"data_model": pl.Series(model, dtype=pl.String), "data_region": pl.Series(region, dtype=pl.String)}
    hashes = fingerprints(**texts, data_tokens=numbers)
    assert len(set(hashes)) == len(set(bodies))
    late = pl.Series([None] * len(bodies), dtype=pl.String)
    assert fingerprints(**texts, data_tokens=numbers, data_late=late) == hashes
