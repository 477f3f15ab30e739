"""Random prices, adjustments and grants together: the bill, its credits and what is left of them equal the oracle's."""

from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.catalog import compile_catalog, load_catalog
from rating.core.credits.bills import Credits
from rating.core.credits.schema import GRANT
from rating.core.periods import parse_month
from rating.core.rating import Rated, rate
from rating.core.subjects import interned
from tests import oracle
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame
from tests.oracle import bills
from tests.rating.credits.frames import frame, grant_rows
from tests.strategies import ADJUSTMENTS, MID_MONTH, NUMBERS, events

OCTOBER = "2026-10"
FEW = settings(max_examples=max(settings().max_examples // 4, 1))
"""A catalog is compiled and rated for each."""
METERS = {
    "n": {"event_type": "e", "aggregation": "sum", "property": "n"},
    "m": {"event_type": "e", "aggregation": "sum", "property": "m", "group_by": ["d"]},
}
OF_EVENTS = ["per_unit", "graduated", "volume", "package", "percentage", "stairstep"]
amounts = st.one_of(st.integers(1, 300).map(Decimal), st.decimals("0.001", 60, places=4))


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Two prices of usage and a fee, in a currency; some with adjustments, as the plan."""
    currency = draw(st.sampled_from(["EUR", "JPY", "KWD"]))
    made: dict[str, Any] = {}
    for meter in METERS:
        model = draw(st.sampled_from(OF_EVENTS))
        adjust = {"adjust": draw(ADJUSTMENTS)} if draw(st.booleans()) else {}
        rounding = draw(st.sampled_from(["half_away_from_zero", "half_even", "up", "down"]))
        version = {name: value for name, value in draw(NUMBERS[model]).items() if name != "flat_when_unused"}
        price = {"meter": meter, "currency": currency, "model": model, "rounding": rounding}
        made[f"of-{meter}"] = {**price, "versions": [{**version, **adjust}]}
    made["fee"] = {"currency": currency, "model": "flat", "versions": [draw(NUMBERS["flat"])]}
    adjust = {"adjust": draw(ADJUSTMENTS)} if draw(st.booleans()) else {}
    return {
        "tallystick": 1,
        "currencies": [currency],
        "meters": METERS,
        "prices": made,
        "plans": {"plan": {"currency": currency, "prices": sorted(made), **adjust}},
    }


@st.composite
def grants(draw: st.DrawFn, units: bool) -> list[dict[str, Any]]:
    """Up to four grants in some currency, or in units: of other priorities, that expire, and for some prices alone."""
    return grant_rows(
        {
            "grant": f"g{number}",
            "customer": draw(st.sampled_from(["c1", "c1", "c2"])),
            "unit": "units" if units else draw(st.sampled_from(["EUR", "JPY", "KWD"])),
            "amount": draw(amounts),
            "priority": draw(st.integers(1, 2)),
            "effective_at": draw(st.sampled_from([SINCE, MID_MONTH])),
            "expires_at": draw(st.sampled_from([None, None, MID_MONTH.replace(day=25), MID_MONTH.replace(month=11)])),
            "meters": draw(st.sampled_from([None, None, ["n"], ["m"]])),
            "prices": draw(st.sampled_from([None, None, ["of-n"], ["fee", "of-m"]])),
        }
        for number in range(draw(st.integers(0, 4)))
    )


SUBSCRIPTIONS = [
    oracle.Subscription("one", "c1", ("s1", "s2"), "plan", "UTC", SINCE),
    oracle.Subscription("two", "c1", ("s1", "s2"), "plan", "UTC", MID_MONTH),
    oracle.Subscription("three", "c2", ("s3",), "plan", "UTC", SINCE, MID_MONTH),
]


def run(document: dict[str, Any], given_events: list[dict[str, Any]], granted: list[dict[str, Any]]) -> Rated:
    catalog = load_catalog(document)
    usage = interned(usage_frame(given_events, catalog.declared_properties()))
    frames = subject_frame(SUBSCRIPTIONS), subscription_frame(SUBSCRIPTIONS)
    credits = Credits(frame(GRANT, granted))
    return rate(usage, *frames, compile_catalog(catalog), parse_month(OCTOBER), credits=credits)


def assert_equal(document: dict[str, Any], given_events: list[dict[str, Any]], granted: list[dict[str, Any]]) -> None:
    rated = run(document, given_events, granted)
    expected = bills.bill(document, given_events, SUBSCRIPTIONS, OCTOBER, granted)
    lines = {line["line"]: line for line in rated.lines.iter_rows(named=True)}
    own = {_key(line): line["amount"] for line in lines.values() if line["pays"] is None}
    assert own == {**{key: line.amount for key, line in expected.lines.items()}, **expected.adjustments}
    paid = {
        (_key(lines[line["pays"]]), line["grant"]): (line["amount"], line["rounded_amount"])
        for line in lines.values()
        if line["pays"] is not None
    }
    assert paid == expected.payments
    left = {grant: balance for burnt in rated.burnt for grant, balance in burnt.balances.iter_rows()}
    assert left == {grant: expected.left[grant] for grant in left}


def _key(line: dict[str, Any]) -> oracle.Key | oracle.AdjustmentKey:
    if line["adjustment"] is not None:
        return line["subscription"], line["price"], line["adjustment"]
    columns = ("subscription", "price", "price_version", "window", "meter", "group")
    return tuple(line[name] for name in columns)  # type: ignore[return-value]


@FEW
@given(document=documents(), given_events=st.lists(events(), max_size=15), granted=grants(units=False))
def test_money_pays_what_the_oracle_says(document: Any, given_events: Any, granted: Any) -> None:
    assert_equal(document, given_events, granted)


@FEW
@given(document=documents(), given_events=st.lists(events(), max_size=15), granted=grants(units=True))
def test_units_leave_the_prices_what_the_oracle_says(document: Any, given_events: Any, granted: Any) -> None:
    assert_equal(document, given_events, granted)


@FEW
@given(document=documents(), given_events=st.lists(events(), max_size=15), granted=grants(units=False))
def test_no_money_is_made_or_lost(document: Any, given_events: Any, granted: Any) -> None:
    """What grants paid is what lines were credited, to the last digit; no line is paid more than it comes to."""
    rated = run(document, given_events, granted)
    credited = -rated.lines.filter(pl.col("kind") == "credit")["amount"].sum()
    burnt = sum((-part.ledger.filter(pl.col("kind") == "burn")["amount"].sum() for part in rated.burnt), Decimal(0))
    assert credited == burnt
    paid = rated.lines.filter(pl.col("pays").is_not_null()).group_by("pays").agg(pl.col("amount").sum())
    rest = paid.join(rated.lines.select("line", whole="amount"), left_on="pays", right_on="line", validate="1:1")
    assert rest.filter(pl.col("whole") + pl.col("amount") < 0).is_empty()
