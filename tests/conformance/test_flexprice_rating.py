"""Rating cases of another engine's test suite, each as prices and adjustments of ours and a bill.

What is left out, and why: docs/conformance.md.
"""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import iso4217
import pytest

from tests.conformance.bills import OCTOBER, billed, event, exact, rounded, sum_meter
from tests.conftest import SHARED, shared_path

FILE = "cases/flexprice_rating.json"
UNLIMITED = 10**17 - 1
OUT_OF_SCOPE = {
    "proration", "line_item_proration", "day_count", "credit_cap", "credit_proration", "tax", "invoice_waterfall",
    "credit_application",
}  # fmt: skip
Case = dict[str, Any]
Document = dict[str, Any]


def price_of(given: Case, **more: Any) -> Document:
    """Their price as a model of ours with one version; `more` is of the price."""
    match given["type"]:
        case "flat":
            return {"model": "flat", "versions": [{"amount": given["amount"]}], **more}
        case "unit":
            return {"model": "per_unit", "versions": [{"unit_amount": given["unit_amount"]}], **more}
        case "tiered":
            tiers = [{name: value for name, value in tier.items() if value is not None} for tier in given["tiers"]]
            return {"model": given["mode"], "versions": [{"tiers": tiers}], **more}
        case "package":
            version = {
                "package_size": given["package_size"],
                "amount": given["package_amount"],
                "rounding": given["round"],
            }
            return {"model": "package", "versions": [version], **more}
    raise AssertionError(given["type"])


def discounts(given: list[Case]) -> list[Document]:
    names = {"percentage": "percent", "amount": "amount"}
    return [{"kind": "discount", **{names[n]: v for n, v in one.items() if n in names}} for one in given]


def commitment(given: Case) -> Document:
    return {
        "kind": "commitment",
        "amount": given.get("amount", given.get("value")),
        "overage_multiplier": given.get("overage_factor", "1"),
        "true_up": given["true_up"],
    }


def single_line(case: Case) -> None:
    bill = billed({"p": price_of(case["price"])}, [event(case["usage"])], case["currency"])
    [line] = bill.lines.iter_rows(named=True)
    expected = case["expected"]
    total = line["rounded_amount"] if case["kind"] == "single_line_rounded" else line["amount"]
    assert total == Decimal(expected["total"])
    priced = [tier for tier in line["tiers"] if tier["quantity"]]
    if "tier" in expected:
        assert priced[-1]["tier"] + 1 == expected["tier"]
    if "packages" in expected:
        assert priced[-1]["quantity"] == Decimal(expected["packages"])
    if "effective_unit_amount" in expected:
        assert line["amount"] / line["quantity"] == Decimal(expected["effective_unit_amount"])
    for wanted in expected.get("lines", []):
        [tier] = [tier for tier in priced if tier["tier"] + 1 == wanted["tier"]]
        assert (tier["quantity"], tier["unit_amount"], tier["amount"]) == tuple(
            Decimal(wanted[name]) for name in ("quantity", "unit_amount", "amount")
        )


def bucketed(case: Case) -> None:
    """Each value is what a day came to, and each day is priced by itself."""
    events = [event(value, OCTOBER + timedelta(days=day)) for day, value in enumerate(case["bucket_values"])]
    bill = billed({"p": price_of(case["price"], rate_each="day")}, events, case["currency"])
    assert exact(bill) == Decimal(case["expected"]["total"])
    quantity = bill.lines["quantity"].sum()
    assert quantity == Decimal(case["expected"].get("quantity", quantity))


def allowance(case: Case) -> None:
    price = price_of(case["price"])
    included = UNLIMITED if case["allowance"] == "unlimited" else case["allowance"] or 0
    version = {"included": included, "mode": case["price"].get("mode", "graduated"), **price["versions"][0]}
    if case["price"]["type"] == "unit":
        version.pop("mode")
    bill = billed({"p": {"model": "allowance", "versions": [version]}}, [event(case["usage"])], case["currency"])
    assert exact(bill) == Decimal(case["expected"]["total"])


def rounding(case: Case) -> None:
    price = {"model": "per_unit", "versions": [{"unit_amount": "1"}]}
    bill = billed({"p": price}, [event(case["amount"])], case["currency"])
    assert rounded(bill) == Decimal(case["expected"]["amount"])


