"""The aggregations of another engine's test suite: each case as a meter and a bill of ours.

A case says a period of its own. Its times are moved, all by the same, so that it begins with a month that has as many
days; the subscription ends where the period does. What is left out, and why: docs/conformance.md.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from rating.catalog import compile_catalog, load_catalog
from rating.core.periods import parse_month
from rating.core.rating import rate
from rating.core.subjects import interned
from tests import oracle
from tests.conftest import SHARED, shared_path
from tests.frames import subject_frame, subscription_frame, usage_frame
from tests.ingest.events import event, open_log, post

FILE = "cases/lago_aggregations.json"
AGGREGATIONS = {
    "count": "count", "sum": "sum", "max": "max", "latest": "latest", "unique_count": "unique_count",
    "weighted_sum": "weighted_sum", "rounding": "sum",
}  # fmt: skip
MONTHS = {31: (2026, 10), 30: (2026, 11), 29: (2028, 2), 28: (2026, 2)}
MODES = {"round": "half_away_from_zero", "ceil": "ceiling", "floor": "floor"}
COMPARED = {"ceil": ROUND_CEILING, "round": ROUND_HALF_UP}
Case = dict[str, Any]
Groups = dict[str, tuple[Decimal, int]]


def why_left_out(case: Case) -> str | None:
    """Whether a case is none of metering: by its kind, never by its name."""
    if case["aggregation"].endswith("_prorated"):
        return "proration by day"
    if case["aggregation"] not in AGGREGATIONS:
        return "a figure inside the other engine, not a quantity"
    if len({_identity(e) for e in case["events"]}) < len({json.dumps(_sent(e)) for e in case["events"]}):
        return "of two events with one identity the first stands, not the last"
    return "an event billed alone, in advance" if "context" in case else None


def _identity(event: Case) -> str:
    """There the same transaction at another time is another event: the time belongs to the identity."""
    return f"{event.get('transaction_id', id(event))}@{event['timestamp']}"


def _sent(event: Case) -> Case:
    return {name: event[name] for name in ("timestamp", "value", "properties", "transaction_id") if name in event}


def deduplicated(case: Case, directory: Path) -> Case:
    """The case with those of its events that a log accepts: a repetition is found when it is taken in."""
    log = open_log(directory)
    try:
        sent = [event(_identity(it), time=it["timestamp"], data={"value": it.get("value")}) for it in case["events"]]
        verdict = post(log, sent)
    finally:
        log.close()
    repeated = {found.index for found in verdict.events if found.code == "duplicate"}
    assert verdict.accepted + len(repeated) == len(sent)
    return {**case, "events": [it for place, it in enumerate(case["events"]) if place not in repeated]}


def cases() -> Iterator[Any]:
    path = SHARED / FILE
    for case in json.loads(path.read_text()) if path.exists() else []:
        if why_left_out(case) is None:
            yield pytest.param(case, id=case["id"])


@dataclass(frozen=True)
class Moved:
    """A period that begins with a month, and how to bring times there."""

    month: str
    zone: ZoneInfo
    shift: timedelta
    last: datetime

    @property
    def end(self) -> datetime:
        return self._at(self.last)

    def at(self, instant: str) -> datetime:
        return self._at(datetime.fromisoformat(instant))

    def _at(self, instant: datetime) -> datetime:
        local = instant.astimezone(self.zone).replace(tzinfo=None)
        return (local + self.shift).replace(tzinfo=self.zone).astimezone(UTC)


def moved(case: Case) -> Moved:
    period = case["period"]
    zone = ZoneInfo(period["timezone"])
    start = datetime.fromisoformat(period["from"] or "2026-10-01T00:00:00Z").astimezone(zone).replace(tzinfo=None)
    year, month = MONTHS[period.get("days", 31)]
    last = datetime.fromisoformat(period["to"] or "2026-10-31T23:59:59Z")
    if last.second or last.microsecond:  # 23:59:59 means: to the end of that second
        last = last.replace(microsecond=0) + timedelta(seconds=1)
    return Moved(f"{year}-{month:02}", zone, datetime.fromisoformat(f"{year}-{month:02}-01") - start, last)


def meter_of(case: Case, aggregation: str) -> dict[str, Any]:
    filters = case.get("filters") or {}
    made: dict[str, Any] = {
        "event_type": "e",
        "aggregation": aggregation,
        "group_by": sorted({*case.get("group_by", []), *case.get("presentation_by", [])}),
        "filters": [{"property": name, "in": values} for name, values in filters.get("match", {}).items()],
        "exclude": [
            [{"property": name, "in": values} for name, values in rules.items()] for rules in filters.get("ignore", [])
        ],
    }
    if aggregation not in ("count",):
        made["property"] = "item" if aggregation == "unique_count" else "value"
        made["carried"] = bool(case.get("recurring", False))
    if aggregation == "unique_count":
        made["removed_when"] = {"property": "operation", "equals": "remove"}
    rounding = case.get("rounding") or {}
    if rounding.get("function"):
        made["rounding"] = {"mode": MODES[rounding["function"]], "decimals": rounding["precision"] or 0}
    return made


def events_of(case: Case, to: Moved) -> list[dict[str, Any]]:
    made = [_event(event, to.at(event["timestamp"])) for event in case["events"]]
    before = to.at(case["period"]["from"] or "2026-10-01T00:00:00Z") - timedelta(days=1)
    initial = [{"value": case["initial_value"]}] if "initial_value" in case else []
    initial += [{"value": it["value"], "properties": it["group"]} for it in case.get("initial_values", [])]
    made += [_event(event, before) for event in initial]
    return made + ([_event({"value": case["input"]}, before + timedelta(days=2))] if "input" in case else [])


def _event(event: Case, at: datetime) -> dict[str, Any]:
    data = {name: value for name, value in event.get("properties", {}).items() if value is not None}
    for name, given in (("value", event.get("value")), ("amount", event.get("amount_cents"))):
        if (number := _number(given)) is not None:
            data[name] = number
    data |= {name: event[key] for name, key in (("item", "value"), ("operation", "operation")) if key in event}
    return {"type": "e", "subject": "acme", "time": at, "data": data}


def _number(given: Any) -> Decimal | None:
    try:
        return None if given is None else Decimal(given)
    except InvalidOperation:
        return None


def quantities(case: Case, meter: dict[str, Any], group_by: list[str]) -> Groups:
    """What a bill has of the case: quantity and events by the JSON of the group."""
    to = moved(case)
    price = {"meter": "m", "currency": "EUR", "model": "per_unit", "versions": [{"unit_amount": "1"}]}
    catalog = load_catalog(
        {
            "tallystick": 1,
            "currencies": ["EUR"],
            "meters": {"m": meter},
            "prices": {"p": {**price, "group_by": group_by}},
            "plans": {"plan": {"currency": "EUR", "prices": ["p"]}},
        }
    )
    start = to.at(case["period"]["from"] or "2026-10-01T00:00:00Z")
    subscription = oracle.Subscription("s", "acme", ("acme",), "plan", str(to.zone), start, to.end)
    usage = interned(usage_frame(events_of(case, to), catalog.declared_properties()))
    book, month = compile_catalog(catalog), parse_month(to.month)
    lines = rate(usage, subject_frame([subscription]), subscription_frame([subscription]), book, month).lines
    rows = lines.select("group", pl.col("quantity"), "events").iter_rows()
    return {json.dumps(json.loads(group), sort_keys=True): (quantity, events) for group, quantity, events in rows}


def one(found: Groups) -> tuple[Decimal, int]:
    """The quantity of a case without groups; no line is nothing."""
    assert len(found) <= 1
    return next(iter(found.values()), (Decimal(0), 0))


def assert_equal(case: Case, got: Decimal, wanted: str) -> None:
    compare = case["expected"].get("compare")
    if compare:
        step = Decimal(1).scaleb(-compare["round"])
        mode = COMPARED[compare.get("mode", "round")]
        got, wanted_number = got.quantize(step, mode), Decimal(wanted).quantize(step, mode)
        assert got == wanted_number
    else:
        assert got == Decimal(wanted)


@pytest.mark.parametrize("case", list(cases()))
def test_a_case_comes_out_as_there(case: Case, tmp_path: Path) -> None:
    if case.get("deduplicate"):
        case = deduplicated(case, tmp_path)
    expected, aggregation = case["expected"], AGGREGATIONS[case["aggregation"]]
    meter, group_by = meter_of(case, aggregation), case.get("group_by", [])
    found = quantities(case, meter, group_by)
    counts_period = not (case.get("recurring") and aggregation in ("sum", "unique_count"))
    if "value" in expected:
        assert_equal(case, one(found)[0], expected["value"])
        assert not counts_period or one(found)[1] == expected.get("events_count", one(found)[1])
    for group in expected.get("groups", []):
        quantity, events = found.get(json.dumps(group["group"], sort_keys=True), (Decimal(0), 0))
        assert_equal(case, quantity, group["value"])
        assert not counts_period or events == group.get("events_count", events)
        _assert_level(case, group, json.dumps(group["group"], sort_keys=True))
    if "breakdown" in expected:
        shown = quantities(case, meter, sorted({*group_by, *case["presentation_by"]}))
        for part in expected["breakdown"]:
            assert_equal(case, shown[json.dumps(part["group"], sort_keys=True)][0], part["value"])
    _assert_level(case, expected, "{}")
    if "amount_cents" in expected:
        amounts = quantities(case, {**meter_of(case, "sum"), "property": "amount"}, group_by)
        assert_equal(case, one(amounts)[0], expected["amount_cents"])


def _assert_level(case: Case, expected: Case, group: str) -> None:
    """Where a level went in the period, and where it ended: two sums, one of them carried over."""
    for name, carried in (("variation", False), ("end_level", True)):
        if name in expected:
            level = quantities(case, {**meter_of(case, "sum"), "carried": carried}, case.get("group_by", []))
            assert_equal(case, level.get(group, (Decimal(0), 0))[0], expected[name])


def test_every_case_is_tried_or_left_out_by_its_kind() -> None:
    every = json.loads(shared_path(*FILE.split("/")).read_text())
    left_out = [case for case in every if why_left_out(case) is not None]
    assert len(list(cases())) + len(left_out) == len(every)
    assert all(case["aggregation"] != "sum_running_total" or why_left_out(case) for case in every)
