"""The engine and DuckDB give the same charge lines for the tier family: equal decimals, no tolerance."""

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rating.catalog import compile_catalog, load_catalog, parse_catalog
from rating.catalog.genai_prices import import_genai_prices
from rating.core.book import PriceBook
from rating.core.periods import parse_month
from rating.core.rating import rate
from rating.core.schema import INSTANT, SUBJECT, usage_event_schema
from rating.core.subjects import interned
from rating.core.subscriptions import plain_subscriptions
from tests import oracle, second_engine
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame

FIRST = datetime(2026, 10, 1, tzinfo=UTC)
SUBJECTS = [f"s{n}" for n in range(5)]
money = st.decimals(0, 100, places=9).map(lambda d: format(d, "f"))
PER = st.sampled_from([1, 7, 1000, 1_000_000])
"""Of sevenths the 21st decimal is rounded, half to even."""
bounds = st.sets(st.sampled_from(["0.5", "1", "10", "100", "99.999999", "1000"]), max_size=4)


@st.composite
def tiers(draw: st.DrawFn) -> dict[str, Any]:
    edges = [*sorted(draw(bounds), key=Decimal), None]
    flats = [draw(st.sampled_from([{}, {"flat_amount": draw(money)}])) for _ in edges]
    made = [{"up_to": edge, "unit_amount": draw(money), **flat} for edge, flat in zip(edges, flats, strict=True)]
    return {"tiers": made, "per": draw(PER)}


VERSION = {
    "per_unit": st.fixed_dictionaries({"unit_amount": money, "per": PER}),
    "flat": st.fixed_dictionaries({"amount": money}),
    "graduated": tiers(),
    "volume": tiers(),
    "package": st.fixed_dictionaries({"package_size": st.sampled_from(["1", "2.5", "7"]), "amount": money}),
}


@st.composite
def books(draw: st.DrawFn) -> PriceBook:
    models = draw(st.lists(st.sampled_from(sorted(VERSION)), min_size=1, max_size=4))
    meter = {"event_type": "e", "aggregation": "sum"}
    prices = {
        f"p{n}": {"currency": "EUR", "model": model, "versions": [draw(VERSION[model])]} | _metered(n, model)
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


def _metered(number: int, model: str) -> dict[str, str]:
    return {} if model == "flat" else {"meter": f"m{number}"}


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
    used = events["subject"].unique().to_list()
    subjects = pl.DataFrame([(s, s) for s in used], schema=SUBJECT, orient="row")
    terms = [(s, s, "plan", "UTC", SINCE, None) for s in used]
    subscriptions = plain_subscriptions(terms)
    lines = rate(interned(usage), subjects, subscriptions, book, parse_month("2026-10")).lines
    return {(it["price"], it["customer"]): (it["quantity"], it["amount"]) for it in lines.rows(named=True)}


@given(book=books(), given_events=EVENTS)
def test_the_same_question_has_the_same_answer(book: PriceBook, given_events: list[tuple[str, int, Decimal]]) -> None:
    known = {shape.meter for shape in book.shapes}
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


def test_requests_under_the_imported_price_book() -> None:
    """5,000 requests of every kind of model in a month: versions, times of the day, cliffs by size, per million."""
    document, _ = import_genai_prices(plan="plan")
    catalog = load_catalog(document)
    book, draw = compile_catalog(catalog), random.Random(4)
    models = sorted({tuple(price.match[k] for k in ("provider", "model")) for price in catalog.prices.values()})
    asked = [_request(draw, draw.choice(models)) for _ in range(5_000)]
    usage = interned(usage_frame(asked, catalog.declared_properties()))
    subscription = oracle.Subscription("s", "acme", ("acme",), "plan", "UTC", SINCE)
    frames = subject_frame([subscription]), subscription_frame([subscription])
    lines = rate(usage, *frames, book, parse_month("2026-10")).lines
    columns = ("price", "meter", "price_version", "window", "quantity", "events", "amount")
    got = {row[:4]: row[4:] for row in lines.select(columns).rows() if row[5]}
    found = second_engine.requests(_measured(asked, book), book)
    assert len(found) > 1_000
    assert got == found


def _request(draw: random.Random, model: tuple[str, str]) -> dict[str, Any]:
    given_at = FIRST + timedelta(microseconds=draw.randrange(31 * 86_400 * 10**6))
    whole, cached = draw.choice([1, 100_000, 200_000, 200_001, draw.randint(1, 10**6)]), draw.randint(0, 900)
    data = {"input_tokens": whole + cached, "cache_read_tokens": cached, "output_tokens": draw.randint(0, 10**5)}
    numbers = {name: Decimal(value) for name, value in data.items()} | {"requests": Decimal(1)}
    return {
        "type": "llm.request",
        "subject": "acme",
        "time": given_at,
        "data": {**numbers, "provider": model[0], "model": model[1]},
    }


def _measured(asked: list[dict[str, Any]], book: PriceBook) -> pl.DataFrame:
    """What each meter that a request has a number for measures of it."""
    rows = []
    for request in asked:
        data = request["data"]
        for meter in book.meters:
            if meter.aggregation == "count":
                quantity = 1
            elif any(data.get(name) is not None for name in (*meter.add, *meter.subtract)):
                quantity = int(sum(data.get(n) or 0 for n in meter.add) - sum(data.get(n) or 0 for n in meter.subtract))
            else:
                continue
            where = (data["provider"], data["model"], request["time"])
            rows.append((*where, meter.key, quantity, int(data["input_tokens"])))
    names = {"provider": pl.String, "model": pl.String, "time": INSTANT, "meter": pl.String}
    return pl.DataFrame(rows, schema={**names, "quantity": pl.Int64, "size": pl.Int64}, orient="row")
