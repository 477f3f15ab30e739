"""Tiers and included units that are prorated, that go on when something changes, and that are those of a year."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.catalog import compile_catalog, parse_catalog
from rating.core.periods import Month, parse_month
from rating.core.rated_events import rated_events
from rating.core.rating import Rated, rate, usage_bounds
from rating.core.service_periods import Due
from rating.core.subjects import interned
from rating.core.subscriptions import TERMS, subscriptions_of
from rating.core.timeline import CHANGE
from tests import oracle
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame
from tests.strategies import ZONES, money, tiers

FEW, FEWEST = (settings(max_examples=max(settings().max_examples // part, 1)) for part in (3, 12))
MID_OCTOBER = "2026-10-15T11:30:00+00:00"
AMOUNTS = st.sampled_from(["0", "0.5", "1", "7", "40.25", "99.999999999"])
INSTANTS = st.timedeltas(timedelta(0), timedelta(days=330)).map(
    lambda after: datetime(2025, 12, 28, tzinfo=UTC) + after
)
STARTS = st.one_of(
    st.just(SINCE),
    st.timedeltas(timedelta(0), timedelta(days=34)).map(lambda it: datetime(2026, 9, 28, tzinfo=UTC) + it),
)
BY = st.sampled_from(["seconds", "days", "30_days"])
EVENTS = st.lists(st.tuples(INSTANTS, AMOUNTS, st.sampled_from("ab")), max_size=15)
FREE = st.fixed_dictionaries({}, optional={"free_units": st.sampled_from(["0", "0.5", "30"])})
NUMBERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "graduated": st.fixed_dictionaries({"tiers": tiers(), "per": st.sampled_from([1, 7])}),
    "volume": st.fixed_dictionaries({"tiers": tiers(), "per": st.sampled_from([1, 7])}),
    "stairstep": st.fixed_dictionaries({"tiers": tiers("amount")}),
    "graduated_percentage": st.fixed_dictionaries({"tiers": tiers("percent")}),
    "volume_percentage": st.fixed_dictionaries({"tiers": tiers("percent")}),
    "allowance": st.fixed_dictionaries({"included": st.sampled_from(["0", "3", "50.5"]), "unit_amount": money}),
    "tiered_package": st.fixed_dictionaries({"tiers": tiers(), "package_size": st.sampled_from(["1", "2.5"])}),
}
WINDOWS = [{"interval": "year"}, {"interval": "quarter"}, {"interval": "month", "intervals": 5}]


@st.composite
def prices(draw: st.DrawFn) -> dict[str, Any]:
    model = draw(st.sampled_from(sorted(NUMBERS)))
    prorate = {"prorate" if model == "allowance" else "prorate_tiers": draw(BY)}
    going_on = [{"on_change": "continue"}, *({"window": window} for window in WINDOWS)]
    price = {"currency": "EUR", "model": model, "meter": "sum", **draw(st.sampled_from([prorate, prorate, *going_on]))}
    steps = draw(FREE) if model in ("graduated", "volume", "stairstep") else {}
    versions = [{**draw(NUMBERS[model]), **steps}]
    if draw(st.booleans()):
        versions.append({**draw(NUMBERS[model]), **steps, "effective_from": MID_OCTOBER})
    return {**price, "group_by": draw(st.sampled_from([[], ["d"]])), "versions": versions}


def document(price: dict[str, Any], **plan: Any) -> dict[str, Any]:
    meter = {"event_type": "e", "aggregation": "sum", "property": "n", "group_by": ["d"]}
    plans = {"plan": {"currency": "EUR", "prices": ["p"], **plan}}
    return {"tallystick": 1, "currencies": ["EUR"], "meters": {"sum": meter}, "prices": {"p": price}, "plans": plans}


def events_of(given_events: list[tuple[datetime, str, str]]) -> list[dict[str, Any]]:
    return [
        {"type": "e", "subject": "acme", "time": at, "data": {"n": Decimal(n), "d": d}} for at, n, d in given_events
    ]


def compare(made: dict[str, Any], given_events: list[dict[str, Any]], zone: str, starts_at: datetime) -> None:
    """Each line is the oracle's, and the events of each sum to it."""
    subscription = oracle.Subscription("s", "acme", ("acme",), "plan", zone, starts_at)
    catalog = parse_catalog(json.dumps(made), format="json")
    usage = interned(usage_frame(given_events, catalog.declared_properties()))
    book = compile_catalog(catalog)
    terms = (subject_frame([subscription]), subscription_frame([subscription]), book, parse_month("2026-10"))
    rated = rate(usage, *terms)
    expected = oracle.rate(made, given_events, [subscription], "2026-10")
    names = ("subscription", "price", "price_version", "window", "meter", "group")
    got = {tuple(line[c] for c in names): line for line in rated.lines.iter_rows(named=True)}
    assert {key: line["amount"] for key, line in got.items()} == {key: line.amount for key, line in expected.items()}
    for line in got.values():
        charged = [it["after"] for it in line["operations"] if it["on"] == "quantity"]
        assert sum((tier["quantity"] for tier in line["tiers"]), Decimal(0)) == [line["quantity"], *charged][-1]
        assert sum((tier["amount"] for tier in line["tiers"]), Decimal(0)) == line["amount"]
    shared = pl.concat(rated_events(usage, *terms, rated.lines))
    sums = {line: (quantity, amount) for line, quantity, amount in _sums(shared).iter_rows()}
    assert sums == {line["line"]: (line["quantity"], line["amount"]) for line in got.values()}
    bounded = usage.between(*_bounds(terms[1], book))
    assert rate(bounded, *terms).digest == rated.digest


