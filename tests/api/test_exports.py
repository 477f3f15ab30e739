"""Exports of a run over HTTP: cost data by the rules of FOCUS 1.2, lines of invoices, sums, and the lines as NDJSON.

The rules of FOCUS are those of its requirements model 1.2.0.1 (the one that PyPI's focus-validator 2.2.1 has), for what
the model has as mandatory and for what is exported besides. Source: FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec, v1.2.
"""

import json
from decimal import Decimal
from io import BytesIO
from typing import Any

import httpx2
import polars as pl
import pytest

from tests.api.conftest import event
from tests.api.test_events import post
from tests.api.test_rating import rate

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
ARROW, NDJSON = "application/vnd.apache.arrow.stream", "application/x-ndjson"

MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost",
    "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
    "ServiceCategory", "ServiceName",
}  # fmt: skip
NEVER_NULL = MANDATORY - {"ChargeClass", "PricingQuantity", "PricingUnit"} | {"ChargeFrequency"}
BOUGHT = ("ContractedUnitPrice", "ListUnitPrice", "PricingCategory", "PricingQuantity", "SkuId", "SkuPriceId")
WORDS = r"[A-Za-z][A-Za-z0-9]*(?:\s+[A-Za-z][A-Za-z0-9]*)*"


@pytest.fixture
def run(sold: httpx2.Client) -> dict[str, Any]:
    """1,500 big tokens: 1,000 at 2.50 for 1,000, 500 at 1 for 1,000; and the fee of 20."""
    post(sold, *[event(str(i), data={"model": "big", "input_tokens": 300}) for i in range(5)])
    return rate(sold)


def export(client: httpx2.Client, run: dict[str, Any], form: str, accept: str | None = None, **params: Any) -> Any:
    headers = {"Accept": accept} if accept else {}
    answer = client.get(f"/v1/rating-runs/{run['id']}/{form}", params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def cost_data(client: httpx2.Client, run: dict[str, Any], **params: Any) -> pl.DataFrame:
    return pl.read_parquet(BytesIO(export(client, run, "focus", PARQUET, **params).content))


def test_cost_data_keeps_the_rules_of_focus(sold: httpx2.Client, run: dict[str, Any]) -> None:
    found = cost_data(sold, run, issuer="Seller Ltd")
    assert set(found.columns) >= MANDATORY
    assert not [name for name in NEVER_NULL if found[name].null_count()]
    assert set(found["ChargeCategory"]) <= {"Usage", "Purchase", "Tax", "Credit", "Adjustment"}
    assert set(found["ChargeFrequency"]) <= {"One-Time", "Recurring", "Usage-Based"}
    assert set(found["PricingCategory"].drop_nulls()) <= {"Standard", "Dynamic", "Committed", "Other"}
    assert set(found["InvoiceIssuerName"]) == {"Seller Ltd"}
    for row in found.iter_rows(named=True):
        bought = row["ChargeCategory"] in ("Usage", "Purchase")
        assert not bought or all(row[name] is not None for name in BOUGHT)
        assert (row["ConsumedQuantity"] is not None) == (row["ChargeCategory"] == "Usage")
        assert (row["ConsumedUnit"] is None) == (row["ConsumedQuantity"] is None)
        assert (row["ChargeCategory"], row["ChargeFrequency"]) != ("Purchase", "Usage-Based")
        assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]
        assert row["PricingQuantity"] * row["ContractedUnitPrice"] == row["ContractedCost"]
        assert row["PricingQuantity"] * row["ListUnitPrice"] == row["ListCost"]
        assert min(row["ContractedUnitPrice"], row["ListUnitPrice"]) >= 0
    units = found["PricingUnit"]
    assert units.str.contains(rf"^(?:[0-9]+ )?{WORDS}$").all()
    assert sorted(zip(units, found["PricingQuantity"], found["BilledCost"], strict=True)) == [
        ("1000 tokens", Decimal("0.5"), Decimal("0.5")),
        ("1000 tokens", Decimal("1"), Decimal("2.5")),
        ("Units", Decimal("1"), Decimal("20")),
    ]


