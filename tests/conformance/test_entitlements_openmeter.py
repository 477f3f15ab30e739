"""Grants, burn-down, resets and recurrences as OpenMeter's own tests expect them (../shared/cases), by what live checks
stand on: segments and burn_down. test_credits_openmeter.py has the same cases by the ledger of credits.

Their rules as settings of ours: a plan gives 0 in windows that end where usage is reset, overage is carried where it is
preserved, a rollover maximum of 0 unless given, and an opening balance is a grant of so much.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from rating.core.quota.burn_down import Standing, burn_down
from rating.core.quota.segments import Segment, account_segments
from rating.core.quota.terms import UNITS, AccountTerms, QuotaGrant, Span
from rating.core.quota.windows import WindowRule, following, tile
from tests.conformance.test_credits_openmeter import (
    CASES,
    converted,
    every,
    generated_balances,
    grants_of,
    instant,
    last_window,
    resets_of,
)

Case = Mapping[str, Any]
NEVER = "9999y"


def of_kind(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(c, id=c["id"]) for c in CASES if c["kind"] in kinds])


def units(amount: Any) -> int:
    return int(Decimal(amount) * UNITS)


class Answered:
    """An account of a case from `start`, with resets at instants."""

    def __init__(self, case: Case, start: datetime, until: datetime, resets: list[datetime]) -> None:
        self.case, self.start, self.until = case, start, until
        self.resets = [at for at in resets if at <= until]
        self.since = max([start, *self.resets])
        opening = {**case.get("start", {}).get("balances", {}), **generated_balances(case)}
        grants = tuple(_grant(row, opening.get(row["grant"]), start) for row in grants_of(case))
        self.terms = AccountTerms("c", "f", "UTC", tuple(self._spans(start)), grants)
        owed = units(case.get("start", {}).get("overage") or 0)
        events = [(instant(e["at"]), units(converted(case, Decimal(e["value"])))) for e in case["usage_events"]]
        self.used = [(start, owed), *((at, n) for at, n in events if start <= at < until)]

    def _spans(self, start: datetime) -> list[Span]:
        """A plan that gives nothing, in windows from one reset to the next."""
        edges: list[datetime | None] = [*sorted({start, *self.resets}), None]
        carries = bool(self.case.get("preserve_overage", False))
        return [
            Span(begin, end, 0, WindowRule("every", NEVER, anchor=begin), carries=carries)
            for begin, end in pairwise(edges)
            if begin is not None
        ]

    def segments(self, at: datetime) -> list[Segment]:
        return account_segments(self.terms, self.start, at)

    def standing(self, at: datetime) -> Standing:
        """At the start of the segment of `at`."""
        return burn_down(self.segments(at), self._sums(self.segments(at)))

    def settled(self) -> Standing:
        """With all that was used by `until`."""
        segments = self.segments(self.until)
        if segments[-1].start < self.until:
            last = replace(segments[-1], start=self.until, ends=(), recurs=(), begins=())
            segments = [*segments, last]
        return burn_down(segments, self._sums(segments))

    def _sums(self, segments: list[Segment]) -> dict[datetime, int]:
        ends = [*(segment.start for segment in segments[1:]), None]
        return {
            s.start: sum(n for t, n in self.used if s.start <= t and (end is None or t < end))
            for s, end in zip(segments, ends, strict=True)
        }

    def usage(self, begin: datetime, end: datetime) -> int:
        return sum(n for t, n in self.used[1:] if begin <= t < end)


def _grant(row: Mapping[str, Any], opening: str | None, start: datetime) -> QuotaGrant:
    has_begun = row["effective_at"] <= start
    amount = Decimal(opening) if opening is not None and has_begun else row["amount"]
    names = ("priority", "created_at", "effective_at", "expires_at", "voided_at", "recurs_every", "recurs_from")
    rollover = {name: units(row[name]) for name in ("rollover_minimum", "rollover_maximum")}
    return QuotaGrant(id=row["grant"], amount=units(amount), **{name: row[name] for name in names}, **rollover)


def answered(case: Case) -> Answered:
    if case["kind"] == "burn_down":
        resets = [instant(reset) for reset in case.get("resets", [])]
        return Answered(case, instant(case["start"]["at"]), instant(case["until"]), resets)
    start = instant(case["measure_usage_from"])
    until = instant(case["query_at"]) if "query_at" in case else last_window(case)[1]
    return Answered(case, start, until, sorted(resets_of(case, start, until)))


@of_kind("burn_down", "balance_query")
def test_balances_and_usage(case: Case) -> None:
    answer, start, expected = answered(case), case.get("start", {}), case["expected"]
    standing = answer.settled()
    left = dict(standing.order)
    for name, balance in expected.get("balances", {}).items():
        assert left.get(name, 0) == units(balance), name
    if "all_other_balances" in expected:
        others = {left for name, left in standing.order if name and name not in expected.get("balances", {})}
        assert others == {units(expected["all_other_balances"])}
    carried = Decimal(start.get("usage_in_period", 0)) if answer.since == answer.start else Decimal(0)
    balance = sum(left.values())
    got = {
        "usage_in_period": answer.usage(answer.since, answer.until) + units(carried),
        "balance": balance,
        "overage": standing.owed,
    }
    for name, value in got.items():
        if name in expected:
            assert value == units(expected[name]), name
    if "has_access" in expected:
        assert (balance > 0) == expected["has_access"]


@of_kind("burn_down")
def test_segments(case: Case) -> None:
    if case.get("resets"):
        return
    answer, expected = answered(case), case["expected"]
    starts = [s.start for s in answer.segments(answer.until) if s.start < answer.until]
    found = set(pairwise([*starts, answer.until]))
    assert expected.get("segment_count", len(found)) == len(found)
    for segment in expected.get("segments", []):
        begin, end = instant(segment["from"]), instant(segment["to"])
        assert (begin, end) in found
        standing = answer.standing(begin)
        if "usage" in segment:
            assert answer.usage(begin, end) == units(segment["usage"])
        balances = segment.get("grant_balances_at_start", {})
        if Decimal(segment.get("overage_at_start", 0)):  # there it is paid after the start, here at it
            net = sum(map(Decimal, balances.values()), Decimal(0)) - Decimal(segment["overage_at_start"])
            assert standing.available == units(net)
            continue
        for name, balance in balances.items():
            assert dict(standing.order).get(name, 0) == units(balance)


@of_kind("balance_history")
def test_windows_of_a_history(case: Case) -> None:
    begin, end = last_window(case)
    answer, expected = answered(case), case["expected"]
    size = {"MINUTE": timedelta(minutes=1), "HOUR": timedelta(hours=1), "DAY": timedelta(days=1)}[
        case["window"]["size"]
    ]
    starts = [begin + n * size for n in range((end - begin) // size)]
    assert len(starts) == expected["window_count"]
    for window in expected["windows"]:
        at = starts[window["index"]]
        standing = answer.standing(at)
        before = answer.usage(standing.segment.start, at)
        assert standing.available is not None
        assert standing.available - before == units(window["balance_at_start"])
        if "usage" in window:
            assert answer.usage(at, at + size) == units(window["usage"])


@of_kind("grant_order")
def test_order_of_grants(case: Case) -> None:
    rows = [{**g, "amount": g.get("amount", "1") if Decimal(g.get("amount", 0)) else "1"} for g in case["grants"]]
    given = {**case, "usage_events": [], "grants": rows}
    at = max(row["effective_at"] for row in grants_of(given))
    answer = Answered(given, at, at + timedelta(seconds=1), [])
    assert [name for name, _ in answer.standing(at).order if name] == case["expected"]["order"]


@of_kind("recurrence")
def test_recurrence(case: Case) -> None:
    interval, anchor = every(case["recurrence"]["interval"]), instant(case["recurrence"]["anchor"])
    at, expected = instant(case["at"]), {name: instant(value) for name, value in case["expected"].items()}
    count, unit = int(interval.rstrip("dwmoy")), interval.lstrip("0123456789")
    begin, end = tile(at, count, unit, anchor, "UTC")[1:]
    inclusive = case["boundary"] == "inclusive"
    if case["function"] == "period":
        assert (begin, end) == (expected["from"], expected["to"])
    elif case["function"] == "previous":
        earlier = tile(at - timedelta(microseconds=1), count, unit, anchor, "UTC")[1]
        assert (begin if inclusive else earlier) == expected["at"]
    else:
        assert (at if inclusive and begin == at else following(interval, anchor, at, "UTC")) == expected["at"]
