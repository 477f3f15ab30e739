"""What the exports of charge lines answer as JSON."""

from datetime import date

from pydantic import Field

from api.models import DecimalText, Output


class InvoiceLineOut(Output):
    """One invoice line; BT are the business terms of EN 16931."""

    line_number: int = Field(description="BT-126, from 1")
    charge_line: str = Field(description="BT-128: the charge line that it is of")
    quantity: DecimalText = Field(description="BT-129")
    unit_code: str = Field(description="BT-130, UN/ECE Recommendation 20", examples=["C62"])
    net_amount: DecimalText = Field(description="BT-131, with the digits of the currency")
    period_start: date = Field(description="BT-134, by the customer's calendar")
    period_end: date = Field(description="BT-135, the last day")
    net_price: DecimalText = Field(description="BT-146, for `base_quantity`")
    base_quantity: DecimalText = Field(description="BT-149")
    base_unit_code: str = Field(description="BT-150")
    item_name: str = Field(description="BT-153")
    item_description: str | None = Field(description="BT-154")
    item_id: str | None = Field(description="BT-155: the price; null for what is of the plan")


class InvoiceOut(Output):
    customer: str = Field(description="BT-46")
    customer_name: str = Field(description="BT-44")
    currency: str = Field(description="BT-5")
    net_total: DecimalText = Field(description="BT-106: the sum of its lines")
    lines: list[InvoiceLineOut]


class InvoicesOut(Output):
    run: str
    invoices: list[InvoiceOut] = Field(description="one for each customer and currency")


class SumOut(Output):
    lines: int
    events: int
    rounded_amount: DecimalText


class CurrencySum(SumOut):
    currency: str
    customers: int


class PriceSum(CurrencySum):
    kind: str
    price: str | None
    plan: str | None = Field(description="where there is no price: what is charged for the plan")


class CustomerSum(SumOut):
    customer: str
    currency: str


class SummaryOut(Output):
    """What a run charges, the largest amounts first."""

    run: str
    totals: list[CurrencySum]
    prices: list[PriceSum]
    customers: list[CustomerSum]
    customers_more: int = Field(description="how many more there are")