def test_cost_data_is_the_same_in_every_format(sold: httpx2.Client, run: dict[str, Any]) -> None:
    typed = cost_data(sold, run)
    assert pl.read_ipc_stream(BytesIO(export(sold, run, "focus", ARROW).content)).equals(typed)
    text = pl.read_csv(BytesIO(export(sold, run, "focus").content), infer_schema=False)
    assert text.columns == typed.columns
    assert [Decimal(cost) for cost in text["BilledCost"]] == typed["BilledCost"].to_list()
    assert set(text["BillingPeriodStart"]) == {"2026-10-01T00:00:00Z"}
    lines = [json.loads(line) for line in export(sold, run, "focus", NDJSON).text.splitlines()]
    assert [line["x_ChargeLineId"] for line in lines] == text["x_ChargeLineId"].to_list()
    assert sold.get(f"/v1/rating-runs/{run['id']}/focus", headers={"Accept": "image/png"}).status_code == 406


def test_a_part_of_a_run(sold: httpx2.Client, run: dict[str, Any]) -> None:
    assert cost_data(sold, run, price="tokens/*").height == 2
    assert cost_data(sold, run, price="fee").height == 1
    assert cost_data(sold, run, customer="nobody").is_empty()
    listed = export(sold, run, "lines", price="tokens/*").json()["items"]
    assert [line["price"] for line in listed] == ["tokens/big"]


def test_lines_of_invoices_sum_to_the_run(sold: httpx2.Client, run: dict[str, Any]) -> None:
    sold.put("/v1/customers/acme", json={"name": "Acme Ltd"})
    told = export(sold, run, "invoice-lines", unit="tokens=E34").json()
    [invoice] = told["invoices"]
    assert (invoice["customer_name"], invoice["currency"], invoice["net_total"]) == ("Acme Ltd", "USD", "23.00")
    shown = [(it["item_name"], it["quantity"], it["net_price"], it["base_quantity"]) for it in invoice["lines"]]
    assert shown == [("fee", "1", "20", "1"), ("tokens/big", "1000", "2.5", "1000"), ("tokens/big", "500", "1", "1000")]
    assert [it["net_amount"] for it in invoice["lines"]] == ["20.00", "2.50", "0.50"]
    assert [it["unit_code"] for it in invoice["lines"]] == ["C62", "E34", "E34"]
    assert {(it["period_start"], it["period_end"]) for it in invoice["lines"]} == {("2026-10-01", "2026-10-31")}
    flat = pl.read_csv(BytesIO(export(sold, run, "invoice-lines", CSV).content), infer_schema=False)
    assert flat["net_amount"].to_list() == ["20.00", "2.50", "0.50"]


def test_a_bad_unit_is_refused(sold: httpx2.Client, run: dict[str, Any]) -> None:
    answer = sold.get(f"/v1/rating-runs/{run['id']}/invoice-lines", params={"unit": "tokens"})
    assert answer.status_code == 422
    assert "METER=CODE" in answer.text


def test_a_summary_has_the_sums(sold: httpx2.Client, run: dict[str, Any]) -> None:
    told = export(sold, run, "summary", limit=0).json()
    assert told["totals"] == [{"currency": "USD", "lines": 2, "customers": 1, "events": 5, "rounded_amount": "23"}]
    assert [(it["price"], it["rounded_amount"]) for it in told["prices"]] == [("fee", "20"), ("tokens/big", "3")]
    assert (told["customers"], told["customers_more"]) == ([], 1)


def test_lines_as_ndjson_are_the_items(sold: httpx2.Client, run: dict[str, Any]) -> None:
    text = export(sold, run, "lines", NDJSON).text
    assert [json.loads(line) for line in text.splitlines()] == export(sold, run, "lines").json()["items"]


@pytest.mark.parametrize("form", ["focus", "invoice-lines", "summary"])
def test_there_is_no_export_of_no_run(sold: httpx2.Client, form: str) -> None:
    assert sold.get(f"/v1/rating-runs/run_x/{form}").status_code == 404


def test_a_run_without_lines_has_empty_exports(client: httpx2.Client) -> None:
    client.put("/v1/catalog", json={"tallystick": 1, "currencies": ["USD"], "meters": {}, "prices": {}, "plans": {}})
    run = rate(client)
    assert export(client, run, "invoice-lines").json()["invoices"] == []
    assert cost_data(client, run).is_empty()
    assert export(client, run, "focus").text.count("\n") == 1
    assert export(client, run, "summary").json()["totals"] == []
