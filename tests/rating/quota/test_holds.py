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
