"""Entitlements in the catalog file: what a plan gives of its features, when the count starts again, and what is granted
beside."""

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from rating.catalog.frames import Row
from rating.catalog.literals import (
    SECTION,
    Instant,
    Key,
    PositiveQuantity,
    Quantity,
    TimeZone,
    decimal_schema,
    decimal_text,
    read_quantity,
    refusal,
)
from rating.catalog.part import Part
from rating.catalog.problems import FloatLiteral, listed
from rating.core.quota.windows import INTERVAL, WindowRule

VALUE_BYTES_MAX = 4096
PRIORITY = 100
Calendar = Literal["hour", "day", "week", "month", "quarter", "year", "billing", "lifetime"]
UNLIMITED = "unlimited"
"""What a limit of null is called inside; in the file it is null."""

_PERCENT = re.compile(r"([1-9][0-9]{0,3})%")


def _sound_interval(value: str) -> str:
    if INTERVAL.fullmatch(value) is None:
        cure = "Write a whole number and m, h, d, w, mo or y, such as 15m, 1d, 3mo."
        raise refusal("This is not an interval.", cure)
    return value


def _read_limit(value: object) -> Decimal | str:
    return UNLIMITED if value is None else read_quantity(value)


def _limit_text(limit: Decimal | str | None) -> str | None:
    return decimal_text(limit) if isinstance(limit, Decimal) else None


def _read_threshold(value: object) -> str:
    """A percentage of the limit or an amount, in its canonical text."""
    if isinstance(value, str) and value.endswith("%"):
        if _PERCENT.fullmatch(value) is None:
            raise refusal("This is not a percentage.", 'Write a whole number from 1 to 9999 and %, such as "80%".')
        return value
    amount = read_quantity(value)
    if amount == 0:
        raise refusal("A threshold is above zero.", 'Write an amount, or a percentage such as "80%".')
    return decimal_text(amount)


def _read_value(value: object) -> Any:
    """Any JSON without floats, null alone apart, up to VALUE_BYTES_MAX."""
    if value is None:
        raise refusal("A static entitlement has a value.", "Write any JSON that is not null.")
    _refuse_floats(value)
    if len(json.dumps(value, ensure_ascii=False).encode()) > VALUE_BYTES_MAX:
        raise refusal(f"A value has up to {VALUE_BYTES_MAX} bytes as JSON.", "Write a shorter one, or a key to it.")
    return value


def _refuse_floats(value: object) -> None:
    if isinstance(value, (FloatLiteral, float)):
        raise refusal("A value has no floating-point numbers.", "Write them as strings.")
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for part in parts:
        _refuse_floats(part)


