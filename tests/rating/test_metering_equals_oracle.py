"""Every aggregation against plain loops: groups, prices, versions, times of the day, subjects, carried usage."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.catalog import compile_catalog, load_catalog
from rating.core.metering import carried_readings
from rating.core.periods import parse_month
from rating.core.rating import Rated, rate
from rating.core.subjects import interned
from tests import oracle
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame

OCTOBER = "2026-10"
MID_MONTH = datetime(2026, 10, 15, 11, 30, tzinfo=UTC)
FIRST = datetime(2026, 9, 20, tzinfo=UTC)
AGGREGATIONS: dict[str, dict[str, Any]] = {
    "count": {"carried": None},
    "sum": {"property": "n", "add": ["m"]},
    "min": {"property": "n"},
    "max": {"property": "n", "subtract": ["m"]},
    "average": {"property": "n", "carried": None},
    "latest": {"property": "n"},
    "unique_count": {"property": "f", "removed_when": {"property": "op", "equals": "remove"}},
    "percentile": {"property": "n", "percentile": "62.5", "carried": None},
    "time_weighted": {"property": "n", "series_by": ["subject"]},
    "weighted_sum": {"property": "n"},
    "rate_of_change": {"property": "n", "series_by": ["f"]},
    "high_water_mark": {"property": "n"},
}
FILTERS: list[dict[str, Any]] = [
    {"property": "f", "in": ["a", "b"]},
    {"property": "f", "not_in": ["a"]},
    {"property": "f", "prefix": "a"},
    {"property": "m", "exists": True},
    {"property": "m", "exists": False},
    {"property": "n", "at_least": "-1", "less_than": "7"},
    {"property": "n", "more_than": "2"},
    {"property": "n", "at_most": 2},
]
instants = st.one_of(
    st.sampled_from([MID_MONTH, MID_MONTH - timedelta(microseconds=1), datetime(2026, 10, 1, tzinfo=UTC)]),
    st.sampled_from([datetime(2026, 9, 30, 22, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)]),
    st.timedeltas(timedelta(0), timedelta(days=43)).map(lambda after: FIRST + after),
    st.integers(0, 43 * 24).map(lambda hours: FIRST + timedelta(hours=hours)),
)
numbers = st.one_of(st.integers(-3, 9).map(Decimal), st.decimals(-5, 300, places=9))


@st.composite
def meters(draw: st.DrawFn, aggregation: str) -> dict[str, Any]:
    own = AGGREGATIONS[aggregation]
    made: dict[str, Any] = {"event_type": "e", "aggregation": aggregation, "group_by": ["d"], **own}
    if "carried" not in own and draw(st.booleans()):
        made["carried"] = draw(st.booleans())
    elif made.get("carried", 0) is None:
        del made["carried"]
    if aggregation in ("time_weighted", "weighted_sum") and draw(st.booleans()):
        made["time_unit"] = draw(st.sampled_from(["second", "hour", "day", "period"]))
    made |= draw(st.sampled_from([{}, {}, {"factor": "1.5"}, {"divide_by": "1024"}, {"factor": "2", "divide_by": "7"}]))
    if draw(st.booleans()):
        mode = draw(st.sampled_from(["up", "down", "ceiling", "floor", "half_even", "half_away_from_zero"]))
        made["rounding"] = {"mode": mode, "decimals": draw(st.sampled_from([0, 2, -1, 9]))}
    made["filters"] = draw(st.lists(st.sampled_from(FILTERS), max_size=1))
    made["exclude"] = draw(st.lists(st.lists(st.sampled_from(FILTERS), min_size=1, max_size=2), max_size=1))
    return made


@st.composite
def documents(draw: st.DrawFn, aggregation: str) -> dict[str, Any]:
    meter = draw(meters(aggregation))
    carried = meter.get("carried", False) and aggregation not in ("time_weighted", "weighted_sum", "rate_of_change")
    starts: list[datetime | None] = draw(
        st.sampled_from([[None], [None, MID_MONTH], [datetime(2026, 10, 2, tzinfo=UTC), MID_MONTH]])
    )
    versions: list[dict[str, Any]] = []
    for number, at in enumerate(starts):
        version: dict[str, Any] = {"unit_amount": str(number + 1), **({"effective_from": at.isoformat()} if at else {})}
        if not carried and aggregation != "high_water_mark" and draw(st.booleans()):
            zone = draw(st.sampled_from(["UTC", "Australia/Lord_Howe"]))
            version["time_of_day"] = [{"from": "22:00", "to": "06:00", "time_zone": zone, "unit_amount": "10"}]
        versions.append(version)
    prices: dict[str, Any] = {}
    shapes: list[list[dict[str, Any]]] = [[{}], [{"group_by": ["d"]}], [{"match": {"d": "a"}}, {}]]
    for number, more in enumerate(draw(st.sampled_from(shapes))):
        price = {"meter": "m", "currency": "EUR", "model": "per_unit", "versions": versions, **more}
        prices[f"p{number}"] = price
    return {
        "tallystick": 1,
        "currencies": ["EUR"],
        "meters": {"m": meter},
        "prices": prices,
        "plans": {"all": {"currency": "EUR", "prices": ["p*"]}},
    }


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    given_numbers = {k: draw(numbers) for k in draw(st.sampled_from([["n"], ["n"], ["n", "m"], ["m"], []]))}
    texts = {k: draw(st.sampled_from(["a", "b", "ab"])) for k in draw(st.sets(st.sampled_from(["d", "f"])))}
    removal = draw(st.sampled_from([{}, {"op": "remove"}, {"op": "add"}]))
    return {
        "type": draw(st.sampled_from(["e", "e", "e", "e", "other"])),
        "subject": draw(st.sampled_from(["s1", "s2", "s3"])),
        "time": draw(instants),
        "data": {**given_numbers, **texts, **removal},
    }


@st.composite
def subscriptions(draw: st.DrawFn) -> list[oracle.Subscription]:
    zone = draw(st.sampled_from(["UTC", "Europe/Madrid", "Australia/Lord_Howe", "Asia/Kathmandu"]))
    start = draw(st.sampled_from([SINCE, datetime(2026, 10, 10, 7, tzinfo=UTC)]))
    upgraded = draw(st.sampled_from([None, datetime(2026, 10, 20, tzinfo=UTC)]))
    made = [
        oracle.Subscription("sub1", "c1", ("s1", "s2"), "all", zone, start, upgraded),
        oracle.Subscription("sub2", "c2", ("s3",), "all", "UTC", SINCE),
    ]
    if upgraded is not None:
        made.append(oracle.Subscription("sub3", "c1", ("s1", "s2"), "all", zone, upgraded))
    return made


def run(
    document: dict[str, Any], given_events: list[dict[str, Any]], subs: list[oracle.Subscription], **how: Any
) -> Rated:
    catalog = load_catalog(document)
    frame = usage_frame(given_events, catalog.declared_properties())
    if "shuffle" in how:
        shuffled = frame.collect().sample(fraction=1, shuffle=True, seed=how["shuffle"])
        frame = pl.concat([shuffled.clear(), *shuffled.iter_slices(3)], rechunk=False).lazy()
    usage, book = interned(frame), compile_catalog(catalog)
    carried = None
    if "carried_at" in how:  # what a caller kept of the time before, and only the rest of the usage
        before = usage.events.filter(pl.col("time") < how["carried_at"])
        carried = carried_readings(before, book.meters).collect().lazy()
        usage = type(usage)(usage.events.filter(pl.col("time") >= how["carried_at"]), usage.subjects)
    return rate(usage, subject_frame(subs), subscription_frame(subs), book, parse_month(OCTOBER), carried)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_every_line_equals_the_oracles(aggregation: str) -> None:
    @settings(max_examples=60)
    @given(document=documents(aggregation), given_events=st.lists(events(), max_size=25), subs=subscriptions())
    def holds(document: dict[str, Any], given_events: list[dict[str, Any]], subs: list[oracle.Subscription]) -> None:
        rated = run(document, given_events, subs)
        keys = ("subscription", "price", "price_version", "window", "meter", "group")
        got = {
            tuple(line[k] for k in keys): (line["quantity"], line["events"], line["amount"])
            for line in rated.lines.iter_rows(named=True)
        }
        expected = oracle.rate(document, given_events, subs, OCTOBER)
        assert got == {key: (line.quantity, line.events, line.amount) for key, line in expected.items()}

    holds()


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_neither_order_nor_batches_nor_what_was_kept_of_the_time_before_change_a_byte(aggregation: str) -> None:
    @settings(max_examples=15)
    @given(
        document=documents(aggregation),
        given_events=st.lists(events(), max_size=25),
        subs=subscriptions(),
        seed=st.integers(0, 99),
    )
    def holds(
        document: dict[str, Any], given_events: list[dict[str, Any]], subs: list[oracle.Subscription], seed: int
    ) -> None:
        digest = run(document, given_events, subs).digest
        assert run(document, given_events, subs, shuffle=seed).digest == digest
        assert run(document, given_events, subs, carried_at=datetime(2026, 9, 29, tzinfo=UTC)).digest == digest

    holds()
