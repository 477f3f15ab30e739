"""What goes in and out over HTTP about subscriptions over time; seats are plain decimal strings."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Discriminator, Field, StringConstraints, Tag, model_validator

from api.models import DecimalText, Input, Key, Moment, Output

INTERVALS_MAX = 1_000
CHANGES_MAX = 100
STAND_INS_MAX = 1_000

Interval = Literal["day", "week", "month", "year"]
State = Literal["active", "trial", "paused", "ended"]
Seats = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}(\.[0-9]{1,9})?$"), Field(examples=["25"])]

_WORDS = ("now", "period_end")
At = Annotated[
    Annotated[Literal["now", "period_end"], Tag("word")] | Annotated[Moment, Tag("instant")],
    Discriminator(lambda at: "word" if at in _WORDS else "instant"),
]

_ANCHORS = ("change", "calendar")
Anchor = Annotated[
    Annotated[Literal["change", "calendar"], Tag("word")] | Annotated[Moment, Tag("instant")],
    Discriminator(lambda anchor: "word" if anchor in _ANCHORS else "instant"),
]


class CycleIn(Input):
    """Another billing cycle; what is left out of it stays as it was."""

    interval: Interval | Literal["quarter"] | None = Field(None, description="a quarter is kept as three months")
    intervals: int | None = Field(
        None, ge=1, le=INTERVALS_MAX, description="how many of them make a billing period; 1 with another interval"
    )
    anchor: Anchor | None = Field(
        None,
        description="where a billing period begins: `change`, where this takes effect; `calendar`; or an instant",
    )

    @model_validator(mode="after")
    def _says_something(self) -> "CycleIn":
        if self.interval is None and self.intervals is None and self.anchor is None:
            raise ValueError("it changes nothing; give `interval`, `intervals` or `anchor`")
        return self


class SubscriptionIn(Input):
    customer: Key
    plan: Key
    starts_at: Moment = Field(examples=["2026-10-01T00:00:00Z"])
    ends_at: Moment | None = Field(None, description="exclusive; an open end unless given")
    interval: Interval | Literal["quarter"] = Field("month", description="a quarter is kept as three months")
    intervals: int = Field(1, ge=1, le=INTERVALS_MAX, description="how many of them make a billing period")
    anchor: Moment | None = Field(None, description="where a billing period begins; on the calendar unless given")
    seats: Seats = Field("1", description="of its plan")
    trial_ends_at: Moment | None = Field(None, description="exclusive; until then nothing is charged")


class SubscriptionWithKey(SubscriptionIn):
    key: Key


class SubscriptionOut(Output):
    """What was agreed at first; `/changes` has what was agreed since, and `/timeline` what holds when."""

    key: str
    customer: str
    plan: str
    starts_at: datetime
    ends_at: datetime | None
    interval: Interval
    intervals: int
    anchor: datetime | None
    seats: DecimalText
    trial_ends_at: datetime | None


class SubscriptionPage(Output):
    items: list[SubscriptionOut]
    next: str | None


class SubscriptionChangeIn(Input):
    """What is to hold from an instant on; what is left out stays as it was."""

    id: Key | None = Field(None, description="that makes it safe to send again; made up unless given")
    at: At = Field(
        description="an instant, past or to come; `period_end`: the end of the billing period that contains now"
    )
    item: Key | None = Field(
        None, description="an add-on by its key, or `plan`; without it a state is of all items, all else of the plan"
    )
    plan: Key | None = Field(None, description="of the catalog; what an add-on is to have is a plan, too")
    seats: Seats | None = None
    state: State | None = Field(None, description="trial: nothing is charged")
    prices: dict[Key, Key] | None = Field(
        None,
        max_length=STAND_INS_MAX,
        description="in place of these prices of the plan the others hold, instead of all given before; {}: none",
        examples=[{"fee": "fee/old"}],
    )

    cycle: CycleIn | None = Field(None, description="of the whole subscription: its billing periods from then on")

    @model_validator(mode="after")
    def _changes_one_thing(self) -> "SubscriptionChangeIn":
        of_item = [name for name in ("plan", "seats", "prices") if getattr(self, name) is not None]
        if not of_item and self.state is None and self.cycle is None:
            raise ValueError("it changes nothing; give `plan`, `seats`, `state`, `prices` or `cycle`")
        if self.cycle is not None and self.item not in (None, "plan"):
            raise ValueError("`cycle` is of the whole subscription: leave `item` out, or send two changes at once")
        if of_item and self.state is not None and self.item is None:
            raise ValueError(
                f"`state` is of all items and `{of_item[0]}` of one: give `item` for both, or send two changes at once"
            )
        return self


def _number(changes: Any) -> str:
    return "many" if isinstance(changes, list) else "one"


OneOrMany = Annotated[
    Annotated[SubscriptionChangeIn, Tag("one")]
    | Annotated[list[SubscriptionChangeIn], Field(min_length=1, max_length=CHANGES_MAX), Tag("many")],
    Discriminator(_number),
]


class SubscriptionChangeOut(Output):
    """A change as it was recorded; null: as it was before."""

    id: str
    subscription: str
    sequence: int = Field(description="in the order of their record; at one instant the last one holds")
    effective_at: datetime
    recorded_at: datetime
    item: str | None = Field(description="null: all items")
    plan: str | None
    seats: DecimalText | None
    state: State | None
    prices: dict[str, str] | None
    interval: Interval | None = Field(description="of its billing cycle, with `intervals` and `anchor`")
    intervals: int | None
    anchor: datetime | None


class SubscriptionChanges(Output):
    """The changes of one request."""

    items: list[SubscriptionChangeOut]


class SubscriptionChangePage(Output):
    items: list[SubscriptionChangeOut]
    next: int | None = Field(description="`after` of the next page; null on the last")


class SegmentOut(Output):
    """A time in which nothing of an item changes. Where it is paused or has ended there is none."""

    from_: AwareDatetime = Field(alias="from")
    to: AwareDatetime | None = Field(description="exclusive; null: an open end")
    item: str = Field(description="`plan`, or the key of an add-on")
    plan: str
    seats: DecimalText
    state: Literal["active", "trial"]
    prices: dict[str, str] = Field(description="that others stand in for")
    interval: Interval = Field(description="of its billing cycle, with `intervals` and `anchor`")
    intervals: int
    anchor: datetime | None


class BillingPeriodOut(Output):
    period: str = Field(description="a calendar month, or its first day and the next one's", examples=["2026-10"])
    from_: AwareDatetime = Field(alias="from")
    to: AwareDatetime


class TimelineOut(Output):
    subscription: str
    customer: str
    billed_to: str = Field(description="who pays: the customer, or its parent")
    time_zone: str
    interval: Interval
    intervals: int
    anchor: datetime | None
    segments: list[SegmentOut]
    current_period: BillingPeriodOut
    next_period: BillingPeriodOut
