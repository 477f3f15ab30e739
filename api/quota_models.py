"""What quota checks take and give over HTTP, beside QuotaOut."""

from datetime import datetime

from pydantic import Field

from api.models import DecimalText, Input, Output
from api.quota_questions import AMOUNT_PATTERN
from rating.core.quota.answer import Reason, Scope


class QuotaAsked(Input):
    subject: str = Field(description="`subject` of usage events", examples=["acme"])
    feature: str = Field(description="key of a feature of the catalog", examples=["tokens"])
    amount: str = Field("0", description="how much more it wants to use, as text", pattern=f"^{AMOUNT_PATTERN}$")


class QuotaAnswered(Output):
    """Whether a subject may use `amount` more of a feature; quantities are in the unit of the feature's meter."""

    subject: str
    feature: str
    amount: DecimalText
    allowed: bool
    reason: Reason
    customer: str | None
    scope: Scope | None
    limit: DecimalText | None
    used: DecimalText | None
    reserved: DecimalText | None
    remaining: DecimalText | None
    resets_at: datetime | None


class QuotasAnswered(Output):
    """In the order in which they were asked."""

    items: list[QuotaAnswered]
