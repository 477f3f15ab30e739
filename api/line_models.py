"""The JSON of charge lines, of their arithmetic and of the events behind them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.models import DecimalText, Output


class TierOut(Output):
    """What one tier (from, to] adds to a line: `quantity` at `unit_amount` for `per`, and `flat_count` flat amounts."""

    tier: int
    from_quantity: DecimalText
    to_quantity: DecimalText | None
    quantity: DecimalText
    unit_amount: DecimalText
    per: int
    flat_amount: DecimalText
    flat_count: DecimalText
    percent: DecimalText
    amount: DecimalText


class OperationOut(Output):
    operator: Literal[
        "weight", "allow", "partition", "clamp", "compose", "prorate", "credit", "round", "tier", "restate"
    ]
    level: Literal["event", "day", "line", "price", "plan", "subscription"] = Field(
        description="whether it acted on each event, each day or the line"
    )
    on: Literal["quantity", "amount", "shown"]
    before: DecimalText
    after: DecimalText
    numbers: str = Field(description="its parameters, a JSON object of strings")


class ChargeOut(Output):
    """One rated amount, rounded once."""

    line: str = Field(description="derived from the line's content: stable over reruns")
    kind: Literal["usage", "fee", "minimum", "maximum", "discount", "surcharge", "commitment", "credit", "adjustment"]
    customer: str
    billed_to: str = Field(description="the customer who pays: the parent, where there is one")
    subscription: str
    item: str = Field(description="`plan`, or the key of an add-on")
    plan: str
    price: str | None = Field(description="null for an adjustment of the plan")
    price_version: int | None
    effective_from: datetime | None
    window: int | None
    model: str | None
    adjustment: int | None = Field(description="its place among those of its price or plan; null for usage and fees")
    grant: str | None = Field(description="the grant that paid; null but for a credit")
    pays: str | None = Field(description="the line that a credit paid something of; null for all others")
    adjusts: str | None = Field(description="the billed line that an adjustment changes; null for all others")
    meter: str | None
    group: dict[str, str | None]
    period: str = Field(description="the billing period: 2026-10, or 2026-10-15/2026-11-15")
    period_start: datetime
    period_end: datetime
    service_start: datetime = Field(description="the part of the period that the line is for, from here ...")
    service_end: datetime = Field(description="... to here, exclusive")
    quantity: DecimalText
    events: int
    amount: DecimalText = Field(description="exact")
    rounded_amount: DecimalText = Field(description="in the currency's minor unit")
    currency: str
    rounding: str
    size: str | None = Field(description="the property that measured each event, where that chose the tier")
    tiers: list[TierOut]
    operations: list[OperationOut] = Field(description="what the operators before and behind the tiers did")


class LineOut(ChargeOut):
    """A charge of a run."""

    run: str


class LinePage(Output):
    items: list[LineOut]
    next: str | None


class OpenPeriodOut(Output):
    """The billing period [from, to) in which a subscription is."""

    subscription: str
    period: str = Field(description="what it is called: 2026-10, or 2026-10-15/2026-11-15")
    time_zone: str
    from_: datetime = Field(alias="from")
    to: datetime


class ChargeTotalOut(Output):
    currency: str
    lines: int
    amount: DecimalText = Field(description="exact")
    rounded_amount: DecimalText
    drift: DecimalText = Field(description="of the rounded amounts from the rounded sum of the exact ones")


class CurrentChargesOut(Output):
    """What a customer's open billing periods come to; empty lists where no subscription is in one."""

    customer: str
    as_of: datetime
    last_sequence: int = Field(description="of the newest event that is counted")
    periods: list[OpenPeriodOut]
    totals: list[ChargeTotalOut]
    items: list[ChargeOut]


class StepOut(Output):
    name: Literal[
        "minimum",
        "maximum",
        "discount",
        "surcharge",
        "commitment",
        "credit",
        "adjustment",
        "meter",
        "rate",
        "weight",
        "allow",
        "partition",
        "tier",
        "sum",
        "clamp",
        "compose",
        "prorate",
        "round",
    ]
    text: str = Field(description="what was done, in words and numbers")
    result: str
    unit: str | None = Field(description="of `before` and `after`: a currency, or null for quantities")
    before: DecimalText | None = Field(description="of a tier its quantity; null where a step has none")
    after: DecimalText | None


class EventBehind(Output):
    """A usage event with its share of a charge line."""

    sequence: int
    source: str
    id: str
    type: str
    subject: str
    time: datetime
    received_at: datetime
    data: dict[str, Any]
    quantity: DecimalText = Field(description="of the line's metered quantity")
    amount: DecimalText = Field(description="of the line's exact amount")


class EventBehindPage(Output):
    items: list[EventBehind]
    next: int | None = Field(description="`after` of the next page; null on the last")


class EventsBehindOut(Output):
    """The usage events behind a line; `unknown` says why they cannot be found any more."""

    count: int
    first: datetime | None
    last: datetime | None
    download: str = Field(description="where they are, as JSON, NDJSON, CSV, Arrow or Parquet")
    unknown: str | None


class CreditPaidOut(Output):
    """What a grant of prepaid credits paid of a line."""

    line: str | None = Field(description="the credit line; null for units, which are taken off before the price")
    grant: str
    unit: str = Field(description="a currency, or `units` of usage")
    amount: DecimalText
    burns: int = Field(description="in how many payments: one, or one for each event")
    balance_before: DecimalText = Field(description="of the grant, at the first of them")
    balance_after: DecimalText


class Explanation(LineOut):
    steps: list[StepOut] = Field(description="the arithmetic, to be done again by hand; the last step is the rounding")
    paid_by: list[CreditPaidOut] = Field(description="the credits that were burnt for it, in their order")
    events_behind: EventsBehindOut | None = Field(description="null for what no usage is behind: a fee, a discount")