def _bounds(subscriptions: pl.DataFrame, book: Any) -> tuple[datetime, datetime]:
    start, end = usage_bounds(subscriptions, book, parse_month("2026-10"))
    assert start is not None
    return start, end


def _sums(shared: pl.DataFrame) -> pl.DataFrame:
    return shared.group_by("line").agg(pl.col("quantity", "amount").sum())


@given(price=prices(), given_events=EVENTS, zone=st.sampled_from(ZONES), starts_at=STARTS)
def test_every_line_equals_the_oracles(
    price: dict[str, Any], given_events: list[tuple[datetime, str, str]], zone: str, starts_at: datetime
) -> None:
    compare(document(price), events_of(given_events), zone, starts_at)


@FEW
@given(
    setting=st.sampled_from([{"prorate": "days"}, {"prorate": "seconds"}, *({"window": it} for it in WINDOWS)]),
    over=st.sampled_from(["0", "10"]),
    given_events=EVENTS,
    zone=st.sampled_from(ZONES),
    starts_at=STARTS,
)
def test_allowances_of_plans_equal_the_oracles(
    setting: dict[str, Any], over: str, given_events: list[tuple[datetime, str, str]], zone: str, starts_at: datetime
) -> None:
    price = {"currency": "EUR", "model": "per_unit", "meter": "sum", "group_by": ["d"]}
    rollover = {"rollover_maximum": over} if "window" not in setting else {}
    allowance = {"units": "60.5", "prices": ["p"], **setting, **rollover}
    made = document({**price, "versions": [{"unit_amount": "2"}]}, allowances={"all": allowance})
    compare(made, events_of(given_events), zone, starts_at)


def run(
    made: dict[str, Any], given_events: list[dict[str, Any]], due: Month | Due, *changes: dict[str, Any], **terms: Any
) -> Rated:
    catalog = parse_catalog(json.dumps(made), format="json")
    own = {"subscription": "s", "customer": "acme", "billed_to": "acme", "plan": "plan", "seats": Decimal(1)}
    usual = {"time_zone": "UTC", "starts_at": SINCE, "interval": "month", "intervals": 1}
    row = {name: {**own, **usual, **terms}.get(name) for name in TERMS}
    dated = [
        {"subscription": "s", "sequence": place, "item": "plan", "recorded_at": it["effective_at"], **it}
        for place, it in enumerate(changes)
    ]
    changed = pl.DataFrame([{name: it.get(name) for name in CHANGE} for it in dated], schema=CHANGE)
    subscriptions = subscriptions_of(pl.DataFrame([row], schema=TERMS), changed)
    subjects = subject_frame([oracle.Subscription("s", "acme", ("acme",), "plan", "UTC", SINCE)])
    usage = interned(usage_frame(given_events, catalog.declared_properties()))
    return rate(usage, subjects, subscriptions, compile_catalog(catalog, subscriptions["plan"]), due)


def charged(rated: Rated) -> Decimal:
    return sum(rated.lines["amount"], Decimal(0))


OF_2026 = st.lists(
    st.tuples(
        st.timedeltas(timedelta(0), timedelta(days=364)).map(lambda it: datetime(2026, 1, 1, tzinfo=UTC) + it),
        AMOUNTS,
        st.sampled_from("ab"),
    ),
    max_size=15,
)
YEARLY = st.sampled_from(["graduated", "stairstep", "graduated_percentage"])