def _short_window(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value not in get_args(Calendar):
        cure = f"Write {listed(get_args(Calendar))}, or `every:` or `rolling:` with an interval."
        raise refusal("This is none of the choices.", cure)
    return {"calendar": value}


def _short_enforcement(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value not in ("hard", "soft"):
        raise refusal("This is none of the choices.", 'Write `hard`, `soft`, or `{grace: "1000"}`.')
    return {"is": value}


def _short_entitlement(value: object) -> object:
    return {"included": value} if isinstance(value, bool) else value


Interval = Annotated[
    str, AfterValidator(_sound_interval), WithJsonSchema({"type": "string", "examples": ["15m", "3mo"]})
]
Limit = Annotated[
    Decimal | str | None,
    PlainValidator(_read_limit),
    PlainSerializer(_limit_text, return_type=str | None),
    WithJsonSchema({"anyOf": [*decimal_schema("")["anyOf"], {"type": "null"}], "default": None}),
]
Threshold = Annotated[
    str, PlainValidator(_read_threshold), WithJsonSchema({"type": "string", "examples": ["80%", "4500000"]})
]
StaticValue = Annotated[Any, PlainValidator(_read_value), WithJsonSchema({})]


class QuotaWindow(Part):
    """When the count of an entitlement starts again. Exactly one of `calendar`, `every` and `rolling`; a text alone is
    that calendar."""

    calendar: Calendar | None = None
    """Each hour, day, week, month, quarter or year of the clock and the calendar; `billing`: each billing period of the
    subscription; `lifetime`: never."""
    every: Interval | None = None
    """Each interval, such as `2w`, from the anchor: minutes and hours exactly, all else on the calendar."""
    rolling: Interval | None = None
    """The last interval, such as `1h`, at any time: it moves on in steps."""
    step: Interval | None = None
    """In which steps a rolling window moves: up to 366 of them fill it."""
    anchor: Instant = None
    """Where `every` and the steps of `rolling` are counted from; without it the beginning of the calendar."""
    time_zone: TimeZone | None = None
    """Whose calendar and clock it is; the customer's, unless given."""

    @property
    def is_short(self) -> bool:
        """Whether one is over within a day, or moves on in steps shorter than that."""
        return self.rule().is_short

    def rule(self) -> WindowRule:
        """The window as the core has it."""
        kind = self.calendar or ("every" if self.every is not None else "rolling")
        return WindowRule(kind, self.every or self.rolling, self.step, self.anchor, self.time_zone)


class Enforcement(Part):
    """What happens at the limit. A text alone is `is`."""

    is_: Literal["hard", "soft"] = Field("hard", alias="is")
    """`hard`: no more is allowed. `soft`: it is, and the answer says so."""
    grace: PositiveQuantity | None = None
    """So much more is allowed above the limit, and no more."""


class Rollover(Part):
    """What is left when a window ends, and goes into the next."""

    minimum: Quantity = Decimal(0)
    """At least so much, also where less is left."""
    maximum: Quantity
    """At most so much."""


class PlanGrant(Part):
    """An amount beside the limit, that each subscription is granted."""

    amount: PositiveQuantity
    """How much."""
    recurs: Annotated[str, AfterValidator(lambda value: value if value == "once" else _sound_interval(value))] = "once"
    """`once`, where the subscription begins, or then and after each interval, such as `1mo`."""
    lasts: Interval | None = None
    """How long each can be used; without it, as long as the subscription lasts."""
    priority: int = Field(PRIORITY, ge=0, le=1_000_000)
    """Which of several is burnt first: the smaller number."""
    rollover: Rollover | None = None
    """What of it is kept when a window ends; without it all."""


SomeWindow = Annotated[QuotaWindow, BeforeValidator(_short_window)]
MONTHLY = QuotaWindow(calendar="month")
HARD = Enforcement.model_validate({})


class Entitlement(Part):
    """What a plan gives of a feature. Exactly one of `included`, `value` and `limit`; true or false alone is
    `included`."""

    included: bool | None = None
    """Whether the plan has it: for a feature that is there or not. Where one says false, another plan or an override
    may give it."""
    value: StaticValue = None
    """What it is: any JSON up to 4 KiB that is not null, with numbers that have a point as text."""
    limit: Limit = None
    """The quantity that may be used in each window; null: without a limit, counted all the same."""
    window: SomeWindow = MONTHLY
    """When the count starts again: `hour`, `day`, `week`, `month` (unless given), `quarter`, `year`, `billing`,
    `lifetime`, or `{every: ...}`, `{rolling: ..., step: ...}`."""
    enforcement: Annotated[Enforcement, BeforeValidator(_short_enforcement)] = HARD
    """`hard` (unless given), `soft`, or `{grace: ...}`."""
    overage: Literal["forget", "carry"] = "forget"
    """What is used above the limit when a window ends: forgotten, or owed to the next window."""
    rollover: Rollover | None = None
    """What is left of the limit when a window ends and goes into the next; without it nothing."""
    priority: int = Field(PRIORITY, ge=0, le=1_000_000)
    """When the limit is burnt among grants: the smaller number first."""
    shared: bool = False
    """Whether what the customers use that it pays for counts here too, and they are refused where it is used up."""
    thresholds: tuple[Threshold, ...] = ()
    """Percentages of the limit and amounts at which a signal is raised; at 100% there always is one."""
    grants: Annotated[dict[Key, PlanGrant], SECTION] = Field(default={})
    """What is granted beside the limit, by a key of its own."""

    @property
    def kind(self) -> Literal["boolean", "static", "metered"]:
        """What it says of the feature."""
        return "boolean" if self.included is not None else "static" if self.value is not None else "metered"


SomeEntitlement = Annotated[Entitlement, BeforeValidator(_short_entitlement)]


def canonical_entitlement(given: dict[str, Any]) -> None:
    """One spelling for each meaning: the short ones, thresholds in order."""
    for field, name in (("window", "calendar"), ("enforcement", "is")):
        if field in given and [*given[field]] == [name]:
            given[field] = given[field][name]
    if "thresholds" in given:
        given["thresholds"] = sorted(set(given["thresholds"]))


def entitlement_rows(plan: str, feature: str, meter: str | None, given: Entitlement) -> Iterator[Row]:
    """The row of ENTITLEMENT."""
    window, rollover = given.window.rule(), given.rollover
    limit = given.limit if isinstance(given.limit, Decimal) else None
    grace = given.enforcement.grace
    bounds = (None, None) if rollover is None else (rollover.minimum, rollover.maximum)
    value = None if given.value is None else json.dumps(given.value, ensure_ascii=False, sort_keys=True)
    if given.kind == "boolean":
        value = json.dumps(given.included)
    yield (
        plan, feature, given.kind, meter if given.kind == "metered" else None, value, limit,
        window.kind, window.every, window.step, window.anchor, window.time_zone,
        "grace" if grace is not None else given.enforcement.is_, grace, given.overage, *bounds,
        given.priority, given.shared, [*given.thresholds],
    )  # fmt: skip


def grant_rows(plan: str, feature: str, given: Entitlement) -> Iterator[Row]:
    """The rows of PLAN_QUOTA_GRANT."""
    for key, grant in sorted(given.grants.items()):
        bounds = (None, None) if grant.rollover is None else (grant.rollover.minimum, grant.rollover.maximum)
        every = None if grant.recurs == "once" else grant.recurs
        yield plan, feature, key, grant.amount, every, grant.lasts, grant.priority, *bounds