def round_then_sum(case: Case) -> None:
    amounts = case["amounts"] * case.get("repeat", 1)
    price = {"model": "per_unit", "group_by": ["line"], "versions": [{"unit_amount": "1"}]}
    events = [event(amount, line=str(number)) for number, amount in enumerate(amounts)]
    bill = billed({"p": price}, events, case["currency"], meters={"m": sum_meter(group_by=["line"])})
    assert rounded(bill) == Decimal(case["expected"]["total"])


def discount(case: Case) -> None:
    price = {"type": "unit", "unit_amount": "1"} if "amount" in case else case["price"]
    document = price_of(price)
    document["versions"][0]["adjust"] = discounts(case.get("discounts") or [case["discount"]])
    bill = billed({"p": document}, [event(case.get("amount", case.get("usage")))], case["currency"])
    expected = case["expected"]
    off = -sum(bill.lines.filter(kind="discount")["rounded_amount"], Decimal(0))
    assert off == Decimal(expected["discount"])
    assert rounded(bill) == Decimal(expected.get("total", rounded(bill)))
    assert rounded(bill) + off == Decimal(expected.get("subtotal", rounded(bill) + off))


def cumulative_commitment(case: Case) -> None:
    """What all usage of the term costs, less what the usage before has cost: the marginal price of this period."""
    rule = commitment(case["commitment"])
    before = term_total(rule, case["prior_base_amounts"], case["currency"])
    now = term_total(rule, [*case["prior_base_amounts"], *case["current_amounts"]], case["currency"])
    assert now - before == Decimal(case["expected"]["total"])


def term_total(rule: Document, amounts: list[str], currency: str) -> Decimal:
    price = {"model": "per_unit", "versions": [{"unit_amount": "1", "adjust": [rule]}]}
    return rounded(billed({"p": price}, [event(amount) for amount in amounts], currency))


def split_commitment(case: Case) -> None:
    """The commitment is of one price; what the caller has already charged as overage is another's."""
    versions = [{"unit_amount": "1"}]
    committed = [{"unit_amount": "1", "adjust": [commitment(case["commitment"])]}]
    prices = {
        "normal": {"model": "per_unit", "match": {"lane": "normal"}, "versions": committed},
        "overage": {"model": "per_unit", "match": {"lane": "overage"}, "versions": versions},
    }
    events = [event(amount, lane="normal") for amount in case["current_amounts"]]
    events += [event(amount, lane="overage") for amount in case["overage_amounts"]]
    bill = billed(prices, events, case["currency"], meters={"m": sum_meter(group_by=["lane"])})
    assert rounded(bill) == Decimal(case["expected"]["total"])


def window_commitment(case: Case) -> None:
    """Each window is a group, priced by itself: what of its amount is above the commitment costs more, and where there
    is a true-up, what is missing to it is charged. The time of the day chooses price and commitment."""
    bands = [
        {"from": bucket["from"], "to": bucket["to"], "time_zone": "UTC", **committed(bucket, case)}
        for bucket in case.get("time_buckets") or []
    ]
    version = {**committed({}, case), **({"time_of_day": bands} if bands else {})}
    events = [
        event(window["quantity"], october(window["start"]), window=str(number))
        for number, window in enumerate(case["windows"])
    ]
    price = {"model": "chain", "group_by": ["window"], "versions": [version]}
    bill = billed({"p": price}, events, case["currency"], meters={"m": sum_meter(group_by=["window"])})
    assert exact(bill) == Decimal(case["expected"]["total"])


def october(instant: str) -> datetime:
    """The same time of the same day of October 2026."""
    return datetime.fromisoformat(instant).replace(year=2026, month=10)


def committed(bucket: Case, case: Case) -> Document:
    """The chain of a window: its price, then what is due for the overage, then what is missing to the commitment."""
    given = case["price"]
    if "unit_amount" in bucket:
        given = {"type": "unit", "unit_amount": bucket["unit_amount"]}
    tiers = given.get("tiers") or [{"unit_amount": given["unit_amount"]}]
    chain = {
        "tier_mode": given.get("mode", "volume"),
        "chain_tiers": [{name: value for name, value in tier.items() if value is not None} for tier in tiers],
    }
    rule = bucket.get("commitment") or case.get("commitment")
    if rule is None:
        return chain
    amount = Decimal(rule.get("value", rule.get("amount")))
    if rule.get("type", "amount") != "amount":
        amount *= Decimal(given["unit_amount"])
    percent = (Decimal(rule.get("overage_factor", 1)) - 1) * 100
    after = [{"operator": "compose", "percent": f"{percent:f}", "above": f"{amount:f}"}]
    if rule.get("true_up"):
        after.append({"operator": "clamp", "minimum": f"{amount:f}"})
    return {**chain, "after": after}


