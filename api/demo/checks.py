"""The answers of the demonstration, checked against the events themselves with plain Python: no part of the engine
is used here."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from api.demo.customers import DemoCustomer
from api.demo.prices import UNPRICED_MODEL

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Checked:
    """What was compared, and both sides of it."""

    name: str
    expected: str
    found: str

    @property
    def ok(self) -> bool:
        return self.expected == self.found

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "expected": self.expected, "found": self.found}


def check_verdicts(events: int, sums: Counter[str], again: Counter[str]) -> list[Checked]:
    """Every event is accepted once, and a batch that is sent again is all duplicates."""
    return [
        Checked("events accepted", str(events), str(sums["accepted"])),
        Checked("accepted of a batch sent again", "0", str(again["accepted"])),
        Checked("duplicates in a batch sent again", str(again.total()), str(again["duplicates"])),
    ]


def check_totals(lines: pl.DataFrame, report: Mapping[str, Any]) -> list[Checked]:
    """The totals of the run are the sums of its charge lines."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for currency, amount in lines.select("currency", "rounded_amount").iter_rows():
        sums[currency] += amount
    return [
        Checked(f"total in {t['currency']}", _plain(sums[t["currency"]]), t["rounded_amount"]) for t in report["totals"]
    ]


def check_report(day: pl.DataFrame, customers: Sequence[DemoCustomer], report: Mapping[str, Any]) -> list[Checked]:
    """Usage that nobody pays and usage without a price are all reported."""
    plan_of = {subject: customer.plan for customer in customers for subject in customer.subjects}
    strangers, unpriced = 0, Counter[str]()
    model = UNPRICED_MODEL.partition("/")[2]
    for subject, name, inputs in day.select("subject", "model", "input_tokens").iter_rows():
        strangers += subject not in plan_of
        if name == model and plan_of.get(subject, "europe") != "europe":
            unpriced["input_tokens"] += inputs
    rows = [row for row in report["unpriced"]["largest"] if row["meter"] == "input_tokens"]
    reported = sum((Decimal(row["quantity"]) for row in rows), Decimal(0))
    return [
        Checked("events of unknown subjects", str(strangers), str(report["unsubscribed"]["events"])),
        Checked("input tokens without a price", str(unpriced["input_tokens"]), _plain(reported)),
    ]


def check_line(day: pl.DataFrame, customer: DemoCustomer, line: Line) -> list[Checked]:
    """The quantity of a line for input tokens is the sum over its events; so is the amount, tier by tier."""
    columns = ("subject", "provider", "model", "input_tokens", "cache_read_tokens")
    wanted, group = set(customer.subjects), line["group"]
    rows = [
        inputs - cached
        for subject, provider, model, inputs, cached in day.select(columns).iter_rows()
        if subject in wanted and provider == group["provider"] and model == group["model"]
    ]
    amount = sum((_tier_amount(tier) for tier in line["tiers"]), Decimal(0))
    name = f"{line['price']} of {customer.key}"
    return [
        Checked(f"tokens of {name}", str(sum(rows)), line["quantity"]),
        Checked(f"events of {name}", str(len(rows)), str(line["events"])),
        Checked(f"amount of {name}", line["amount"], _plain(amount)),
    ]


def check_quota(
    day: pl.DataFrame,
    customers: Sequence[DemoCustomer],
    limits: Mapping[str, int],
    signals: Iterable[Mapping[str, Any]],
) -> list[Checked]:
    """Those whose tokens reach the limit of their plan are the ones that a signal names."""
    owner = {subject: customer for customer in customers for subject in customer.subjects}
    used: dict[str, int] = defaultdict(int)
    for subject, inputs, outputs in day.select("subject", "input_tokens", "output_tokens").iter_rows():
        if subject in owner:
            used[owner[subject].key] += inputs + outputs
    out = sorted(customer.key for customer in customers if used[customer.key] >= limits[customer.plan])
    told = sorted(signal["customer"] for signal in signals)
    return [Checked("customers that ran out of quota", f"{len(out)}: {_some(out)}", f"{len(told)}: {_some(told)}")]


def _tier_amount(tier: Mapping[str, Any]) -> Decimal:
    units = Decimal(tier["quantity"]) * Decimal(tier["unit_amount"]) / Decimal(tier["per"])
    return units + Decimal(tier["flat_amount"]) * Decimal(tier["flat_count"])


def _plain(amount: Decimal) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} ... {names[-1]}"
