"""Credits in frames against an event-by-event loop over `decimal.Decimal`."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.core.credits.burning import Burnt, burn
from rating.core.credits.schema import BURN, GRANT, REFUND, RESET, UNITS
from rating.core.money import AmountOverflow
from tests.oracle import credits as oracle
from tests.rating.credits.frames import frame

START = datetime(2026, 10, 1, tzinfo=UTC)
UNTIL = START + timedelta(days=12)
MINIMUM = {"priority": 1, "created_at": START, "kind": "grant"}

amounts = st.one_of(
    st.integers(1, 60).map(Decimal),
    st.decimals("0.000000000000000000001", 40, places=21),
    st.sampled_from([Decimal("1000000000000.000000000001")]),
)
days = st.integers(0, 11).map(lambda day: START + timedelta(days=day))
instants = st.one_of(days, st.integers(0, 40_000).map(lambda minutes: START + timedelta(minutes=minutes % 17_000)))
names = st.one_of(st.none(), st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=2, unique=True))


@st.composite
def grants(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for number in range(draw(st.integers(0, 6))):
        steps = draw(st.integers(0, 9)) == 0
        made.append(
            {
                "grant": f"g{number}",
                "customer": draw(st.sampled_from(["a", "b"])),
                "subscription": draw(st.sampled_from([None, None, None, "s1"])),
                "kind": draw(st.sampled_from(["grant", "top_up"])),
                "unit": draw(st.sampled_from(["USD", "USD", UNITS])),
                "amount": draw(st.integers(1, 99).map(Decimal) if steps else amounts),
                "priority": draw(st.integers(1, 2)),
                "created_at": draw(instants),
                "effective_at": draw(instants),
                "expires_at": draw(st.one_of(st.none(), instants)),
                "voided_at": draw(st.one_of(st.none(), st.none(), instants)),
                "meters": draw(names),
                "prices": draw(st.one_of(st.none(), names)),
                "increment": Decimal(7) if steps else None,
                "factor": draw(st.sampled_from([None, Decimal(2)])) if steps else None,
                "recurs_every": (every := draw(st.sampled_from([None, None, "1d", "3d", "1w"]))),
                "recurs_from": draw(days) if every else None,
                "rollover_minimum": draw(st.sampled_from([None, Decimal(5)])),
                "rollover_maximum": draw(st.sampled_from([None, Decimal(0), Decimal(20), Decimal(10**6)])),
            }
        )
    return made


@st.composite
def burns(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [
        {
            "burn": number,
            "customer": draw(st.sampled_from(["a", "a", "b", "nobody"])),
            "subscription": draw(st.sampled_from(["s1", "s2"])),
            "unit": draw(st.sampled_from(["USD", "USD", UNITS])),
            "meter": draw(st.sampled_from(["x", "y", None])),
            "price": draw(st.sampled_from(["x", "y"])),
            "time": draw(instants),
            "sequence": draw(st.integers(0, 1)),
            "amount": draw(st.one_of(amounts, st.just(Decimal(0)))),
        }
        for number in range(draw(st.integers(0, 14)))
    ]


@st.composite
def resets(draw: st.DrawFn) -> list[dict[str, Any]]:
    every = st.tuples(st.sampled_from(["a", "b"]), days)
    keys = draw(st.lists(every, max_size=3, unique=True))
    return [{"customer": c, "at": at, "keeps_overage": draw(st.booleans())} for c, at in keys]


@st.composite
def refunds(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = st.tuples(st.integers(0, 13), instants, amounts)
    return [
        {"refund": n, "burn": b, "at": at, "amount": amount}
        for n, (b, at, amount) in enumerate(draw(st.lists(made, max_size=4)))
    ]


def run(g: Any, b: Any, rs: Any, rf: Any, carries: bool = False) -> Burnt:
    return burn(
        frame(GRANT, g),
        frame(BURN, b),
        UNTIL,
        overage="carry" if carries else "charge",
        resets=frame(RESET, rs),
        refunds=frame(REFUND, rf),
    )


@given(g=grants(), b=burns(), rs=resets(), rf=refunds(), carries=st.booleans())
def test_every_payment_and_balance_equals_the_oracles(g: Any, b: Any, rs: Any, rf: Any, carries: bool) -> None:
    got = run(g, b, rs, rf, carries)
    expected = oracle.burn(g, b, UNTIL, carries=carries, resets=rs, refunds=rf)
    assert dict(got.paid.select("burn", "paid").iter_rows()) == expected.paid
    assert dict(got.refunded.select("refund", "credited").iter_rows()) == expected.credited
    assert dict(got.balances.iter_rows()) == expected.left
    entries = sorted(got.ledger.select("grant", "kind", "time", "burn", "amount").iter_rows(), key=str)
    assert entries == sorted(expected.entries, key=str)


@given(g=grants(), b=burns(), rs=resets(), rf=refunds(), seed=st.integers(0, 99))
def test_the_order_of_rows_changes_nothing(g: Any, b: Any, rs: Any, rf: Any, seed: int) -> None:
    once = run(g, b, rs, rf)
    shuffled = burn(
        frame(GRANT, g).sample(fraction=1, shuffle=True, seed=seed),
        frame(BURN, b).sample(fraction=1, shuffle=True, seed=seed),
        UNTIL,
        resets=frame(RESET, rs[::-1]),
        refunds=frame(REFUND, rf[::-1]),
    )
    assert shuffled.ledger.equals(once.ledger)
    assert shuffled.paid.equals(once.paid)


@given(g=grants(), b=burns(), rs=resets(), rf=refunds())
def test_credits_are_neither_made_nor_lost(g: Any, b: Any, rs: Any, rf: Any) -> None:
    """Per grant: what came in = what went out + what is left. Per burn: paid + unpaid = asked."""
    got = run(g, b, rs, rf)
    for grant, balance in got.balances.iter_rows():
        own = got.ledger.filter(pl.col("grant") == grant)
        came = sum(own.filter(pl.col("amount") > 0)["amount"], Decimal(0))
        went = sum(own.filter(pl.col("amount") < 0)["amount"], Decimal(0))
        assert came + went == balance >= 0
        assert (own["balance_after"] == own["balance_before"] + own["amount"]).all()
    for row in got.paid.iter_rows(named=True):
        own = got.ledger.filter(pl.col("kind") == "burn", pl.col("burn") == row["burn"])
        assert sum(own["covered"], Decimal(0)) == row["paid"]
        assert row["paid"] + row["unpaid"] == row["amount"]


def test_a_hundred_thousand_grants_of_one_customer_are_one_merge() -> None:
    count = 100_000
    numbers = pl.int_range(count, eager=True)
    made = frame(GRANT, []).clear(count).with_columns(
        grant=pl.format("g{}", numbers.shuffle(seed=1)), customer=pl.lit("c"), kind=pl.lit("grant"), unit=pl.lit("USD"),
        amount=pl.lit(Decimal(1), dtype=GRANT["amount"]), priority=pl.lit(1, dtype=pl.Int32),
        created_at=pl.lit(START), effective_at=pl.lit(START),
    )  # fmt: skip
    asked = [
        {"burn": n, "customer": "c", "unit": "USD", "time": START, "sequence": n, "amount": Decimal("400.5")}
        for n in range(300)
    ]
    got = burn(made.select(pl.col(n).cast(t) for n, t in GRANT.items()), frame(BURN, asked), UNTIL)
    assert got.paid["paid"].sum() == Decimal(100_000)
    assert got.paid["unpaid"].sum() == Decimal("20150")


def test_what_is_asked_for_and_does_not_fit_is_an_error() -> None:
    """Twice 9 x 10^16 is above 1.7 x 10^17, at which a sum wraps."""
    granted = [{**MINIMUM, "grant": "g", "customer": "a", "unit": "USD", "amount": Decimal(1), "effective_at": START}]
    asked = [
        {"burn": n, "customer": "a", "unit": "USD", "time": START, "sequence": n, "amount": Decimal(9 * 10**16)}
        for n in range(2)
    ]
    with pytest.raises(AmountOverflow):
        run(granted, asked, [], [])


@pytest.mark.parametrize("carries", [False, True], ids=["charged", "carried"])
def test_nothing_asks_and_nothing_is_granted(carries: bool) -> None:
    got = run([], [], [], [], carries)
    assert (got.ledger.height, got.paid.height, got.balances.height) == (0, 0, 0)