def quota_overage(case: Case) -> None:
    if "usage_events" in case:
        return crossed_quotas(case)
    bills = [over_quota(case, quota) for quota in case["quotas"]]
    total = sum((amount for amount, _ in bills), Decimal(0))
    assert total == Decimal(case["expected"].get("total", total))
    if all(quota.get("measure") != "amount" for quota in case["quotas"]):
        quantity = sum((quantity for _, quantity in bills), Decimal(0))
        assert quantity == Decimal(case["expected"].get("quantity", quantity))
    return None


def over_quota(case: Case, quota: Case) -> tuple[Decimal, Decimal]:
    """What is above one quota: its amount, and its quantity."""
    amount = "1" if quota.get("measure") == "amount" else case["price"]["unit_amount"]
    version = {"included": quota["quota"], "unit_amount": amount}
    bill = billed({"p": {"model": "allowance", "versions": [version]}}, [event(quota["usage"])], case["currency"])
    [line] = bill.lines.iter_rows(named=True)
    return line["amount"], sum((tier["quantity"] for tier in line["tiers"]), Decimal(0))


def crossed_quotas(case: Case) -> None:
    """From the instant at which a quota is crossed to the end of its window usage costs; else it is free."""
    spans = sorted((at(quota["crossed_at"]), at(quota["window"][1])) for quota in case["quotas"] if quota["crossed_at"])
    versions: list[Document] = [{"unit_amount": "0"}]
    until = OCTOBER
    for start, end in spans:
        if end > max(until, start):
            if start > until or len(versions) == 1:
                versions.append({"effective_from": start, "unit_amount": case["price"]["unit_amount"]})
            else:
                versions.pop()
            versions.append({"effective_from": end, "unit_amount": "0"})
            until = end
    events = [event(one["value"], at(one["at"])) for one in case["usage_events"]]
    bill = billed({"p": {"model": "per_unit", "versions": versions}}, events, case["currency"])
    charged = bill.lines.filter(bill.lines["amount"] != 0)
    assert charged["quantity"].sum() == Decimal(case["expected"]["quantity"])
    assert exact(bill) == Decimal(case["expected"].get("total", exact(bill)))


def at(offset: str) -> datetime:
    """`+4h` after the beginning of the month."""
    assert offset[-1] == "h"
    return OCTOBER + timedelta(hours=int(offset[1:-1]))


KINDS: dict[str, Callable[[Case], None]] = {
    "single_line": single_line,
    "single_line_rounded": single_line,
    "bucketed": bucketed,
    "allowance": allowance,
    "rounding": rounding,
    "round_then_sum": round_then_sum,
    "discount": discount,
    "usage_discounts": discount,
    "cumulative_commitment": cumulative_commitment,
    "split_commitment": split_commitment,
    "window_commitment": window_commitment,
    "quota_overage": quota_overage,
}


def why_left_out(case: Case) -> str | None:
    """Whether a case is none of rating: by its kind, never by its name."""
    if case["kind"] in OUT_OF_SCOPE:
        return "of invoices, of parts of periods, or of wallets"
    if case.get("precision", _digits(case["currency"])) != _digits(case["currency"]):
        return "a currency with other decimals than ISO 4217 has"
    return None


def _digits(currency: str) -> int | None:
    return iso4217.Currency(currency).exponent


def cases() -> Iterator[Any]:
    path = SHARED / FILE
    for case in json.loads(path.read_text()) if path.exists() else []:
        if why_left_out(case) is None:
            yield pytest.param(case, id=case["id"])


@pytest.mark.parametrize("case", list(cases()))
def test_a_case_comes_out_as_there(case: Case) -> None:
    KINDS[case["kind"]](case)


def test_every_case_is_tried_or_left_out_by_its_kind() -> None:
    every = json.loads(shared_path(*FILE.split("/")).read_text())
    left_out = [case for case in every if why_left_out(case) is not None]
    assert len(list(cases())) + len(left_out) == len(every)
