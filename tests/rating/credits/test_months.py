"""Credits from month to month: which grants a month has, and with what they open."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from rating.core.credits.months import Granted, burnt_before, credits_of, opened
from rating.core.credits.schema import BALANCE, GRANT, PLAN_CREDIT, RETURN
from rating.core.periods import Month
from tests.frames import subscription_frame
from tests.oracle import Subscription
from tests.rating.credits.frames import frame, grant_rows

OCTOBER, NOVEMBER = Month(2026, 10), Month(2026, 11)
SEPTEMBER_1, NOVEMBER_1 = datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
INCLUDED = {"plan": "pro", "credit": "free", "unit": "units", "amount": Decimal(10), "priority": 1, "recurs": "period"}


def granted(
    *grants: dict[str, Any], plans: list[dict[str, Any]] | None = None, returns: list[dict[str, Any]] | None = None
) -> Granted:
    owners = pl.DataFrame({"customer": ["acme"], "time_zone": ["UTC"]})
    return Granted(
        frame(GRANT, grant_rows(grants)), owners, frame(PLAN_CREDIT, plans or []), frame(RETURN, returns or [])
    )


def served(starts_at: datetime = SEPTEMBER_1) -> pl.DataFrame:
    return subscription_frame([Subscription("s", "acme", ("acme",), "pro", "UTC", starts_at)])


def names(rows: pl.DataFrame) -> list[str]:
    return sorted(rows["grant"])


def test_a_month_has_the_grants_that_are_in_force_in_it() -> None:
    grants = granted(
        {"grant": "over", "amount": "1", "effective_at": SEPTEMBER_1, "expires_at": NOVEMBER_1},
        {"grant": "void", "amount": "1", "effective_at": SEPTEMBER_1, "voided_at": NOVEMBER_1},
        {"grant": "open", "amount": "1", "effective_at": SEPTEMBER_1},
        {"grant": "new", "amount": "1", "effective_at": NOVEMBER_1},
        {"grant": "later", "amount": "1", "effective_at": datetime(2026, 12, 1, tzinfo=UTC)},
    )
    assert names(credits_of(grants, served(), NOVEMBER).grants) == ["new", "open"]
    assert names(credits_of(grants, served(), OCTOBER).grants) == ["open", "over", "void"]


def test_a_plans_grants_are_there_as_long_as_they_last() -> None:
    """Two periods: in November those of October and November. Without an end: all since September."""
    twice = granted(plans=[{**INCLUDED, "lasts_periods": 2}])
    assert names(credits_of(twice, served(), NOVEMBER).grants) == ["s/free/2026-10", "s/free/2026-11"]
    forever = granted(plans=[{**INCLUDED, "lasts_periods": None}])
    assert len(names(credits_of(forever, served(), NOVEMBER).grants)) == 3


def test_a_grant_opens_with_what_the_ledger_before_says_and_whole_when_that_does_not_know_it() -> None:
    grants = granted(
        {"grant": "known", "amount": "9", "effective_at": SEPTEMBER_1},
        {"grant": "recorded late", "amount": "7", "effective_at": SEPTEMBER_1},
        {"grant": "begins now", "amount": "5", "effective_at": NOVEMBER_1},
    )
    credits = credits_of(grants, served(), NOVEMBER)
    assert names(burnt_before(credits, served())) == ["known", "recorded late"]
    closing = frame(BALANCE, [{"grant": "known", "balance": Decimal(4)}])
    opening = opened(credits, closing).opening
    assert opening is not None
    assert dict(opening.iter_rows()) == {"known": Decimal(4), "recorded late": Decimal(7)}


def test_nothing_was_burnt_before_the_customer_had_a_subscription() -> None:
    grants = granted({"grant": "g", "amount": "9", "effective_at": SEPTEMBER_1})
    credits = credits_of(grants, served(NOVEMBER_1), NOVEMBER)
    assert burnt_before(credits, served(NOVEMBER_1)).is_empty()


def test_what_is_returned_brings_back_a_grant_that_has_ended() -> None:
    """Also one of a plan, of a month long over; it opens empty."""
    at = datetime(2026, 11, 9, tzinfo=UTC)
    back = [
        {"refund": "r", "customer": "acme", "grant": grant, "at": at, "amount": Decimal(1)}
        for grant in ("s/free/2026-09", "gone")
    ]
    gone = {"grant": "gone", "amount": "9", "effective_at": SEPTEMBER_1, "expires_at": NOVEMBER_1}
    grants = granted(gone, plans=[{**INCLUDED, "lasts_periods": 1}], returns=back)
    credits = credits_of(grants, served(), NOVEMBER)
    assert {"gone", "s/free/2026-09"} <= set(credits.grants["grant"])
    assert credits.returns is not None
    assert credits.returns.height == 2
    opening = opened(credits, BALANCE.to_frame()).opening
    assert opening is not None
    assert set(opening["balance"]) == {Decimal(0)}
    assert credits_of(grants, served(), OCTOBER).returns is not None
    assert names(credits_of(grants, served(), OCTOBER).grants) == ["gone", "s/free/2026-10"]
