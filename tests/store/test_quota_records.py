"""Quota grants and overrides in SQLite and PostgreSQL: recorded once, ended once, read back as they were given."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from store import Store
from store.customers import Customer
from store.errors import CreditVoided, IdTaken, NotFound
from store.quota_grants import QuotaGrantRecord
from store.quota_overrides import QuotaOverride

NOW = datetime(2026, 10, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)
GRANT = QuotaGrantRecord(
    "g",
    "acme",
    "tokens",
    Decimal("0.000000001"),
    7,
    NOW,
    NOW,
    NOW + DAY,
    None,
    "1mo",
    NOW,
    None,
    Decimal(5),
    {"a": "1"},
)
WINDOW = {"kind": "every", "every": "2w", "step": None, "anchor": NOW.isoformat(), "time_zone": "Europe/Madrid"}
OVERRIDE = QuotaOverride(
    "acme", None, "tokens", False, Decimal("10.5"), "grace", Decimal(2), WINDOW, NOW, None, "trial", {"limit": "10.5"}
)


@pytest.fixture
def sold(store: Store) -> Store:
    store.customers.put([Customer("acme", "acme", "UTC", NOW, ("acme",)), Customer("b", "b", "UTC", NOW, (), "acme")])
    return store


def test_a_grant_is_recorded_once_and_read_back(sold: Store) -> None:
    before = sold.changes.last()
    assert sold.quota_grants.add(GRANT) == sold.quota_grants.add(GRANT) == sold.quota_grants.get("g") == GRANT
    assert sold.changes.changed_customers(before) == {"acme"}
    with pytest.raises(IdTaken):
        sold.quota_grants.add(replace(GRANT, given={"a": "2"}))
    [row] = sold.quota_grants.frame().rows(named=True)
    assert (row["grant"], row["amount"], row["recurs_every"]) == ("g", Decimal("0.000000001"), "1mo")
    assert (row["effective_at"], row["rollover_minimum"], row["rollover_maximum"]) == (NOW, None, Decimal(5))
    assert sold.quota_grants.frame(["b"]).is_empty()


def test_a_grant_is_voided_once(sold: Store) -> None:
    sold.quota_grants.add(GRANT)
    before = sold.changes.last()
    assert sold.quota_grants.void("g", at=NOW, is_asked=False).voided_at == NOW
    assert sold.quota_grants.void("g", at=NOW + DAY, is_asked=False).voided_at == NOW
    assert sold.changes.changed_customers(before) == {"acme"}
    with pytest.raises(CreditVoided):
        sold.quota_grants.void("g", at=NOW + DAY, is_asked=True)
    with pytest.raises(NotFound):
        sold.quota_grants.void("h", at=NOW, is_asked=False)


def test_grants_come_in_pages(sold: Store) -> None:
    for id in ("a", "b", "c"):
        sold.quota_grants.add(replace(GRANT, id=id))
    assert [grant.id for grant in sold.quota_grants.of_customer("acme", after="a", limit=1)] == ["b"]


def test_an_override_ends_the_one_before_and_the_same_again_changes_nothing(sold: Store) -> None:
    first = sold.quota_overrides.put(OVERRIDE)
    assert sold.quota_overrides.put(OVERRIDE) == first
    [row] = sold.quota_overrides.frame().rows(named=True)
    assert (row["limit"], row["window"], row["every"], row["anchor"]) == (Decimal("10.5"), "every", "2w", NOW)
    later = replace(
        OVERRIDE, effective_at=datetime.now(UTC) + DAY, given={"limit": None}, is_unlimited=True, limit=None
    )
    second = sold.quota_overrides.put(later)
    assert [one.id for one in sold.quota_overrides.of_customer("acme")] == [first.id, second.id]
    ends = sold.quota_overrides.frame()["expires_at"].to_list()
    assert ends == [later.effective_at, None], "the first one holds until the second takes effect"
    assert sold.quota_overrides.end("acme", "tokens", None).id == second.id
    assert sold.quota_overrides.frame().height == 1, "what was ended before it took effect never held"


def test_a_subject_has_an_override_of_its_own(sold: Store) -> None:
    sold.quota_overrides.put(OVERRIDE)
    own = sold.quota_overrides.put(replace(OVERRIDE, subject="acme"))
    assert sold.quota_overrides.end("acme", "tokens", "acme").id == own.id
    with pytest.raises(NotFound):
        sold.quota_overrides.end("acme", "tokens", "acme")


def test_a_family_is_who_pays_for_whom(sold: Store) -> None:
    assert sold.customers.family_frame().rows() == [("acme", "UTC", None), ("b", "UTC", "acme")]
