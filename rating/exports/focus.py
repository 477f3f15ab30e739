"""Charge lines as cost data: FOCUS 1.2 (FinOps Open Cost and Usage Specification), its dataset Cost and Usage.

A row is an item (items.py): what FOCUS demands of the product of unit price and quantity holds of each by itself.

    BilledCost, EffectiveCost   the item's share of the rounded amount: what is invoiced
    ContractedCost, ListCost    PricingQuantity x unit price, exact
    PricingQuantity             in the PricingUnit, which is what the unit price is for: `1000 tokens`
    ConsumedQuantity            what the meter counted, in single units; of a line of several items on the first one

A discount, a minimum or a credit is a charge of its own, so the list price and the contracted one are the same.
Columns for what there is not (regions, commitments, tags) are left out, as the specification has them conditional;
what is not of it begins with `x_`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from rating.core.money import quotient
from rating.core.schema import AMOUNT, INSTANT
from rating.exports.items import items
from rating.exports.wording import item_description, item_name

FOCUS = pl.Schema(
    {
        "BilledCost": AMOUNT,
        "BillingAccountId": pl.String(),
        "BillingAccountName": pl.String(),
        "BillingCurrency": pl.String(),
        "BillingPeriodEnd": INSTANT,
        "BillingPeriodStart": INSTANT,
        "ChargeCategory": pl.String(),
        "ChargeClass": pl.String(),
        "ChargeDescription": pl.String(),
        "ChargeFrequency": pl.String(),
        "ChargePeriodEnd": INSTANT,
        "ChargePeriodStart": INSTANT,
        "ConsumedQuantity": AMOUNT,
        "ConsumedUnit": pl.String(),
        "ContractedCost": AMOUNT,
        "ContractedUnitPrice": AMOUNT,
        "EffectiveCost": AMOUNT,
        "InvoiceId": pl.String(),
        "InvoiceIssuerName": pl.String(),
        "ListCost": AMOUNT,
        "ListUnitPrice": AMOUNT,
        "PricingCategory": pl.String(),
        "PricingQuantity": AMOUNT,
        "PricingUnit": pl.String(),
        "ProviderName": pl.String(),
        "PublisherName": pl.String(),
        "ResourceId": pl.String(),
        "ResourceName": pl.String(),
        "ResourceType": pl.String(),
        "ServiceCategory": pl.String(),
        "ServiceName": pl.String(),
        "ServiceSubcategory": pl.String(),
        "SkuId": pl.String(),
        "SkuMeter": pl.String(),
        "SkuPriceDetails": pl.String(),
        "SkuPriceId": pl.String(),
        "SubAccountId": pl.String(),
        "SubAccountName": pl.String(),
        "x_ChargeLineId": pl.String(),
        "x_Dimensions": pl.String(),  # JSON object of the dimensions that the price matches or is grouped by
        "x_Kind": pl.String(),  # of the charge line
        "x_RatingRunId": pl.String(),
    }
)
"""One row is one charge. Source: the columns of FOCUS 1.2; `x_` are ours."""

CATEGORY = {"usage": "Usage", "fee": "Purchase", "discount": "Credit", "maximum": "Credit", "credit": "Credit"}
"""Kinds of lines as charge categories; every other kind is an Adjustment."""

_UNITS = "Units"


@dataclass(frozen=True)
class FocusTerms:
    """What charge lines do not know: who issues the invoice, the minor units of currencies, which prices are fees that
    are paid once, and the names of customers (`customer`, `name`)."""

    issuer: str
    digits: Mapping[str, int]
    paid_once: Collection[str]
    names: pl.DataFrame


def focus(lines: pl.DataFrame, terms: FocusTerms) -> pl.DataFrame:
    """FOCUS of charge lines (STORED_LINE), sorted by line and item."""
    charges = (
        items(lines, terms.digits)
        .rename({"quantity": "item_quantity", "amount": "item_amount"})
        .join(lines, on="line", validate="m:1")
        .join(terms.names, left_on="billed_to", right_on="customer", how="left", validate="m:1")
        .with_columns(category=_category())
    )
    columns = {**_parties(terms), **_time(terms), **_costs(), **_quantities(), **_names()}
    sorted_charges = charges.sort("line", "item")
    return sorted_charges.select(columns[name].cast(dtype).alias(name) for name, dtype in FOCUS.items())


def _parties(terms: FocusTerms) -> dict[str, pl.Expr]:
    issuer = pl.lit(terms.issuer)
    return {
        "BillingAccountId": pl.col("billed_to"),
        "BillingAccountName": pl.coalesce("name", "billed_to"),
        "InvoiceId": pl.lit(None),
        "InvoiceIssuerName": issuer,
        "ProviderName": issuer,
        "PublisherName": issuer,
        "SubAccountId": pl.col("subscription"),
        "SubAccountName": pl.col("subscription"),
    }


def _time(terms: FocusTerms) -> dict[str, pl.Expr]:
    is_once = pl.col("price").is_in(list(terms.paid_once)).fill_null(False) | (pl.col("kind") == "credit")
    once = pl.when(is_once).then(pl.lit("One-Time")).otherwise(pl.lit("Recurring"))
    return {
        "BillingPeriodStart": pl.col("period_start"),
        "BillingPeriodEnd": pl.col("period_end"),
        "ChargePeriodStart": pl.col("service_start"),
        "ChargePeriodEnd": pl.col("service_end"),
        "ChargeFrequency": pl.when(pl.col("kind") == "usage").then(pl.lit("Usage-Based")).otherwise(once),
    }


def _costs() -> dict[str, pl.Expr]:
    costs = {"BilledCost": "net_amount", "EffectiveCost": "net_amount"}
    exact = {"ContractedCost": "item_amount", "ListCost": "item_amount"}
    prices = {"ContractedUnitPrice": "unit_price", "ListUnitPrice": "unit_price"}
    return {
        **{name: pl.col(column) for name, column in {**costs, **exact, **prices}.items()},
        "BillingCurrency": pl.col("currency"),
        "ChargeCategory": pl.col("category"),
        "ChargeClass": pl.when(pl.col("kind") == "adjustment").then(pl.lit("Correction")),
        "PricingCategory": pl.when(_is_bought()).then(pl.lit("Standard")),
    }


def _category() -> pl.Expr:
    """What corrects usage is usage too: its class says that it is a correction."""
    corrects_usage = (pl.col("kind") == "adjustment") & pl.col("meter").is_not_null()
    return (
        pl.when(corrects_usage)
        .then(pl.lit("Usage"))
        .otherwise(pl.col("kind").replace_strict(CATEGORY, default="Adjustment"))
    )


def _quantities() -> dict[str, pl.Expr]:
    is_usage, unit = pl.col("kind") == "usage", _unit()
    counts_units = pl.col("part").is_in(["units", "percent"]) & pl.col("meter").is_not_null()
    packages = pl.when(pl.col("base_quantity") == 1).then(unit).otherwise(pl.format("{} {}", "base_quantity", unit))
    consumed = pl.when(pl.col("item") == 0).then(pl.col("quantity").cast(AMOUNT)).otherwise(pl.lit(0, dtype=AMOUNT))
    return {
        "ConsumedQuantity": pl.when(is_usage).then(consumed),
        "ConsumedUnit": pl.when(is_usage).then(unit),
        "PricingQuantity": quotient(pl.col("item_quantity"), pl.col("base_quantity")),
        "PricingUnit": pl.when(counts_units).then(packages).otherwise(pl.lit(_UNITS)),
    }


def _unit() -> pl.Expr:
    """What a meter counts, in words: the format of units has no other characters than letters, digits and spaces, and
    words begin with letters."""
    words = pl.col("meter").str.replace_all("[^A-Za-z0-9]+", " ").str.strip_chars()
    return (
        pl.when(words.str.contains(r"^[A-Za-z][A-Za-z0-9]*( [A-Za-z][A-Za-z0-9]*)*$"))
        .then(words)
        .otherwise(pl.lit(_UNITS))
    )


def _names() -> dict[str, pl.Expr]:
    described = pl.concat_str([item_name(), item_description()], separator=", ", ignore_nulls=True)
    window = pl.when(pl.col("window").is_not_null()).then(pl.format("window {}", "window"))
    tier = pl.when(pl.col("tier").is_not_null()).then(pl.format("tier {}", pl.col("tier") + 1))
    version = pl.format("version {}", pl.col("price_version") + 1)
    price_id = pl.concat_str(
        [pl.col("price"), version, window, tier, pl.col("part")], separator=", ", ignore_nulls=True
    )
    nothing = pl.lit(None)
    return {
        "ChargeDescription": described,
        "ResourceId": nothing,
        "ResourceName": nothing,
        "ResourceType": nothing,
        "ServiceCategory": pl.lit("Other"),
        "ServiceName": pl.col("plan"),
        "ServiceSubcategory": pl.lit("Other (Other)"),
        "SkuId": pl.when(_is_bought()).then("price"),
        "SkuMeter": pl.when(_is_bought()).then(pl.coalesce("meter", "price")),
        "SkuPriceDetails": nothing,
        "SkuPriceId": pl.when(_is_bought()).then(price_id),
        "x_ChargeLineId": pl.col("line"),
        "x_Dimensions": pl.col("group"),
        "x_Kind": pl.col("kind"),
        "x_RatingRunId": pl.col("run"),
    }


def _is_bought() -> pl.Expr:
    return pl.col("category").is_in(["Usage", "Purchase"])
