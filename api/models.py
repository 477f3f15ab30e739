"""What goes in and out over HTTP. Input refuses unknown fields; amounts and quantities are plain decimal strings."""

from datetime import MAXYEAR, MINYEAR, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from rating.core.quota.answer import Reason, Scope

BULK_MAX = 10_000

Key = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A name that the caller chose; any text without control characters."""

DecimalText = Annotated[str, Field(examples=["1234.5"], pattern=r"^-?\d+(\.\d+)?$")]
"""A decimal number as text, exact, without an exponent."""


def _in_the_calendar(at: datetime) -> datetime:
    if not MINYEAR < at.year < MAXYEAR:
        raise ValueError("write an instant of the years 2 to 9998")
    return at


Moment = Annotated[AwareDatetime, AfterValidator(_in_the_calendar)]
"""An instant that is also one in every time zone."""


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Output(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class EventAnswer(Output):
    """One event of a batch that was not accepted."""

    index: int = Field(description="position in the batch, from 0")
    source: str | None
    id: str | None
    verdict: Literal["duplicate", "conflict", "rejected"]
    code: str = Field(description="stable: what is wrong with the event", examples=["time_without_zone"])
    message: str


class BatchAnswer(Output):
    """What became of a batch; `events` lists each event that was not accepted."""

    accepted: int
    duplicates: int = Field(description="known already with the same body: nothing to do")
    conflicts: int = Field(description="known already with another body: the first one stands")
    rejected: int
    events: list[EventAnswer]


class CustomerIn(Input):
    name: str | None = Field(None, max_length=1024, description="the key, unless given")
    time_zone: str = Field("UTC", description="IANA name: where billing periods begin", examples=["Europe/Madrid"])
    subjects: list[Key] | None = Field(None, description="`subject` of its usage events; the key, unless given")
    parent: Key | None = Field(None, description="the customer who pays for it; itself, unless given")


class CustomerWithKey(CustomerIn):
    key: Key


class CustomerOut(Output):
    key: str
    name: str
    time_zone: str
    subjects: list[str]
    parent: str | None
    created_at: datetime


class Stored(Output):
    """How many records a bulk request put; all of them or none."""

    stored: int


class CustomerPage(Output):
    items: list[CustomerOut]
    next: str | None = Field(description="`after` of the next page; null on the last")


class Change(Output):
    kind: Literal["added", "removed", "changed"]
    path: str = Field(examples=["prices.openai/gpt-4o/input.versions[1].unit_amount"])
    before: Any = None
    after: Any = None


class CatalogApplied(Output):
    version: str = Field(examples=["cat_0123456789abcdef"])
    previous: str | None
    applied: bool = Field(description="false for a dry run, and when this version was in force already")
    changes: list[Change]


class CatalogOut(Output):
    version: str
    document: dict[str, Any]


class CatalogVersionOut(Output):
    version: str
    applied_at: datetime
    current: bool


class CatalogHistory(Output):
    items: list[CatalogVersionOut]


class UsageItem(Output):
    window_start: datetime | None = Field(None, description="only with `window`")
    group: dict[str, str | None] = Field(description="the values of `group_by`; null where the event has none")
    quantity: DecimalText
    events: int


class UsageOut(Output):
    meter: str
    from_: datetime | None = Field(alias="from")
    to: datetime | None
    window: Literal["minute", "hour", "day", "month"] | None
    items: list[UsageItem]


class RunIn(Input):
    """Either a month, or what is due."""

    period: str | None = Field(None, description="a calendar month", examples=["2026-10"])
    as_of: AwareDatetime | None = Field(None, description="rate what was known at this instant; now unless given")
    due: bool = Field(False, description="close all billing periods whose end and grace are over")
    until: AwareDatetime | None = Field(
        None,
        description="of `due`: close what ends by this instant; unless given, by now less the grace of the catalog",
    )
    since: AwareDatetime | None = Field(
        None, description="of `due`, where nothing was closed yet: what ended by this instant is billed elsewhere"
    )
    draft: bool = Field(False, description="of `due`: keep the lines, and close nothing before it is made final")
    dry_run: bool = Field(False, description="of `due`: answer what would be posted, and keep nothing")

    @model_validator(mode="after")
    def _one_of_both(self) -> "RunIn":
        if self.due == (self.period is not None):
            raise ValueError("give either `period`, a month like 2026-10, or `due`: true")
        of_due = [name for name in ("until", "since", "draft", "dry_run") if getattr(self, name)]
        if of_due and not self.due:
            raise ValueError(f"{', '.join(of_due)} goes with `due`")
        if self.due and self.as_of is not None:
            raise ValueError("as_of goes with `period`: what is due is closed as it is known now")
        return self


class ProgressOut(Output):
    """How far a run is that is being made. Its parts are customers in the order of their keys."""

    percent: float
    parts_done: int = Field(description="stored for good: a run that a crash breaks off goes on behind them")
    parts_all: int
    lines: int = Field(description="charge lines stored so far")
    lines_per_second: float
    seconds: float = Field(description="since it was begun, or taken up again")
    eta_seconds: float | None = Field(description="what is left if it goes on like this; null in the first part")


class RunOut(Output):
    """A rating run: its inputs, and what came of it. The same inputs give the same digest."""

    id: str
    period: str
    status: Literal["running", "done", "failed", "interrupted"]
    catalog_version: str
    table_version: int
    last_sequence: int = Field(description="up to which event it saw usage")
    last_change: int | None = Field(description="up to which change it saw customers, subscriptions and credits")
    as_of: datetime | None = Field(description="the instant of what it knew; null: when it began")
    kind: Literal["draft", "final", "restatement"] = Field(
        description="final: it has closed what became due; restatement: what was closed before and is another now"
    )
    due_after: datetime | None = Field(description="it bills what became due behind this instant; null for a month")
    due_until: datetime | None = Field(description="... and up to this one")
    code_version: str
    started_at: datetime
    finished_at: datetime | None
    digest: str | None = Field(description="SHA-256 over the charge lines")
    report: dict[str, Any] | None = Field(description="totals, and all usage that did not become a charge line")
    progress: ProgressOut | None = Field(None, description="while it is running; null for all others")


class ClosedOut(Output):
    """The runs that closed what was due, a month at most each; none where nothing was. Of a dry run, what the first
    would post."""

    runs: list[RunOut]
    would: list[dict[str, Any]]


class DifferentLines(Output):
    """Charge lines by id."""

    count: int
    first: list[str]


class LineChange(Output):
    """A part of charge lines that the re-rated run has more or less of than the stored one."""

    customer: str | None
    subscription: str
    kind: str
    price: str | None
    price_version: int | None
    window: int | None
    adjustment: int | None
    grant: str | None
    meter: str | None
    group: str
    part: Literal["units", "percent", "flat", "rest"]
    tier: int | None
    unit_amount: DecimalText
    quantity: DecimalText
    amount: DecimalText


class LineChanges(Output):
    count: int
    largest: list[LineChange]


class VerifiedLines(Output):
    gone: DifferentLines = Field(description="stored, and not made again as they are")
    new: DifferentLines = Field(description="made now, and not stored as they are")


class VerifiedOut(Output):
    """A run, rated again from its recorded inputs and held against what it recorded."""

    run: str
    period: str
    result: Literal["equal", "different", "unknown"] = Field(description="unknown: it cannot be made again")
    reason: str | None = Field(description="null when it is equal")
    notes: list[str] = Field(description="what else is different, and need not matter: other code")
    digest: str = Field(description="that the run recorded")
    rerated_digest: str | None
    rated_by: str
    rerated_by: str
    lines: VerifiedLines
    changes: LineChanges


class RunPage(Output):
    items: list[RunOut]
    next: str | None


class SignalOut(Output):
    sequence: int
    id: str
    type: str = Field(examples=["quota.exhausted"])
    customer: str
    raised_at: datetime
    data: dict[str, Any]
    feature: str | None = Field(description="of a quota")
    scope: str | None = Field(description="whose quota it is", examples=["customer", "key", "pool"])
    owner: str | None = Field(description="the customer, the subject of a key, or the parent whose quota it is")


class SignalPage(Output):
    items: list[SignalOut]
    next: int = Field(description="`after` of the next page, also when there is nothing more yet")


class EstimateOut(Output):
    currency: str
    amount: DecimalText = Field(description="what was asked would add so much to the charges of the open periods")


class QuotaOut(Output):
    """Whether a subject may use `amount` more of a feature. Quantities are in the unit of the feature's meter."""

    allowed: bool
    reason: Reason
    message: str
    subject: str
    customer: str | None
    feature: str
    amount: DecimalText
    limit: DecimalText | None
    used: DecimalText | None
    reserved: DecimalText | None = Field(description="held by leases and calls under way")
    remaining: DecimalText | None
    window_start: datetime | None
    resets_at: datetime | None
    kind: Literal["metered", "boolean", "static"]
    value: Any = Field(description="of a static feature")
    scope: Scope | None = Field(description="whose limit decides: of the subject, of its customer, or a shared one")
    owner: str | None = Field(description="the subject or customer whose limit that is")
    waiting_helps: bool = Field(description="whether the next window will hold the amount")
    next_grant: str | None
    state: str | None = Field(description="of the customer, where it decides")
    estimate: EstimateOut | None = Field(None, description="of the price, where it is asked for and known")


class Problem(Output):
    """RFC 9457 problem details."""

    type: str = Field(examples=["urn:tallystick:problem:not-found"])
    title: str
    status: int
    detail: str
    problems: list[dict[str, Any]] | None = Field(None, description="one entry for each thing that is wrong")
    request_id: str | None = None


class Health(Output):
    status: Literal["ok"]


class Readiness(Output):
    status: Literal["ready", "not ready"]
    reasons: list[str] = Field(description="what is in the way, a sentence for each; empty when ready")
    detail: dict[str, Any]
