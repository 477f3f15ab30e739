"""Items of earlier invoices that another engine repairs: what a bill of now has more or less than the bill before.

There existing items are held against proposed ones, day by day. Here the items of one plan and rate are a subscription:
it is paused on the days that are no longer proposed, and where its days are cut into other periods, those begin when
what was billed is over. What is left out, and why: docs/conformance.md.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
import pytest

from rating.core.difference import difference, parts_of
from rating.core.lines import CHARGE_LINE
from rating.core.restating import posted
from tests.conformance.agreed import INTERVALS, Agreed, Change, Document, anchored, due, midnight
from tests.conftest import SHARED

FILE = "cases/killbill_proration.json"
CENT, NOTHING = Decimal("0.01"), Decimal(0)
LATER = datetime.fromisoformat("2040-01-01T00:00:00Z")
Case = dict[str, Any]
Item = dict[str, Any]


def why_left_out(case: Case) -> str | None:
    """Whether a case follows another rule: by what it says, never by its name."""
    if case["model"] == "invoice_reconcile" and any("adjusted" in item for item in case["events"]["existing"]):
        return "an item that was credited by hand"
    return None


def cases(model: str) -> Iterator[Any]:
    path = SHARED / FILE
    for case in json.loads(path.read_text()) if path.exists() else []:
        if case["model"] == model and why_left_out(case) is None:
            yield pytest.param(case, id=case["id"])


def catalog_of(rates: dict[str, str]) -> Document:
    """A plan with one fee for each of `rates`."""
    fee = {"currency": "USD", "model": "flat", "prorate": "days"}
    prices = {plan: {**fee, "versions": [{"amount": rate}]} for plan, rate in rates.items()}
    plans = {plan: {"currency": "USD", "prices": [plan]} for plan in rates}
    return {"tallystick": 1, "currencies": ["USD"], "meters": {}, "prices": prices, "plans": plans}


# items as subscriptions


def interval_of(items: Sequence[Item]) -> tuple[str, int]:
    """Items of a plan that are longer than a month are of a year."""
    days = [(date.fromisoformat(item["end"]) - date.fromisoformat(item["start"])).days for item in items]
    return ("year", 1) if max(days) > 31 else ("month", 1)


def anchor_of(items: Sequence[Item]) -> str:
    """Where a period begins: where the last item does if it follows another, else where it ends."""
    *_, before, last = [{"end": None}, *items]
    return str(last["start"] if before["end"] == last["start"] else last["end"])


def covering(key: str, items: Sequence[Item], anchor: str, since: str = "", until: str = "9999") -> list[Agreed]:
    """The subscription that is in force on the days of `items` from `since` to `until`; none where they have none."""
    days = [(max(item["start"], since), min(item["end"], until)) for item in items]
    spans = [(midnight(start), midnight(end)) for start, end in days if start < end]
    if not spans:
        return []
    paused = [Change(end, state="paused") for _, end in spans]
    active = [Change(start, state="active") for start, _ in spans]
    interval, begins, ends = interval_of(items), spans[0][0], spans[-1][1]
    changes = (*paused, *active)  # of one instant the last holds
    return [Agreed(key, items[0]["plan"], begins, ends, interval, midnight(anchor), changes=changes)]


def without(items: Sequence[Item], repairs: Sequence[Item]) -> list[Item]:
    """The days of `items` that were not repaired."""
    left = list(items)
    for repair in repairs:
        whole = [item for item in left if item["id"] != repair["of"]]
        cut = [item for item in left if item["id"] == repair["of"]]
        left = [*whole, *({**item, "end": repair["start"]} for item in cut if item["start"] < repair["start"])]
        left += [{**item, "start": repair["end"]} for item in cut if repair["end"] < item["end"]]
    return sorted(left, key=lambda item: str(item["start"]))


def before_and_now(existing: Sequence[Item], proposed: Sequence[Item]) -> tuple[list[Agreed], list[Agreed]]:
    """The subscriptions as they were billed, and as they are now: of each plan and rate what was billed, and what is
    new behind it."""
    before: list[Agreed] = []
    now: list[Agreed] = []
    for kind in sorted({_kind(item) for item in (*existing, *proposed)}):
        old, new = ([item for item in items if _kind(item) == kind] for items in (existing, proposed))
        paid_until = ""
        if old:
            begins, paid_until = old[0]["start"], old[-1]["end"]
            before += covering(f"{kind[0]}:billed", old, begins)
            now += covering(f"{kind[0]}:billed", new, begins, until=paid_until)
        now += covering(f"{kind[0]}:new", new, anchor_of(new), since=paid_until) if new else []
    return before, now


def _kind(item: Item) -> tuple[str, str]:
    return item["plan"], item["rate"]


@pytest.mark.parametrize("case", list(cases("invoice_reconcile")))
def test_what_is_due_is_the_bill_of_now_less_the_bill_before(case: Case) -> None:
    events, expected = case["events"], case["expected"]
    existing, proposed = without(events["existing"], events["existing_repairs"]), events["proposed"]
    catalog = catalog_of({item["plan"]: item["rate"] for item in (*existing, *proposed)})
    before, now = (due(catalog, agreed, LATER).lines for agreed in before_and_now(existing, proposed))
    parts = difference(parts_of(now), parts_of(before))
    is_repair = pl.col("subscription").str.ends_with(":billed")
    repairs = sum((Decimal(repair["amount"]) for repair in expected["repairs"]), NOTHING)
    assert total(parts.filter(is_repair)) == repairs
    dates = pl.col("service_start", "service_end").dt.strftime("%Y-%m-%d")
    made = {
        (start, end): amount for start, end, amount in now.filter(~is_repair).select(dates, "rounded_amount").rows()
    }
    wanted = {(item["start"], item["end"]): item for item in expected["new_items"]}
    assert made.keys() == wanted.keys()
    for days, item in wanted.items():
        assert is_made_up(case, item) or made[days] == Decimal(item["amount"])
    if "credit_generated" in expected:
        assert -total(parts) == Decimal(expected["credit_generated"])


def is_made_up(case: Case, item: Item) -> bool:
    """Whether an amount is a figure of the test's own, as 12.00 for a week of 20.00 a month: so are those in tests of
    the source's tree of items, unless it cuts the item itself."""
    [proposed] = [one for one in case["events"]["proposed"] if one["id"] == item["of"]]
    is_whole = (proposed["start"], proposed["end"]) == (item["start"], item["end"])
    return is_whole and "TestSubscriptionItemTree" in case["source"]


