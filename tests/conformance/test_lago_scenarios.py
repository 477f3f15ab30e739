"""Subscriptions of another engine's test suite over time: upgrades, downgrades, terminations, trials, minimums.

At each step everything that has fallen due is rated with what is known then, and what was billed before is taken off:
new lines are what is charged, adjustments what is given back. What is left out, and why: docs/conformance.md.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
import pytest

from rating.core.lines import CHARGE_LINE
from rating.core.restating import posted
from tests.conformance.agreed import Agreed, Document, boundaries, cut, due, midnight
from tests.conformance.lago_timelines import INTERVALS, Case, Known, catalog_of, instant, local_date, steps
from tests.conftest import SHARED, shared_path

FILE = "cases/lago_scenarios.json"
UNITS = (
    "Billing days of a monthly anniversary on the 30th",
    "Subscription fee proration",
    "Minimum commitment proration",
)
MICROSECOND = timedelta(microseconds=1)
BY_DAYS = {7: "weekly", **dict.fromkeys((28, 29, 30, 31), "monthly"), 365: "yearly", 366: "yearly"}


def why_left_out(case: Case) -> str | None:
    """Whether a case is about something else: by what it says, never by its name."""
    if case["kind"] == "unit":
        if case["title"] not in UNITS:
            return "coupons and wallets: invoices"
        return "a part that ends after its period" if _outlasts_its_period(case["input"]) else None
    charges = [charge for plan in case["plans"] for charge in plan.get("charges", [])]
    if "coupons" in case or "wallets" in case:
        return "coupons and wallets: invoices"
    if any("usage_thresholds" in plan for plan in case["plans"]):
        return "invoices when usage reaches an amount"
    if any(charge.get("prorated") for charge in charges):
        return "levels by the day"
    if not any(wanted for step in case["timeline"] for wanted in expectations(case, step)):
        return "taxes: invoices"
    return None


def _outlasts_its_period(given: Case) -> bool:
    if given.get("billing_time") != "anniversary" or "to" not in given:
        return False
    start = midnight(given["from"])
    [(_, end)] = cut(start, INTERVALS[given["interval"]], start, start + MICROSECOND)
    return midnight(given["to"]) >= end


def every() -> list[Case]:
    path = SHARED / FILE
    return json.loads(path.read_text()) if path.exists() else []


def cases(kind: str) -> Iterator[Any]:
    for case in every():
        if case["kind"] == kind and why_left_out(case) is None:
            yield pytest.param(case, id=case["id"])


# what a step comes to


@dataclass(frozen=True)
class Billed:
    """What falls due at a step: `new` lines, and the `adjusted` ones; `open` are the lines of the open period."""

    step: Case
    known: Known
    new: pl.DataFrame  # CHARGE_LINE
    adjusted: pl.DataFrame  # CHARGE_LINE

    def open(self) -> pl.DataFrame:
        """CHARGE_LINE of the usage of the open period as it is known, of the plan that holds."""
        at = instant(self.step)
        lines = lines_by(self.known, self.known.period_end(at)).filter(kind="usage")
        return lines.filter(pl.col("service_start") <= at, pl.col("service_end") > at)


def lines_by(known: Known, until: datetime) -> pl.DataFrame:
    """CHARGE_LINE of all that has fallen due."""
    agreed = list(known.agreed.values())
    events = [{**event, "subject": one.key} for event in known.events for one in agreed]
    return due(catalog_of(known.case), agreed, until, events).lines


def fallen_due(step: Case, known: Known) -> pl.DataFrame:
    """CHARGE_LINE of all that has fallen due at a step. What ends with a plan falls due there at once; here when the
    billing period is over. The day on which a subscription ends is over."""
    at, zone = instant(step), known.case["timezone"]
    if step["do"] == "terminate":
        return lines_by(known, midnight(local_date(at, zone) + timedelta(days=1), zone))
    now = lines_by(known, at)
    if step["do"] != "change_plan":
        return now
    later = lines_by(known, known.period_end(at)).join(now, on="line", how="anti")
    return pl.concat([now, later.filter(pl.col("service_end") <= at)])


def bills(case: Case) -> Iterator[Billed]:
    before = CHARGE_LINE.to_frame()
    for step, known in steps(case):
        if step["do"] in ("event", "read_current_usage"):
            yield Billed(step, known, CHARGE_LINE.to_frame(), CHARGE_LINE.to_frame())
            continue
        now = fallen_due(step, known)
        found = posted(now, before)
        is_adjusted = pl.col("kind") == "adjustment"
        yield Billed(step, known, found.filter(~is_adjusted), found.filter(is_adjusted))
        before = now


# what is expected of it


def cents(lines: pl.DataFrame) -> int:
    return int(sum(lines["rounded_amount"], Decimal(0)) * 100)


def of_price(lines: pl.DataFrame, name: str) -> pl.DataFrame:
    return lines.filter(pl.col("price").str.ends_with(f".{name}"))


def amounts(lines: pl.DataFrame) -> list[int]:
    return sorted(int(found * 100) for found in lines["rounded_amount"] if found)


def fixed_fees(bill: Billed) -> list[int]:
    """Of each add-on of the plan that holds: what is new of it less what is given back of it."""
    [one] = bill.known.agreed.values()
    plan = bill.known.plan(str(one.changes[-1].plan) if one.changes else one.plan)
    both = pl.concat([bill.new, bill.adjusted])
    return sorted(cents(of_price(both, charge["add_on"])) for charge in plan["fixed_charges"])


def days_of(bill: Billed) -> list[date]:
    """The first and the last day of a new fee."""
    [(start, end)] = of_price(bill.new, "fee").select("service_start", "service_end").rows()
    return [local_date(at, bill.known.case["timezone"]) for at in (start, end - MICROSECOND)]


COMPARED: dict[str, Callable[[Billed], Any]] = {
    "invoice_fees_cents": lambda bill: cents(bill.new),
    "invoice_total_cents": lambda bill: cents(bill.new),
    "invoice_subtotal_cents": lambda bill: cents(bill.new),
    "credit_note_cents": lambda bill: -cents(bill.adjusted),
    "credit_note_subtotal_cents": lambda bill: -cents(bill.adjusted),
    "subscription_fee_cents": lambda bill: cents(of_price(bill.new, "fee")),
    "old_subscription_fee_cents": lambda bill: cents(of_price(bill.new, "fee")),
    "fixed_fees_cents": fixed_fees,
    "charge_fees_cents": lambda bill: amounts(bill.new.filter(kind="usage")),
    "true_up_fee_cents": lambda bill: cents(bill.new.filter(pl.col("price").is_not_null(), kind="minimum")),
    "commitment_fee_cents": lambda bill: cents(bill.new.filter(pl.col("price").is_null(), kind="minimum")),
    "period": days_of,
    "current_usage_cents": lambda bill: cents(bill.open()),
    "current_usage_units": lambda bill: sum(bill.open()["quantity"], Decimal(0)),
}
"""What is expected of a step, by its name there."""


def expectations(case: Case, step: Case) -> list[tuple[str, Any]]:
    """What of a step is compared: no totals with taxes, and no commitment that a fee in advance was paid for and given
    back of."""
    taxed = {"invoice_total_cents", "credit_note_cents"} if "tax_rate_percent" in case else set()
    in_advance = any(plan["pay_in_advance"] for plan in case["plans"])
    other = {"commitment_fee_cents"} if step["do"] == "terminate" and in_advance else set()
    return [
        (it["what"], it["value"])
        for it in step.get("expect", [])
        if it["what"] in COMPARED.keys() - taxed - other and it["value"] is not None
    ]


def comparable(name: str, value: Any) -> Any:
    match name:
        case "charge_fees_cents" | "fixed_fees_cents":
            return sorted(one for one in value if one)
        case "period":
            return [datetime.fromisoformat(at).astimezone(UTC).date() for at in value]
        case "current_usage_units":
            return Decimal(value).quantize(Decimal("1E-9"), ROUND_HALF_UP)
    return value


@pytest.mark.parametrize("case", list(cases("timeline")))
def test_each_step_bills_what_it_bills_there(case: Case) -> None:
    for bill in bills(case):
        for name, value in expectations(case, bill.step):
            assert COMPARED[name](bill) == comparable(name, value), (bill.step["at"], name)


# parts of periods alone


def first_lines(given: Case, minimum: bool = False) -> pl.DataFrame:
    """The lines of the first period of a subscription."""
    interval = given.get("interval", BY_DAYS.get(given.get("period_days", 0), ""))
    start, trial = midnight(given["from"]), given.get("trial_days")
    fee = {"amount_cents": given.get("amount_cents", 0), "pay_in_advance": given.get("pay_in_advance", False)}
    least = {"minimum_commitment_cents": given["commitment_cents"]} if minimum else {}
    document: Document = catalog_of({"currency": "EUR", "plans": [{"code": "p", **fee, **least}]})
    anchor = start if given.get("billing_time") == "anniversary" else None
    ends = midnight(date.fromisoformat(given["to"]) + timedelta(days=1)) if minimum else None
    trial_ends_at = None if trial is None else start + timedelta(days=trial)
    one = Agreed("s", "p", start, ends, INTERVALS[interval], anchor, trial_ends_at=trial_ends_at)
    [(_, end)] = cut(anchor, one.interval, start, start + MICROSECOND)
    return due(document, [one], end).lines.filter(pl.col("period_start") <= start)


@pytest.mark.parametrize("case", [it for it in cases("unit") if "proration" in it.values[0]["title"]])
def test_parts_of_fees_and_commitments(case: Case) -> None:
    given, expected = case["input"], case["expected"]
    if "commitment_cents" in expected:
        assert cents(first_lines(given, minimum=True)) == expected["commitment_cents"]
        return
    [line] = first_lines(given).rows(named=True)
    assert line["rounded_amount"] * 100 == expected["amount_cents"]
    assert abs(line["amount"] * 100 - Decimal(expected["precise_amount_cents"])) < Decimal("1E-12")


@pytest.mark.parametrize("case", [it for it in cases("unit") if "billing_dates" in it.values[0]["expected"]])
def test_billing_days_come_back_after_shorter_months(case: Case) -> None:
    given, wanted = case["input"], case["expected"]["billing_dates"]
    anchor = instant({"at": given["subscription_at"]})
    found = boundaries(anchor, INTERVALS[given["interval"]], midnight(wanted[0]))
    assert set(wanted) <= set(found)
    assert len({day[:7] for day in found}) == len(found)


def test_every_case_is_tried_or_left_out_by_its_kind() -> None:
    known = json.loads(shared_path(*FILE.split("/")).read_text())
    left_out = [case for case in known if why_left_out(case) is not None]
    assert len(list(cases("timeline"))) + len(list(cases("unit"))) + len(left_out) == len(known)
