"""What goes in and out over HTTP about usage that is consumed or leased; amounts are plain decimal strings."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from api.feature_events import Value
from api.models import DecimalText, Input, Key, Moment, Output, QuotaOut

DATA_MAX = 64


def _digits(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


AMOUNT_PATTERN = r"^[0-9]{1,16}(\.[0-9]{1,9})?$"
Amount = Annotated[
    str,
    BeforeValidator(_digits, json_schema_input_type=str | int),
    StringConstraints(pattern=AMOUNT_PATTERN),
    Field(examples=["1200"]),
]
"""How much of a feature: digits as text, or a whole number."""

Data = Annotated[dict[Key, Value], Field(max_length=DATA_MAX)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ConsumeIn(Input):
    """An amount of a feature, and the identity under which it is recorded."""

    id: Text = Field(examples=["req-0001"])
    source: Text = Field(examples=["gateway-1"])
    subject: Text = Field(examples=["acme"])
    feature: Key = Field(examples=["tokens"])
    amount: Amount
    time: Moment | None = Field(None, description="when it was used; now, unless given")
    data: Data = Field({}, description="further properties; decimals as text")
    was_used: bool = Field(False, description="it has been used already: record it, also where there is no room for it")


class ConsumeOut(Output):
    """Whether the usage was taken. What was not taken is not recorded."""

    allowed: bool
    duplicate: bool = Field(description="it was taken before: nothing has changed")
    items: list[QuotaOut] = Field(description="each quota that it counts in; those that refuse it, where they do")


LeaseId = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^/\x00-\x1f\x7f]+$")]
Sequence = Annotated[int, Field(ge=1, le=2**62, description="rises from report to report; gaps are fine")]
SEQUENCE_HELP = "cumulative: of the whole time since the lease was made"


class LeaseIn(Input):
    """A slice of a quota for a gateway to spend by itself, or what a single call may use at most."""

    id: LeaseId | None = Field(None, description="chosen by the caller so that the request can be sent again")
    subject: Text = Field(examples=["acme"])
    feature: Key = Field(examples=["tokens"])
    amount: Amount
    minimum: Amount | None = Field(None, description="less than this is refused; `amount`, unless given")
    seconds: int = Field(60, ge=1, description="for which it is valid; its window may end before")
    records: Literal["usage", "nothing"] = Field(
        "usage", description="what reports become: events; or nothing, where the caller sends events before it reports"
    )
    data: Data = Field({}, description="further properties of the events that it records; decimals as text")


class ReportIn(Input):
    sequence: Sequence
    used: Amount = Field(description=SEQUENCE_HELP)
    at: Moment | None = Field(None, description="when it was used: at most the end of the lease; now, unless given")
    data: Data = Field({}, description="further properties of its event; decimals as text")
    renew: Amount | None = Field(None, description="bring what is left up to this, where there is room; and the time")


class ReleaseIn(Input):
    """The last report, or nothing when the one before said all."""

    sequence: Sequence | None = Field(None, description="one more than the last, unless given")
    used: Amount | None = Field(None, description=f"{SEQUENCE_HELP}; as reported last, unless given")
    at: Moment | None = Field(None, description="as in a report")
    data: Data = Field({}, description="as in a report")


class LeasedQuota(Output):
    """The quota of a lease, as it is now."""

    limit: DecimalText | None
    used: DecimalText | None
    reserved: DecimalText | None = Field(description="by all open leases: the most that they can still use")
    remaining: DecimalText | None
    resets_at: datetime | None


class LeaseOut(Output):
    """A lease, as it is now. Quantities are in the unit of the feature's meter."""

    id: str
    subject: str
    customer: str
    feature: str
    granted: DecimalText = Field(description="cumulative: the slice and what renewals have added")
    used: DecimalText = Field(description="cumulative: by the newest report")
    sequence: int = Field(description="of the newest report; 0 before the first")
    records: Literal["usage", "nothing"]
    renew_at: DecimalText = Field(description="what is used when it is time to renew")
    expires_at: datetime
    expires_in: float = Field(description="seconds until then, for callers whose clock may be wrong")
    state: Literal["open", "released", "expired"]
    overspent: DecimalText = Field(description="what was used above `granted`")
    quota: LeasedQuota | None = Field(description="null in a list")


class LeasePage(Output):
    items: list[LeaseOut]
    next: str | None = Field(description="`after` of the next page; null on the last")
