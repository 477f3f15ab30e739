"""What is told of amounts that end soon: of customers, of plans, and what was rolled over."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.rating.quota.accounts import JANUARY, on
from tests.rating.quota.live import Live, catalog_of, terms_of

DAY = timedelta(days=1)


def live(entitlement: Any, days: int = 7, **terms: Any) -> Live:
    catalog = catalog_of({"plan": {"tokens": entitlement}})
    feature = catalog.features["tokens"].model_copy(update={"expiring_days": days})
    catalog = catalog.model_copy(update={"features": {**catalog.features, "tokens": feature}})
    return Live(catalog, terms_of(catalog, **terms))


def told(quota: Live, behind: int = 0, count: int = 10) -> list[tuple[str | None, str, str]]:
    found, _ = quota.quota.expiring(quota.now, behind, count)
    return [
        (one.grant, f"{one.left / 10**9:g} of {one.amount / 10**9:g}", one.expires_at.isoformat()) for *_, one in found
    ]


def test_a_grant_of_a_plan_is_told_with_what_is_left_of_it() -> None:
    grants = {"monthly": {"amount": "500", "recurs": "1mo", "lasts": "40d", "priority": 1}}
    quota = live({"limit": "100", "grants": grants})
    quota.use(120)
    quota.now = JANUARY + 32 * DAY
    assert told(quota) == []
    quota.now = JANUARY + 33 * DAY
    name = "sub/tokens/monthly/2026-01-01T00:00:00+00:00"
    assert told(quota) == [(name, "380 of 500", "2026-02-10T00:00:00+00:00")]
    quota.use(380)
    assert told(quota) == []


def test_what_was_rolled_over_is_told_before_the_window_ends_in_which_it_is_lost() -> None:
    quota = live({"limit": "100", "rollover": {"maximum": "40"}})
    quota.use(70)
    quota.now = on("2026-01-30T00:00:00Z")
    assert told(quota) == []  # nothing was rolled into January
    quota.now = on("2026-02-21T23:59:59Z")
    assert told(quota) == []
    quota.now = on("2026-02-22T00:00:00Z")
    assert told(quota) == [(None, "30 of 30", "2026-03-01T00:00:00+00:00")]
    quota.use(110)
    assert told(quota) == [(None, "20 of 30", "2026-03-01T00:00:00+00:00")]


def test_of_windows_that_are_not_longer_than_that_it_is_not_told() -> None:
    quota = live({"limit": "100", "window": "week", "rollover": {"maximum": "40"}})
    quota.now = JANUARY + 8 * DAY
    assert told(quota) == []


def test_each_feature_says_how_long_before_and_none_is_never() -> None:
    gift = {"grant": "gift", "amount": "9", "effective_at": JANUARY, "expires_at": JANUARY + 20 * DAY}
    assert [bool(told(live({"limit": "1"}, days, grants=[gift]))) for days in (0, 7, 19, 20, 365)] == [
        False, False, False, True, True
    ]  # fmt: skip


def test_a_grant_that_has_ended_leaves_a_quota_exhausted_and_is_told_though_nobody_uses_anything() -> None:
    gift = {"grant": "gift", "amount": "50", "effective_at": JANUARY, "expires_at": JANUARY + DAY, "priority": 200}
    quota = live({"limit": "100", "thresholds": ["80%"]}, grants=[gift])
    quota.use(119)
    assert [change.kind for change in quota.changes] == []
    quota.use(1)
    assert [(c.kind, c.limit) for c in quota.changes] == [("threshold", 150)]
    quota.now = JANUARY + DAY
    for _ in range(2):
        told(quota)
        quota.quota.tick(quota.now)
    ended = [(c.kind, c.limit, c.used, c.at) for c in quota.changes[1:]]
    assert [kind for kind, *_ in ended] == ["threshold", "exhausted"]
    assert {tuple(rest) for _, *rest in ended} == {(Decimal(120), Decimal(120), quota.now)}
    quota.put(quota.terms)
    told(quota)
    assert len({change.key for change in quota.changes}) == 3


def test_what_a_window_leaves_to_be_paid_is_told_where_the_next_one_begins() -> None:
    quota = live({"limit": "100", "overage": "carry", "window": "day"})
    quota.use(250)
    assert [change.kind for change in quota.changes] == ["exhausted", "negative"]
    quota.now = JANUARY + DAY
    told(quota)
    quota.quota.tick(quota.now)
    assert [(c.kind, c.limit, c.used) for c in quota.changes[2:]] == [("exhausted", -50, 0), ("negative", -50, 0)]
    quota.now = JANUARY + 2 * DAY
    quota.quota.tick(quota.now)
    assert [(c.kind, c.because) for c in quota.changes[4:]] == [("restored", "reset")]


def test_customers_are_looked_at_some_at_a_time() -> None:
    gifts = [
        {"grant": f"g{n}", "amount": "9", "effective_at": JANUARY, "expires_at": JANUARY + DAY, "customer": customer}
        for n, customer in enumerate(["acme", "parent", "zeta"])
    ]
    quota = live({"limit": "1"}, grants=gifts)
    first, behind = quota.quota.expiring(JANUARY, 0, 2)
    assert ([c for c, *_ in first], behind) == (["acme", "parent"], 2)
    rest, end = quota.quota.expiring(JANUARY, 2, 2)
    assert ([c for c, *_ in rest], end) == (["zeta"], None)
