"""Who pays, and what is agreed, as arrays: the same as dictionaries of what was given."""

from datetime import UTC, datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rating.core.schema import INSTANT
from rating.payers import Agreements, Payers

NAME = st.sampled_from(["a", "b", "é", "z", "aa"])
INSTANTS = st.datetimes(datetime(1969, 1, 1), datetime(2100, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001
SUBJECTS = st.dictionaries(st.text(max_size=3), st.tuples(NAME, st.sampled_from(["UTC", "Asia/Tokyo"])), max_size=6)
AGREED = st.lists(st.tuples(NAME, NAME, INSTANTS, st.none() | INSTANTS), max_size=8)


@given(SUBJECTS)
def test_payers_are_those_that_were_given(given: dict[str, tuple[str, str]]) -> None:
    rows = [(subject, *payer) for subject, payer in given.items()]
    columns = dict.fromkeys(("subject", "customer", "time_zone"), pl.String())
    payers = Payers(pl.DataFrame(rows, schema=columns, orient="row"))
    assert {subject: payers.find(subject) for subject in given} == given
    assert payers.find("nobody at all") is None
    assert set(payers.time_zones) == {zone for _, zone in given.values()}


@given(AGREED)
def test_agreements_are_those_that_were_given_in_their_order(
    given: list[tuple[str, str, datetime, datetime | None]],
) -> None:
    columns = {"customer": pl.String(), "plan": pl.String(), "starts_at": INSTANT, "ends_at": INSTANT}
    agreements = Agreements(pl.DataFrame(given, schema=columns, orient="row"))
    for customer in ("a", "b", "é", "z", "aa", "nobody"):
        assert agreements.of(customer) == [tuple(rest) for name, *rest in given if name == customer]
