"""What goes in and out over HTTP about prepaid credits; amounts are plain decimal strings."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from api.models import DecimalText, Input, Key, Output
from rating.core.credits.recurrence import INTERVAL

SCOPE_MAX = 1_000

CreditId = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^/\x00-\x1f\x7f]+$")]
"""Chosen by the caller, so that a request can be sent again; a slash is in the ids of grants of plans alone."""

Positive = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}(\.[0-9]{1,12})?$"), Field(examples=["50"])]
Names = Annotated[list[Key], Field(max_length=SCOPE_MAX)]


class GrantIn(Input):
    """A grant of money (`amount` and `currency`) or of units of usage (`units`)."""

    id: CreditId = Field(examples=["order-1024"])
    kind: Literal["grant", "top_up"] = Field("grant", description="what its first entry in the ledger is called")
    amount: Positive | None = None
    currency: str | None = Field(None, pattern="^[A-Z]{3}$", examples=["USD"])
    units: Positive | None = None
    priority: int = Field(100, ge=0, le=1_000_000, description="the smaller is burnt first")
    effective_at: AwareDatetime | None = Field(None, description="now, unless given")
    expires_at: AwareDatetime | None = Field(None, description="exclusive; it does not expire unless given")
    subscription: Key | None = Field(None, description="it pays for this subscription only")
    features: Names = Field([], description="it pays usage of these only, and of `meters`")
    meters: Names = Field([], description="it pays usage of these only, and of `features`")
    prices: Names = Field([], description="it pays lines of these only; a trailing `*` stands for anything")
    increment: Positive | None = Field(None, description="it pays usage in whole steps of so much")
    factor: Positive | None = Field(None, description="what one unit of usage takes of it; with `increment`")
    recurs_every: str | None = Field(
        None, max_length=6, pattern=INTERVAL, description="what is left is replaced by the whole", examples=["1mo"]
    )
    recurs_from: AwareDatetime | None = Field(None, description="that is counted from here; `effective_at`, by default")
    rollover_minimum: Positive | None = Field(None, description="what is left at a period's end is raised to this")
    rollover_maximum: Positive | None = Field(None, description="no more is kept at a period's end")
    cost_basis: Positive | None = Field(None, description="what was paid for one unit of it, to show")

    @model_validator(mode="after")
    def _has_one_unit(self) -> "GrantIn":
        in_money = self.amount is not None and self.currency is not None and self.units is None
        in_units = self.units is not None and self.amount is None and self.currency is None
        if not (in_money or in_units):
            raise ValueError("give `amount` and `currency`, or `units`")
        return self


class GrantOut(Output):
    """A grant, as it was recorded."""

    id: str
    customer: str
    by: Literal["customer", "plan"] = Field(description="who granted it: recorded for the customer, or by its plan")
    kind: Literal["grant", "top_up"]
    unit: str = Field(description="a currency, or `units`", examples=["USD", "units"])
    amount: DecimalText
    priority: int
    created_at: datetime
    effective_at: datetime
    expires_at: datetime | None
    voided_at: datetime | None
    subscription: str | None
    meters: list[str] | None = Field(description="those of its features included; null is all")
    prices: list[str] | None = Field(description="null is all")
    increment: DecimalText | None
    factor: DecimalText | None
    recurs_every: str | None
    recurs_from: datetime | None
    rollover_minimum: DecimalText | None
    rollover_maximum: DecimalText | None
    cost_basis: DecimalText | None


class GrantStanding(GrantOut):
    """A grant with what is left of it as of now."""

    state: Literal["scheduled", "active", "expired", "voided"]
    balance: DecimalText = Field(description="what is left now; units are burnt event by event")
    pending: DecimalText = Field(description="what the open period so far takes at its end: money pays lines then")
    available: DecimalText = Field(description="`balance` less `pending`, not below zero")


class UnitStanding(Output):
    unit: str
    balance: DecimalText
    pending: DecimalText
    available: DecimalText


class GrantPage(Output):
    items: list[GrantStanding]
    totals: list[UnitStanding] = Field(description="over all grants of the customer, whatever the page")
    next: str | None = Field(description="`after` of the next page; null on the last")


class VoidIn(Input):
    at: AwareDatetime | None = Field(None, description="when what is left is taken: now, unless given, or later")


class RefundIn(Input):
    """Of a line that credits paid: all that they paid and that is not refunded yet, unless `amount` says how much."""

    id: CreditId = Field(examples=["ticket-77"])
    amount: Positive | None = Field(None, description="in the unit of what paid: money, or units of usage")
    unit: str | None = Field(None, description="which, where a line was paid in money and in units", examples=["USD"])
    event: int | None = Field(None, ge=0, le=2**63 - 1, description="only what units paid of this event: its sequence")


class RefundPartOut(Output):
    grant: str
    event: int | None
    amount: DecimalText = Field(description="what the grant gets back")
    covered: DecimalText = Field(description="what that is of the line; a part of a started step gives nothing back")


class RefundOut(Output):
    """Who gets what back. A grant that has ended gets it too, and it expires at once."""

    id: str
    customer: str
    line: str
    unit: str
    amount: DecimalText
    run: str = Field(description="whose ledger said which grants paid")
    refunded_at: datetime
    parts: list[RefundPartOut]


class LedgerEvent(Output):
    sequence: int
    source: str | None
    id: str | None


class LedgerEntry(Output):
    """One change of one grant."""

    entry: int
    time: datetime
    unit: str
    grant: str
    kind: Literal["opening", "grant", "top_up", "burn", "refund", "expiry", "void", "rollover", "closing"]
    line: str | None = Field(description="the charge line that was paid")
    event: LedgerEvent | None = Field(description="the usage event that was paid, where units pay")
    refund: str | None
    amount: DecimalText = Field(description="what it changed, positive into the grant")
    covered: DecimalText | None = Field(description="what that is of the line or the event")
    balance_before: DecimalText
    balance_after: DecimalText
    cost_basis: DecimalText | None


class LedgerPage(Output):
    run: str
    period: str
    items: list[LedgerEntry]
    next: int | None = Field(description="`after` of the next page; null on the last")
