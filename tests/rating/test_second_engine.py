"""The engine and DuckDB give the same charge lines for the tier family: equal decimals, no tolerance."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rating.catalog import compile_catalog, parse_catalog
from rating.core.book import PriceBook
from rating.core.periods import parse_month
from rating.core.rating import rate
from rating.core.schema import SUBJECT, SUBSCRIPTION, usage_event_schema
from rating.core.subjects import interned
from tests import second_engine
from tests.frames import SINCE

FIRST = datetime(2026, 10, 1, tzinfo=UTC)
SUBJECTS = [f"s{n}" for n in range(5)]
money = st.decimals(0, 100, places=9).map(lambda d: format(d, "f"))
bounds = st.sets(st.sampled_from(["0.5", "1", "10", "100", "99.999999", "1000"]), max_size=4)


@st.composite
def tiers(draw: st.DrawFn) -> dict[str, Any]:
    edges = [*sorted(draw(bounds), key=Decimal), None]
    return {"tiers": [{"up_to": e, "unit_amount": draw(money), "flat_amount": draw(money)} for e in edges]}


VERSION = {
    "per_unit": st.fixed_dictionaries({"unit_amount": money}),
    "graduated": tiers(),
    "volume": tiers(),
    "package": st.fixed_dictionaries({"package_size": st.sampled_from(["1", "2.5", "7"]), "amount": money}),
}


@st.composite
def books(draw: st.DrawFn) -> PriceBook:
    models = draw(st.lists(st.sampled_from(sorted(VERSION)), min_size=1, max_size=4))
    meter = {"event_type": "e", "aggregation": "sum"}
    prices = {
        f"p{n}": {"meter": f"m{n}", "currency": "EUR", "model": model, "versions": [draw(VERSION[model])]}
        for n, model in enumerate(models)
    }
    document = {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {f"m{n}": {**meter, "property": f"n{n}"} for n in range(len(models))},
        "prices": prices,
        "plans": {"plan": {"currency": "EUR", "prices": ["*"]}},
    }
    return compile_catalog(parse_catalog(json.dumps(document), format="json"))


EVENTS = st.lists(
    st.tuples(st.sampled_from(SUBJECTS), st.integers(0, 3), st.decimals(-50, 2000, places=6)), max_size=30
)


def rated(events: pl.DataFrame, book: PriceBook) -> second_engine.Amounts:
    """The engine's answer. `events` has `subject`, `meter` and `quantity`."""
    meters = [meter.key for meter in book.meters]
    properties = {meter.add[0]: "number" for meter in book.meters}
    columns = {f"data_n{key[1:]}": pl.when(pl.col("meter") == key).then("quantity") for key in meters}
    given_at = pl.lit(FIRST) + pl.duration(seconds=pl.int_range(pl.len()))
    frame = events.with_columns(
        source=pl.lit("t"),
        id=pl.int_range(pl.len()).cast(pl.String),
        type=pl.lit("e"),
        time=given_at,
        data=pl.lit(None),
        received_at=given_at,
        sequence=pl.int_range(pl.len()),
        **columns,
    )
    schema = usage_event_schema(properties)  # type: ignore[arg-type]
    usage = frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items()).lazy()
    subjects = pl.DataFrame([(s, s) for s in SUBJECTS], schema=SUBJECT, orient="row")
    terms = [(s, s, "plan", "UTC", SINCE, None) for s in SUBJECTS]
    subscriptions = pl.DataFrame(terms, schema=SUBSCRIPTION, orient="row")
    lines = rate(interned(usage), subjects, subscriptions, book, parse_month("2026-10")).lines
    return {(it["price"], it["customer"]): (it["quantity"], it["amount"]) for it in lines.rows(named=True)}


@given(book=books(), given_events=EVENTS)
def test_the_same_question_has_the_same_answer(book: PriceBook, given_events: list[tuple[str, int, Decimal]]) -> None:
    known = {meter.key for meter in book.meters}
    rows = [(s, f"m{number}", quantity) for s, number, quantity in given_events if f"m{number}" in known]
    events = pl.DataFrame(
        rows, schema={"subject": pl.String, "meter": pl.String, "quantity": pl.Decimal(38, 9)}, orient="row"
    )
    assert second_engine.amounts(events, book) == rated(events, book)


def test_a_hundred_thousand_events() -> None:
    tiers = [{"up_to": "1000000", "unit_amount": "0.000125"}, {"unit_amount": "0.0001", "flat_amount": "3"}]
    versions: dict[str, Any] = {
        "per_unit": {"unit_amount": "0.000000001"},
        "graduated": {"tiers": tiers},
        "volume": {"tiers": tiers},
        "package": {"package_size": "1000", "amount": "0.4"},
    }
    document = {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {f"m{n}": {"event_type": "e", "aggregation": "sum", "property": f"n{n}"} for n in range(4)},
        "prices": {
            f"p{n}": {"meter": f"m{n}", "currency": "EUR", "model": model, "versions": [version]}
            for n, (model, version) in enumerate(versions.items())
        },
        "plans": {"plan": {"currency": "EUR", "prices": ["*"]}},
    }
    book = compile_catalog(parse_catalog(json.dumps(document), format="json"))
    rng, count = np.random.default_rng(5), 100_000
    events = pl.DataFrame(
        {
            "subject": pl.Series(SUBJECTS).gather(pl.Series(rng.integers(0, len(SUBJECTS), count))),
            "meter": pl.Series([f"m{n}" for n in range(4)]).gather(pl.Series(rng.integers(0, 4, count))),
            "millionths": rng.integers(1, 10**9, count),
        }
    ).select("subject", "meter", quantity=pl.col("millionths").cast(pl.Decimal(38, 9)) * pl.lit(Decimal("0.000001")))
    found = second_engine.amounts(events, book)
    assert len(found) == 4 * len(SUBJECTS)
    assert found == rated(events, book)