@FEWEST
@given(data=st.data(), model=YEARLY, given_events=OF_2026, groups=st.sampled_from(["alone", "together"]))
def test_twelve_months_of_a_year_cost_what_the_year_costs(
    data: st.DataObject, model: str, given_events: list[tuple[datetime, str, str]], groups: str
) -> None:
    version = {name: value for name, value in data.draw(NUMBERS[model]).items() if name != "per"}
    price = {"currency": "EUR", "model": model, "meter": "sum", "versions": [version]}
    if model == "graduated":
        price |= {"group_by": ["d"], "groups": groups}
    given_usage = events_of(given_events)
    by_month = document({**price, "window": {"interval": "year"}})
    in_months = [charged(run(by_month, given_usage, parse_month(f"2026-{month:02}"))) for month in range(1, 13)]
    in_one = charged(run(document(price), given_usage, parse_month("2026-12"), interval="year"))
    assert sum(in_months, Decimal(0)) == in_one


@FEW
@given(
    data=st.data(),
    model=YEARLY,
    given_events=EVENTS,
    at=st.timedeltas(timedelta(microseconds=1), timedelta(days=30)),
)
def test_a_change_to_a_plan_of_the_same_price_changes_nothing_where_tiers_continue(
    data: st.DataObject, model: str, given_events: list[tuple[datetime, str, str]], at: timedelta
) -> None:
    version = {name: value for name, value in data.draw(NUMBERS[model]).items() if name != "per"}
    price = {"currency": "EUR", "model": model, "meter": "sum", "on_change": "continue", "versions": [version]}
    made = document(price)
    made["plans"]["other"] = made["plans"]["plan"]
    change = {"effective_at": datetime(2026, 10, 1, tzinfo=UTC) + at, "plan": "other"}
    given_usage, month = events_of(given_events), parse_month("2026-10")
    assert charged(run(made, given_usage, month, change)) == charged(run(made, given_usage, month))


@FEWEST
@given(
    first=prices(),
    second=prices(),
    window=st.sampled_from(WINDOWS),
    given_events=OF_2026,
    anchor=st.none() | st.just(datetime(2026, 1, 31, 10, tzinfo=UTC)),
)
def test_periods_that_are_rated_in_one_run_are_those_of_one_run_each(
    first: dict[str, Any],
    second: dict[str, Any],
    window: dict[str, Any],
    given_events: list[tuple[datetime, str, str]],
    anchor: datetime | None,
) -> None:
    made = document({**first, "match": {"d": "a"}, "group_by": []})
    made["prices"]["q"] = {**second, "match": {"d": "b"}, "group_by": []}
    allowance = {"units": 60, "prices": ["q"], "window": window}
    made["plans"]["plan"] |= {"prices": ["p", "q"], "allowances": {"some": allowance}}
    given_usage = events_of(given_events)
    dues = [parse_month(f"2026-{month:02}") for month in (9, 10, 11)]
    terms = {"anchor": anchor, "starts_at": datetime(2026, 2, 10, 7, tzinfo=UTC)}
    each = pl.concat([run(made, given_usage, due, **terms).lines for due in dues])
    span = Due(dues[0].start(UTC), dues[2].bounds(UTC)[1])
    at_once = run(made, given_usage, span, **terms)
    assert at_once.lines.sort("line").equals(each.sort("line"))


@FEW
@given(
    by=BY,
    cuts=st.lists(st.timedeltas(timedelta(microseconds=1), timedelta(days=30)), min_size=1, max_size=3, unique=True),
    bound=st.sampled_from(["1", "1000", "31000000000.5"]),
)
def test_the_prorated_bounds_and_flat_amounts_of_a_period_add_up_to_it(
    by: str, cuts: list[timedelta], bound: str
) -> None:
    start, month = datetime(2026, 10, 1, tzinfo=UTC), parse_month("2026-10")
    first = {"up_to": bound, "amount": "77.000000000001"}
    price = {"currency": "EUR", "model": "stairstep", "meter": "sum", "prorate_tiers": by}
    made = document({**price, "versions": [{"tiers": [first, {"amount": "0"}]}]})
    made["plans"]["other"] = made["plans"]["plan"]
    edges = [start, *(start + cut for cut in sorted(cuts))]
    changes = [{"effective_at": at, "plan": ("other", "plan")[place % 2]} for place, at in enumerate(edges[1:])]
    used = events_of([(at, "0.000000001", "a") for at in edges])
    lines = run(made, used, month, *changes).lines
    assert lines.height == len(edges)
    tiers_shown = lines.explode("tiers")["tiers"].struct.unnest()
    bounds = tiers_shown["to_quantity"].fill_null(Decimal(0))
    assert abs(sum(bounds, Decimal(0)) - Decimal(bound)) <= len(edges) * Decimal("1e-9")
    assert abs(sum(tiers_shown["flat_amount"], Decimal(0)) - Decimal("77.000000000001")) <= Decimal("1e-20")
