"""What may be held of quotas of all kinds."""

from decimal import Decimal

from rating.core.quota.seam import Hold
from tests.rating.quota.accounts import JANUARY
from tests.rating.quota.live import Live, catalog_of, terms_of


def test_all_that_is_asked_for_is_held_of_a_soft_limit() -> None:
    catalog = catalog_of({"plan": {"tokens": {"limit": "10", "window": "hour", "enforcement": "soft"}}})
    live = Live(catalog, terms_of(catalog))
    for id, amount in (("within", 7), ("above", 70)):
        held = live.quota.hold(id, "acme", "tokens", Decimal(amount), Decimal(1), live.now)
        assert isinstance(held, Hold)
        assert held.amount == amount


def test_no_more_is_held_than_a_hard_limit_has_beside_a_soft_one_that_is_passed() -> None:
    """6 of a soft 5 are used; the subject has 4 of its own hard 10 left, whatever its customer may use above."""
    catalog = catalog_of({"plan": {"tokens": {"limit": "5", "window": "month", "enforcement": "soft"}}})
    own = {"subject": "acme", "limit": "10", "effective_at": JANUARY}
    live = Live(catalog, terms_of(catalog, overrides=[own]))
    live.use(6)
    held = live.quota.hold("lease", "acme", "tokens", Decimal(20), Decimal(1), live.now)
    assert isinstance(held, Hold)
    assert held.amount == 4


def test_what_is_held_stays_held_where_other_terms_count_it_elsewhere() -> None:
    """70 of a hard month of 100 are held, and 10 of them used, when an override and a limit of the subject stand in."""
    catalog = catalog_of({"plan": {"tokens": {"limit": "100", "window": "month"}}})
    live = Live(catalog, terms_of(catalog))
    live.quota.hold("lease", "acme", "tokens", Decimal(70), Decimal(1), live.now)
    live.use(10)
    live.quota.shrink("lease", Decimal(10))
    override = {"limit": "100", "effective_at": JANUARY}
    for overrides, left in (
        ([override], 30),
        ([override, {**override, "subject": "acme", "limit": "80"}], 10),
        ([], 30),
    ):
        live.put(terms_of(catalog, overrides=overrides))
        answer = live.check(left + 1)
        assert (answer.used, answer.reserved, answer.remaining, answer.allowed) == (10, 60, left, False)
    live.quota.drop("lease")
    assert live.check().reserved == 0