def total(parts: pl.DataFrame) -> Decimal:
    """Exact parts, rounded once."""
    return sum(parts["amount"], NOTHING).quantize(CENT, ROUND_HALF_UP)


@pytest.mark.parametrize("case", list(cases("invoice_net_of_repairs")))
def test_days_that_are_paused_are_not_charged(case: Case) -> None:
    item, repaired = case["events"]["item"], case["events"]["repaired"]
    starts = [item["start"], *(gap["end"] for gap in repaired)]
    ends = [*(gap["start"] for gap in repaired), item["end"]]
    held = [{"plan": "p", "start": start, "end": end} for start, end in zip(starts, ends, strict=True) if start < end]
    [subscription] = covering("s", held, item["start"])
    billed = subscription._replace(interval=interval_of([item]))
    lines = due(catalog_of({"p": item["amount"]}), [billed], LATER).lines.sort("service_start")
    dates = pl.col("service_start", "service_end").dt.strftime("%Y-%m-%d")
    wanted = [(one["start"], one["end"], Decimal(one["amount"])) for one in case["expected"]["remaining"]]
    assert lines.select(dates, "rounded_amount").rows() == wanted


@pytest.mark.parametrize("case", list(cases("invoice_run_sequence")))
def test_runs_post_what_has_fallen_due_since(case: Case) -> None:
    """What holds from an event to the next one of its subscription is a subscription of its own: a fee that is owed
    once, where it begins, and one for each period."""
    events = case["events"]
    catalog = _catalog_of_phases(
        events, {"IN_ADVANCE": "in_advance", "IN_ARREAR": "in_arrears"}[case["price"]["billing_mode"]]
    )
    agreed = [_phase(place, events) for place in range(len(events))]
    before = CHARGE_LINE.to_frame()
    for run in case["expected"]["runs"]:
        now = due(catalog, agreed, midnight(run["target"])).lines
        new = posted(now, before).filter(pl.col("rounded_amount") != 0)
        assert new.height == run["items"]
        assert sum(new["rounded_amount"], NOTHING) == Decimal(run["total"])
        before = now


def _catalog_of_phases(events: Sequence[Case], when: str) -> Document:
    prices: Document = {}
    for place, event in enumerate(events):
        once = {"model": "one_time", "versions": [{"amount": event["fixed"] or "0"}]}
        recurring = {"model": "flat", "due": when, "prorate": "days", "versions": [{"amount": event["rate"] or "0"}]}
        prices |= {f"{place}.once": once, f"{place}.recurring": recurring}
    priced = {key: {"currency": "USD", **price} for key, price in prices.items()}
    plans = {
        str(place): {"currency": "USD", "prices": [f"{place}.once", f"{place}.recurring"]}
        for place in range(len(events))
    }
    return {"tallystick": 1, "currencies": ["USD"], "meters": {}, "prices": priced, "plans": plans}


def _phase(place: int, events: Sequence[Case]) -> Agreed:
    event = events[place]
    following = [one["date"] for one in events[place + 1 :] if one["subscription"] == event["subscription"]]
    start = date.fromisoformat(event["date"])
    interval = INTERVALS[event["billing_period"] or "MONTHLY"]
    anchor = anchored(start, event["bcd"], interval)
    ends_at = midnight(following[0]) if following else None
    return Agreed(f"{event['subscription']}:{place}", str(place), midnight(start), ends_at, interval, anchor)
