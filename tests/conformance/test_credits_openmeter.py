"""Grants, burn-down, resets and recurrences as OpenMeter's own tests expect them (../shared/cases).

Their rules as settings of ours: overage is carried, a reset concerns every grant (a rollover maximum of 0 unless
given), and the balances of a snapshot are the opening. Runs that end in a reset show segments without length, which
ours has not: there segments are not counted (docs/conformance.md).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from rating.core.credits.burning import Burnt, Opening, OpeningInvalid, burn
from rating.core.credits.order import in_order
from rating.core.credits.recurrence import following, period, previous
from rating.core.credits.schema import BALANCE, BURN, GRANT, RESET, UNITS
from rating.core.money import ZERO
from rating.core.schema import INSTANT
from tests.conftest import SHARED, shared_path
from tests.rating.credits.frames import frame

Case = Mapping[str, Any]
FILE = SHARED / "cases" / "openmeter_entitlements.json"
CASES = json.loads(FILE.read_text()) if FILE.exists() else []
EPOCH = "2000-01-01T00:00:00Z"
INTERVALS = {"D": "d", "W": "w", "M": "mo", "Y": "y"}
WINDOWS = {"MINUTE": timedelta(minutes=1), "HOUR": timedelta(hours=1), "DAY": timedelta(days=1)}


def of_kind(*kinds: str) -> pytest.MarkDecorator:
    found = [pytest.param(case, id=case["id"]) for case in CASES if case["kind"] in kinds]
    return pytest.mark.parametrize("case", found)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def every(interval: str) -> str:
    return f"{interval[1:-1]}{INTERVALS[interval[-1]]}"


def grant(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    recurs = given.get("recurrence")
    return {
        "grant": name,
        "customer": "c",
        "kind": "grant",
        "unit": UNITS,
        "amount": Decimal(given.get("amount", 0)),
        "priority": given["priority"],
        "created_at": instant(given.get("created_at", EPOCH)),
        "effective_at": instant(given.get("effective_at", EPOCH)),
        "expires_at": instant(given["expires_at"]) if given.get("expires_at") else None,
        "voided_at": instant(given["voided_at"]) if given.get("voided_at") else None,
        "recurs_every": every(recurs["interval"]) if recurs else None,
        "recurs_from": instant(recurs["anchor"]) if recurs else None,
        "rollover_minimum": Decimal(given.get("rollover_min") or 0),
        "rollover_maximum": Decimal(given.get("rollover_max") or 0),
    }


def grants_of(case: Case) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    names: set[str] = set()
    for given in case["grants"]:
        name = given["id"] if given["id"] not in names else f"{given['id']} again"
        names.add(name)
        made.append(grant(given, name))
    if generated := case.get("generated_grants"):
        for number in range(generated["count"]):
            name = generated["id_pattern"].replace("{i}", str(number))
            made.append(grant({**generated, **generated.get("overrides", {}).get(name, {})}, name))
    return made


def burns_of(case: Case, since: datetime, until: datetime, overage: Decimal = Decimal(0)) -> list[dict[str, Any]]:
    events = [(instant(e["at"]), converted(case, Decimal(e["value"]))) for e in case["usage_events"]]
    usage = [(at, value) for at, value in events if since <= at < until]
    return [
        {"burn": n, "customer": "c", "unit": UNITS, "time": at, "sequence": n, "amount": value}
        for n, (at, value) in enumerate([(since, overage), *usage])
    ]


def converted(case: Case, value: Decimal) -> Decimal:
    rule = case.get("unit_conversion")
    if rule is None:
        return value
    factor = Decimal(rule["factor"])
    return value / factor if rule["operation"] == "divide" else value * factor


@dataclass(frozen=True)
class Answer:
    """What came of a case between `since` (the last reset, or the start) and `until`."""

    burnt: Burnt
    start: datetime
    since: datetime
    until: datetime
    keeps_overage: bool

    @property
    def overage(self) -> Decimal:
        """What is owed in the end: what a reset forgives is not."""
        owing = self.burnt.paid.filter(pl.col("time") >= (self.start if self.keeps_overage else self.since))
        return sum(owing["unpaid"], Decimal(0))

    def owed_at(self, at: datetime) -> Decimal:
        """What had been used and not been paid just before `at`, where there was no reset."""
        asked = self.burnt.paid.filter(pl.col("time") < at)
        paid = self.burnt.ledger.filter(pl.col("kind") == "burn", pl.col("time") < at)["covered"]
        return sum(asked["amount"], Decimal(0)) - sum(paid, Decimal(0))

    @property
    def balance(self) -> Decimal:
        return sum(self.burnt.balances["balance"], Decimal(0))

    @property
    def used_of_grants(self) -> Decimal:
        """Burnt since the last reset."""
        own = self.burnt.ledger.filter(pl.col("kind") == "burn", pl.col("time") >= self.since)
        return sum(own["covered"], Decimal(0))

    @property
    def usage(self) -> Decimal:
        own = self.burnt.paid.filter(pl.col("time") >= self.since, pl.col("burn") > 0)
        return sum(own["amount"], Decimal(0))

    def edges(self, start: datetime, end: datetime) -> list[datetime]:
        """The instants at which segments begin between two instants, and the end."""
        changed = self.burnt.segments.filter(pl.col("at") > start, pl.col("at") < end)["at"]
        return [start, *changed, end]


def burn_down(case: Case) -> Answer:
    start, until = case["start"], instant(case["until"])
    at = instant(start["at"])
    made = grants_of(case)
    balances = {**start["balances"], **generated_balances(case)}
    resets = [instant(reset) for reset in case.get("resets", [])]
    keeps = bool(case.get("preserve_overage", False))
    burnt = burn(
        frame(GRANT, made),
        frame(BURN, burns_of(case, at, until, Decimal(start.get("overage") or 0))),
        until,
        overage="carry",
        resets=frame(RESET, [{"customer": "c", "at": reset, "keeps_overage": keeps} for reset in resets]),
        opening=Opening(at, frame(BALANCE, [{"grant": g, "balance": Decimal(b)} for g, b in balances.items()])),
    )
    return Answer(burnt, at, max([at, *(reset for reset in resets if reset <= until)]), until, keeps)


def generated_balances(case: Case) -> dict[str, str]:
    generated = case.get("generated_grants")
    if not generated:
        return {}
    names = (generated["id_pattern"].replace("{i}", str(number)) for number in range(generated["count"]))
    return dict.fromkeys(names, generated["start_balance"])


def balance_query(case: Case) -> Answer:
    start = instant(case["measure_usage_from"])
    until = instant(case["query_at"]) if "query_at" in case else last_window(case)[1]
    resets = sorted(resets_of(case, start, until))
    keeps = bool(case.get("preserve_overage", False))
    burnt = burn(
        frame(GRANT, grants_of(case)),
        frame(BURN, burns_of(case, start, until)),
        until,
        overage="carry",
        resets=frame(RESET, [{"customer": "c", "at": at, "keeps_overage": keeps} for at in resets]),
    )
    return Answer(burnt, start, max([start, *resets]), until, keeps)


def resets_of(case: Case, start: datetime, until: datetime) -> Iterable[datetime]:
    """Where usage periods begin; one that is reset by hand begins anew there, unless it keeps its anchor."""
    interval, anchor = every(case["usage_period"]["interval"]), instant(case["usage_period"]["anchor"])
    by_hand = sorted(
        (instant(reset["at"]), bool(reset.get("retain_anchor"))) for reset in case.get("manual_resets", [])
    )
    at = following(interval, anchor, start, inclusive=False)
    for reset, keeps_anchor in [*by_hand, (until + timedelta(microseconds=1), True)]:
        while at < reset and at <= until:
            yield at
            at = following(interval, anchor, at, inclusive=False)
        if reset <= until:
            yield reset
            anchor = anchor if keeps_anchor else reset
            at = following(interval, anchor, reset, inclusive=False)


def test_the_cases_are_there() -> None:
    shared_path("cases", "openmeter_entitlements.json")
    assert {case["kind"] for case in CASES} <= {
        "burn_down", "balance_query", "balance_history", "grant_order", "recurrence", "error",
    }  # fmt: skip


@of_kind("burn_down", "balance_query")
def test_balances_and_usage(case: Case) -> None:
    answer = burn_down(case) if case["kind"] == "burn_down" else balance_query(case)
    start, expected = case.get("start", {}), case["expected"]
    usage, used = answer.usage, answer.used_of_grants
    if answer.since == answer.start:  # what a snapshot has counted goes on until the next reset
        usage += Decimal(start.get("usage_in_period", 0))
        used += Decimal(start.get("total_grant_usage", 0))
    left = dict(answer.burnt.balances.iter_rows())
    balances = {g: Decimal(b) for g, b in expected.get("balances", {}).items()}
    assert {g: left[g] for g in balances} == balances
    if "all_other_balances" in expected:
        assert {b for g, b in left.items() if g not in balances} == {Decimal(expected["all_other_balances"])}
    got = {
        "usage_in_period": usage,
        "total_grant_usage": used,
        "total_available_grant_amount": used + answer.balance,
        "balance": answer.balance,
        "overage": answer.overage,
    }
    for name, value in got.items():
        if name in expected:
            assert value == Decimal(expected[name]), name
    if "has_access" in expected:
        assert (answer.balance > 0) == expected["has_access"]
    if "usage_since" in expected:
        since = (
            instant(start["usage_since"]) if "usage_since" in start and answer.since == answer.start else answer.since
        )
        assert since == instant(expected["usage_since"])


@of_kind("burn_down")
def test_segments(case: Case) -> None:
    if case.get("resets"):
        return
    answer, expected = burn_down(case), case["expected"]
    edges = answer.edges(answer.start, answer.until)
    found = set(pairwise(edges))
    assert expected.get("segment_count", len(found)) == len(found)
    balances = {(at, g): b for at, g, b in balances_at(answer.burnt.ledger, edges).iter_rows()}
    for segment in expected.get("segments", []):
        begin, end = instant(segment["from"]), instant(segment["to"])
        assert (begin, end) in found
        inside = answer.burnt.paid.filter(pl.col("time") >= begin, pl.col("time") < end, pl.col("burn") > 0)
        if "usage" in segment:
            assert sum(inside["amount"], Decimal(0)) == Decimal(segment["usage"])
        if "overage_at_start" in segment:
            assert answer.owed_at(begin) == Decimal(segment["overage_at_start"])
        for g, balance in segment.get("grant_balances_at_start", {}).items():
            assert balances.get((begin, g), Decimal(0)) == Decimal(balance)


def last_window(case: Case) -> tuple[datetime, datetime]:
    """The whole windows that hold the asked-for span: [from, to)."""
    window = case["window"]
    size, zone = WINDOWS[window["size"]], ZoneInfo(window["time_zone"])
    begin, end = (instant(window[name]).astimezone(zone).replace(second=0, microsecond=0) for name in ("from", "to"))
    end += timedelta(minutes=1) if instant(window["to"]) > end else timedelta(0)
    midnight = begin.replace(hour=0, minute=0)
    first = midnight + (begin - midnight) // size * size
    return first, first + -(-(end - first) // size) * size


@of_kind("balance_history")
def test_windows_of_a_history(case: Case) -> None:
    begin, end = last_window(case)
    size = WINDOWS[case["window"]["size"]]
    starts = [begin + n * size for n in range((end - begin) // size)]
    answer, expected = balance_query(case), case["expected"]
    assert len(starts) == expected["window_count"]
    assert len(answer.edges(begin, end)) - 1 == expected["segment_count"]
    balances = balances_at(answer.burnt.ledger, starts).group_by("at").agg(pl.col("balance").sum())
    by_start = dict(balances.iter_rows())
    for window in expected["windows"]:
        at = starts[window["index"]]
        assert at == instant(window["from"])
        assert by_start[at] - answer.owed_at(at) == Decimal(window["balance_at_start"])
        inside = answer.burnt.paid.filter(pl.col("time") >= at, pl.col("time") < at + size)
        if "usage" in window:
            assert sum(inside["amount"], Decimal(0)) == Decimal(window["usage"])


@of_kind("grant_order")
def test_order_of_grants(case: Case) -> None:
    ordered = in_order(frame(GRANT, [grant(given, given["id"]) for given in case["grants"]]))
    assert ordered["grant"].to_list() == case["expected"]["order"]


@of_kind("recurrence")
def test_recurrence(case: Case) -> None:
    interval, anchor = every(case["recurrence"]["interval"]), instant(case["recurrence"]["anchor"])
    at, inclusive = instant(case["at"]), case["boundary"] == "inclusive"
    expected = {name: instant(value) for name, value in case["expected"].items()}
    if case["function"] == "period":
        assert period(interval, anchor, at) == (expected["from"], expected["to"])
    else:
        find = previous if case["function"] == "previous" else following
        assert find(interval, anchor, at, inclusive=inclusive) == expected["at"]


@of_kind("error")
def test_what_does_not_fit_is_refused(case: Case) -> None:
    with pytest.raises(OpeningInvalid):
        burn_down(case)


def balances_at(ledger: pl.DataFrame, instants: Sequence[datetime]) -> pl.DataFrame:
    """One row for each of `instants` (`at`) and `grant`: its `balance` then, behind what changed at the instant and
    before what was burnt at it. A grant without entries up to then has none."""
    burnt = pl.col("kind") == "burn"
    counts_from = pl.when(burnt).then(pl.col("time").dt.offset_by("1us")).otherwise("time")
    entries = ledger.with_columns(at=counts_from).sort("at", "entry").select("grant", "at", balance="balance_after")
    asked = pl.DataFrame({"at": sorted(set(instants))}, schema={"at": INSTANT})
    every = asked.join(ledger.select("grant").unique(), how="cross").sort("at", "grant")
    met = every.join_asof(entries, on="at", by="grant", check_sortedness=False)
    return met.with_columns(pl.col("balance").fill_null(ZERO))
