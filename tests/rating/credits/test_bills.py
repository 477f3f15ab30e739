"""Bills with credits: what a run makes of grants equals the oracle's bill and its ledger, and no bill is negative."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.catalog import compile_catalog, load_catalog
from rating.core.credits.bills import Credits
from rating.core.credits.schema import GRANT
from rating.core.periods import Month
from rating.core.rating import Rated, rate
from rating.core.subjects import interned
from tests import oracle
from tests.frames import SINCE, subject_frame, subscription_frame, usage_frame
from tests.oracle import credits as credit_oracle
from tests.rating.credits.frames import OCTOBER, frame, grant_rows

DOCUMENT: dict[str, Any] = {
    "tallystick": 1,
    "currencies": ["USD"],
    "meters": {"m": {"event_type": "e", "aggregation": "sum", "property": "v"}},
    "prices": {
        "p": {
            "meter": "m",
            "currency": "USD",
            "model": "graduated",
            "versions": [{"tiers": [{"up_to": 10, "unit_amount": "1.005"}, {"up_to": None, "unit_amount": "0.3335"}]}],
        },
        "q": {"currency": "USD", "model": "flat", "versions": [{"amount": "2.50"}]},
    },
    "plans": {
        "plain": {"currency": "USD", "prices": ["p", "q"]},
        "less": {"currency": "USD", "prices": ["p", "q"], "adjust": [{"kind": "discount", "percent": "30"}]},
    },
}
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
events = st.lists(
    st.builds(
        lambda minute, value: {
            "type": "e",
            "subject": "acme",
            "time": OCTOBER + timedelta(minutes=minute),
            "data": {"v": value},
        },
        st.integers(0, 44_000),
        st.decimals(0, 30, places=3),
    ),
    max_size=6,
)


def run(plan: str, given_events: list[dict[str, Any]], grants: list[dict[str, Any]]) -> Rated:
    catalog = load_catalog(DOCUMENT)
    subs = [oracle.Subscription("acme", "acme", ("acme",), plan, "UTC", SINCE)]
    usage = interned(usage_frame(given_events, catalog.declared_properties()))
    terms = subscription_frame(subs)
    credits = Credits(frame(GRANT, grants))
    return rate(usage, subject_frame(subs), terms, compile_catalog(catalog), Month(2026, 10), credits=credits)


@settings(max_examples=25)
@given(given_events=events, amounts=st.lists(st.decimals("0.001", 20, places=3), max_size=3))
def test_money_pays_the_lines_as_the_oracles_ledger_says(
    given_events: list[dict[str, Any]], amounts: list[Decimal]
) -> None:
    grants = grant_rows({"grant": f"g{n}", "amount": amount} for n, amount in enumerate(amounts))
    subs = [oracle.Subscription("acme", "acme", ("acme",), "plain", "UTC", SINCE)]
    lines = oracle.rate(DOCUMENT, given_events, subs, "2026-10")
    asked = sorted((key[1], line.amount) for key, line in lines.items())
    burns = [
        {"burn": n, "customer": "acme", "unit": "USD", "time": OCTOBER, "sequence": n, "amount": amount, "price": price}
        for n, (price, amount) in enumerate(asked)
    ]
    expected = credit_oracle.burn(grants, burns, NOVEMBER)
    rated = run("plain", given_events, grants)
    paid = rated.lines.filter(pl.col("kind") == "credit").group_by("price").agg(pl.col("amount").neg().sum())
    assert dict(paid.iter_rows()) == {asked[n][0]: paid for n, paid in expected.paid.items() if paid}
    for burnt in rated.burnt:
        assert dict(burnt.balances.iter_rows()) == expected.left


@settings(max_examples=25)
@given(given_events=events, amount=st.decimals("0.001", 60, places=3))
def test_units_leave_the_price_what_the_oracles_ledger_leaves(
    given_events: list[dict[str, Any]], amount: Decimal
) -> None:
    grants = grant_rows([{"grant": "g", "amount": amount, "unit": "units", "meters": ["m"]}])
    usual = {"customer": "acme", "unit": "units", "meter": "m"}
    burns = [
        {**usual, "burn": n, "time": e["time"], "sequence": n, "amount": e["data"]["v"]}
        for n, e in enumerate(given_events)
    ]
    paid = credit_oracle.burn(grants, burns, NOVEMBER).paid
    rest = [{**e, "data": {"v": e["data"]["v"] - paid[n]}} for n, e in enumerate(given_events)]
    subs = [oracle.Subscription("acme", "acme", ("acme",), "plain", "UTC", SINCE)]
    expected = {key[1]: line.amount for key, line in oracle.rate(DOCUMENT, rest, subs, "2026-10").items()}
    rated = run("plain", given_events, grants)
    assert dict(rated.lines.select("price", "amount").iter_rows()) == expected
    used = rated.lines.filter(pl.col("price") == "p")["quantity"].sum()
    assert used == sum((e["data"]["v"] for e in given_events), Decimal(0))


@settings(max_examples=25)
@given(
    given_events=events,
    amounts=st.lists(st.decimals("0.001", 20, places=3), max_size=3),
    plan=st.sampled_from(["plain", "less"]),
)
def test_no_bill_falls_below_zero_and_rounded_rests_add_up(
    given_events: list[dict[str, Any]], amounts: list[Decimal], plan: str
) -> None:
    rated = run(plan, given_events, grant_rows({"grant": f"g{n}", "amount": a} for n, a in enumerate(amounts)))
    without = run(plan, given_events, [])
    assert sum(rated.lines["amount"], Decimal(0)) >= min(sum(without.lines["amount"], Decimal(0)), Decimal(0))
    for line in rated.lines.filter(pl.col("pays").is_null()).iter_rows(named=True):
        own = rated.lines.filter(pl.col("pays") == line["line"])
        left = line["rounded_amount"] + sum(own["rounded_amount"], Decimal(0))
        assert own.is_empty() or 0 <= left <= line["rounded_amount"]


def test_a_run_with_credits_is_repeatable_whatever_the_order_of_grants() -> None:
    used = [
        {"type": "e", "subject": "acme", "time": OCTOBER + timedelta(days=n), "data": {"v": Decimal(9)}}
        for n in range(4)
    ]
    grants = grant_rows({"grant": f"g{n}", "amount": "3"} for n in range(5))
    assert run("less", used, grants).digest == run("less", used[::-1], grants[::-1]).digest
