"""What a check for leaks answers over HTTP."""

from datetime import datetime

from pydantic import Field

from api.models import DecimalText, Output


class RuleOut(Output):
    """When usage is out of line with its own history (docs/checks.md)."""

    months: int
    months_min: int
    drop: DecimalText
    spike: DecimalText
    deviations: DecimalText


class FindingOut(Output):
    """One finding; what it does not have is left out."""

    kind: str
    customer: str | None = None
    subject: str | None = None
    subscription: str | None = None
    plan: str | None = None
    meter: str | None = None
    group: str | None = Field(None, description="JSON object of the meter's dimensions")
    type: str | None = Field(None, description="of the events")
    quantity: DecimalText | None = None
    expected: DecimalText | None = Field(None, description="the median of the months before")
    months: int | None = Field(None, description="of history, from the first with usage on")
    events: int | None = None
    first: datetime | None = None
    last: datetime | None = None
    currency: str | None = None
    amount: DecimalText | None = Field(None, description="at stake, an estimate; absent where no price is known")


class AtStakeOut(Output):
    currency: str
    amount: DecimalText


class FoundOut(Output):
    found: int = Field(description="all of them, also those that are not in `items`")
    events: int
    items: list[FindingOut] = Field(description="the largest")


class KindOut(FoundOut):
    kind: str = Field(examples=["unpriced"])
    what: str
    do: str = Field(description="what to do about it")
    at_stake: list[AtStakeOut]


class CheckOut(Output):
    """What leaks in a period."""

    period: str
    until: datetime = Field(description="as far as the period is over; history is compared as far")
    catalog_version: str
    rule: RuleOut
    found: int = Field(description="all findings of all kinds")
    checks: list[KindOut]
    too_little_history: FoundOut
    not_compared: list[str] = Field(description="meters whose quantity depends on what lies between events")
