"""What goes in and out over HTTP about entitlements: grants, overrides, and where a customer stands."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from api.credit_models import CreditId
from api.models import DecimalText, Input, Key, Output, QuotaOut
from rating.core.quota.windows import INTERVAL

Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}(\.[0-9]{1,9})?$"), Field(examples=["1000"])]
Interval = Annotated[str, StringConstraints(pattern=f"^{INTERVAL.pattern}$"), Field(examples=["1mo"])]


class QuotaGrantIn(Input):
    """An amount of a feature beside what the plans give."""

    id: CreditId | None = Field(None, description="chosen by you: the same grant again changes nothing")
    feature: Key = Field(examples=["tokens"])
    amount: Quantity
    priority: int = Field(100, ge=0, le=1_000_000, description="the smaller is burnt first; limits of plans have 100")
    effective_at: AwareDatetime | None = Field(None, description="now, unless given")
    expires_at: AwareDatetime | None = Field(None, description="exclusive; it does not expire unless given")
    recurs_every: Interval | None = Field(None, description="what is left is replaced by the whole")
    recurs_from: AwareDatetime | None = Field(None, description="that is counted from here; `effective_at`, by default")
    rollover_minimum: Quantity | None = Field(None, description="what is left when a window ends is raised to this")
    rollover_maximum: Quantity | None = Field(None, description="no more is kept when a window ends; all, by default")


class QuotaGrantOut(Output):
    id: str
    customer: str
    feature: str
    amount: DecimalText
    priority: int
    created_at: datetime
    effective_at: datetime
    expires_at: datetime | None
    voided_at: datetime | None
    recurs_every: str | None
    recurs_from: datetime | None
    rollover_minimum: DecimalText | None
    rollover_maximum: DecimalText | None


class QuotaGrantPage(Output):
    items: list[QuotaGrantOut]
    next: str | None = Field(description="`after` of the next page; null on the last")


class OverrideIn(Input):
    """What stands in for the plans of a customer. Exactly one of `limit` and `included`."""

    limit: Quantity | None = Field(None, description="in each window; null: without a limit")
    included: bool | None = Field(None, description="whether a feature is there that is there or not")
    enforcement: Literal["hard", "soft"] | dict[Literal["grace"], Quantity] | None = Field(
        None, description="as the plan says, unless given", examples=["soft", {"grace": "100"}]
    )
    window: str | dict[str, Any] | None = Field(
        None, description="as in the catalog; as the plan says, unless given", examples=["day", {"every": "2w"}]
    )
    effective_at: AwareDatetime | None = Field(None, description="now, unless given")
    expires_at: AwareDatetime | None = Field(None, description="exclusive; until it is deleted, unless given")
    reason: str = Field("", max_length=1024, description="why, to show")

    @model_validator(mode="after")
    def _says_one_thing(self) -> "OverrideIn":
        if ("limit" in self.model_fields_set) == (self.included is not None):
            raise ValueError("give one of `limit` (null: without a limit) and `included`")
        if self.included is not None and (self.enforcement is not None or self.window is not None):
            raise ValueError("`enforcement` and `window` go with a `limit`")
        return self


class OverrideOut(Output):
    id: str
    customer: str
    subject: str | None = Field(description="whose own limit it is; null: the customer's")
    feature: str
    limit: DecimalText | None = Field(description="null: without a limit")
    included: bool | None = Field(description="of a feature that is there or not")
    enforcement: str | None
    grace: DecimalText | None
    window: dict[str, Any] | None
    effective_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    reason: str


class OverridePage(Output):
    items: list[OverrideOut]


class GrantLeft(Output):
    """A grant of an entitlement and what is left of it; `id` null is the limit of the window."""

    id: str | None
    left: DecimalText


class EntitlementOut(QuotaOut):
    """What a customer may use of one feature: the answer to a check of nothing more."""

    grants: list[GrantLeft] = Field(description="in the order in which they are burnt; empty for a limit alone")


class EntitlementPage(Output):
    at: datetime
    items: list[EntitlementOut]
