"""What goes in and out over HTTP about webhooks and states of customers."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from api.models import DecimalText, Input, Key, Moment, Output
from api.webhooks.resolving import URL_MAX

NAMES_MAX = 1_000

Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=URL_MAX),
    Field(examples=["https://hooks.example.com/tallystick"], description="where signals are posted: https"),
]
Types = Annotated[
    list[Key], Field(max_length=NAMES_MAX, description="of signals; empty is all", examples=[["quota.exhausted"]])
]
Customers = Annotated[list[Key], Field(max_length=NAMES_MAX, description="whose signals; empty is all")]


class EndpointIn(Input):
    url: Url
    types: Types = Field([])
    customers: Customers = Field([])


class EndpointChange(Input):
    """What is given is changed."""

    url: Url | None = None
    types: Types | None = None
    customers: Customers | None = None
    state: Literal["active", "paused"] | None = Field(None, description="paused: nothing is sent, and nothing is lost")


class EndpointOut(Output):
    id: str
    url: str
    types: list[str]
    customers: list[str]
    state: Literal["active", "paused", "disabled"]
    reason: str | None = Field(description="why it is disabled")
    cursor: int = Field(description="the signals up to this sequence have become deliveries")
    secret_before_until: datetime | None = Field(description="until then the secret of before signs, too")
    created_at: datetime


class EndpointWithSecret(EndpointOut):
    secret: str = Field(description="shown this once", examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class EndpointPage(Output):
    items: list[EndpointOut]
    next: str | None = Field(description="always null: there is one page")


class RotateIn(Input):
    hours: int = Field(24, ge=0, le=24 * 30, description="for so long the secret of before signs, too")


class TestOut(Output):
    """What became of the test. The answer of the receiver is not shown."""

    status: int | None = Field(description="what the receiver answered; null where it did not")
    error: str | None
    milliseconds: int


class ReplayIn(Input):
    """Either the signals behind `after` (up to `until`, if given), or what was given up (`dead`)."""

    after: int | None = Field(None, ge=0, le=2**63 - 1, description="sequence of a signal; 0 is from the first")
    until: int | None = Field(None, ge=0, le=2**63 - 1, description="the last one, included")
    dead: bool = False


class ReplayOut(Output):
    replayed: int = Field(description="deliveries that are made again")
    next: int | None = Field(description="there was no room for more: go on with `after`; null when these are all")


class AttemptOut(Output):
    at: datetime
    status: int | None
    error: str | None
    milliseconds: int


class DeliveryOut(Output):
    signal: int = Field(description="sequence of the signal")
    customer: str
    state: Literal["waiting", "delivered", "dead"]
    attempts: int
    next_at: datetime | None
    last_status: int | None
    last_error: str | None
    delivered_at: datetime | None
    tries: list[AttemptOut] = Field(description="those that are still in the log, the oldest first")


class DeliveryPage(Output):
    items: list[DeliveryOut]
    next: int | None = Field(description="`after` of the next page; null on the last")


class StateIn(Input):
    id: Key | None = Field(None, description="chosen by you: the same request again changes nothing")
    state: Literal["suspended", "restricted", "overage"]
    features: list[Key] = Field([], max_length=NAMES_MAX, description="empty is all")
    plan: Key | None = Field(None, description="restricted: the plan whose limits hold")
    amount: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}(\.[0-9]{1,9})?$")] | None = Field(
        None, description="overage: how much above the limit may be used", examples=["100000"]
    )
    reason: str = Field(min_length=1, max_length=1024, description="shown to whoever is refused")
    until: Moment | None = Field(None, description="exclusive; until it is ended, unless given")


class StateOut(Output):
    id: str
    customer: str
    state: Literal["suspended", "restricted", "overage"]
    features: list[str]
    plan: str | None
    amount: DecimalText | None
    reason: str
    since: datetime
    until: datetime | None
    signal: str | None = Field(description="the signal that led to it; null where a person asked for it")
    ended_at: datetime | None
    ended_because: Literal["until", "asked", "reset", "top_up", "plan_change", "correction"] | None


class StatePage(Output):
    items: list[StateOut]
    next: str | None = Field(description="`after` of the next page; null on the last")
