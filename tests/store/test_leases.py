"""Leases and their reports, in both databases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from store import Store
from store.errors import NotFound
from store.leases import Lease, LeaseChange, LeaseReport

NOW = datetime(2026, 10, 15, 12, 0, tzinfo=UTC)
EVENT = {"event": {"id": "1", "data": {"tokens": "0.5"}}, "times": None}


def lease(id: str, **changes: object) -> Lease:
    made = Lease(
        id=id, subject="s", customer="c", feature="f", granted=Decimal("10.000000001"), used=Decimal(0), sequence=0,
        records="usage", state="open", made_at=NOW, expires_at=NOW + timedelta(minutes=1), segment_ends_at=None,
        ended_at=None, given={"amount": "10"},
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def report(lease: str, sequence: int, **changes: object) -> LeaseReport:
    made = LeaseReport(lease, sequence, Decimal("0.5"), Decimal("0.5"), NOW, EVENT, recorded=False)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_group_is_written_whole_and_read_as_it_was(store: Store) -> None:
    store.leases.write([LeaseChange([lease("a")]), LeaseChange([lease("b")], [report("b", 1)])])
    used = lease("a", used=Decimal("0.5"), sequence=2)
    store.leases.write([LeaseChange([lease("a", sequence=1)]), LeaseChange([used], [report("a", 2)])])
    assert store.leases.get("a") == used
    assert store.leases.find("c") is None
    with pytest.raises(NotFound):
        store.leases.get("c")
    assert store.leases.open() == [used, lease("b")]
    assert store.leases.unrecorded() == [report("a", 2), report("b", 1)]
    store.leases.write([LeaseChange(recorded=[("a", 2), ("b", 7)])])
    assert store.leases.unrecorded() == [report("b", 1)]
    assert store.leases.unrecorded(of="a") == []


def test_a_report_is_written_once(store: Store) -> None:
    store.leases.write([LeaseChange([lease("a")], [report("a", 1)])])
    with pytest.raises(Exception, match=r"(?i)unique"):
        store.leases.write([LeaseChange([lease("a", sequence=9)], [report("a", 1)])])
    assert store.leases.get("a").sequence == 0


def test_pages_by_state_and_customer(store: Store) -> None:
    over = lease("over", expires_at=NOW, customer="d")
    rows = [lease("open"), over, lease("gone", state="expired", ended_at=NOW), lease("done", state="released")]
    store.leases.write([LeaseChange(rows)])

    def ids(**asked: object) -> list[str]:
        wanted = {"customer": None, "state": None, "now": NOW, "after": None, "limit": 10, **asked}
        return [found.id for found in store.leases.page(**wanted)]  # type: ignore[arg-type]

    assert ids() == ["done", "gone", "open", "over"]
    assert ids(after="done", limit=2) == ["gone", "open"]
    assert [ids(state=state) for state in ("open", "expired", "released")] == [["open"], ["gone", "over"], ["done"]]
    assert ids(customer="d", state="expired") == ["over"]


def test_what_ended_is_removed_but_for_reports_that_are_not_in_the_log(store: Store) -> None:
    ended = [lease(id, state="released", ended_at=NOW) for id in ("a", "b")]
    store.leases.write([LeaseChange([*ended, lease("c")], [report("a", 1), report("b", 1, recorded=True)])])
    assert store.leases.remove_ended(NOW) == 0
    assert store.leases.remove_ended(NOW + timedelta(microseconds=1)) == 1
    assert [found.id for found in store.leases.page(customer=None, state=None, now=NOW, after=None, limit=9)] == [
        "a",
        "c",
    ]
