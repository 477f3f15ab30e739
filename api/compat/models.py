"""What these interfaces take and answer, for the OpenAPI document: their owners define it (docs/migrating.md)."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.documentation import Responses, body, problems
from api.frames import CSV, JSON
from api.models import Output

_CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "req-0001",
    "source": "gateway-1",
    "type": "llm.request",
    "subject": "acme",
    "time": "2026-10-01T12:00:00Z",
    "data": {"model": "gpt-4o", "input_tokens": 1200},
}
_LAGO_EVENT = {
    "transaction_id": "req-0001",
    "external_subscription_id": "acme",
    "code": "llm.request",
    "timestamp": 1790856000,
    "properties": {"input_tokens": 1200},
}


class MeterOfOpenMeter(Output):
    id: str
    slug: str
    name: str
    description: str
    aggregation: str
    event_type: str = Field(alias="eventType")
    value_property: str | None = Field(None, alias="valueProperty")
    group_by: dict[str, str] = Field(alias="groupBy")
    created_at: datetime = Field(alias="createdAt")
    updated_at: datetime = Field(alias="updatedAt")


class UsageRow(Output):
    value: float = Field(description="with all its digits")
    window_start: datetime | None = Field(alias="windowStart")
    window_end: datetime | None = Field(alias="windowEnd")
    subject: str | None
    customer_id: str | None = Field(None, alias="customerId")
    group_by: dict[str, str | None] = Field(alias="groupBy")


class UsageOfOpenMeter(Output):
    start: datetime | None = Field(None, alias="from")
    end: datetime | None = Field(None, alias="to")
    window_size: Literal["MINUTE", "HOUR", "DAY", "MONTH"] | None = Field(None, alias="windowSize")
    data: list[UsageRow]


class CloudEventOut(Output):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: dict[str, Any]


class ListedEvent(Output):
    event: CloudEventOut
    customer_id: str | None = Field(None, alias="customerId")
    ingested_at: datetime = Field(alias="ingestedAt")
    stored_at: datetime = Field(alias="storedAt")


class EventOfLago(Output):
    """The event as it was sent, with the instants that it has here; this service has no ids of Lago's."""

    transaction_id: Any
    external_subscription_id: Any
    code: Any
    timestamp: Any
    precise_total_amount_cents: Any
    properties: Any
    created_at: datetime
    lago_id: None
    lago_customer_id: None
    lago_subscription_id: None


class OneOfLago(Output):
    event: EventOfLago


class BatchOfLago(Output):
    events: list[EventOfLago]


class RefusalOfLago(Output):
    """`error_details` names what is wrong by field, in a batch by index and field; `error_extra` says it in words."""

    status: int
    error: str
    code: str | None = None
    error_details: dict[str, Any] | None = None
    error_extra: dict[str, Any] | None = None


_REFUSAL = {JSON: {"schema": RefusalOfLago.model_json_schema()}}


def _with_refusals_of_lago(answers: Responses) -> Responses:
    return {
        status: {**answer, "content": {**answer["content"], **_REFUSAL}} if status in (400, 422) else answer
        for status, answer in answers.items()
    }


LAGO_ANSWERS = _with_refusals_of_lago(problems(400, 413, 422, 503, 507))
EVENT_ANSWERS: Responses = {
    200: {"model": OneOfLago, "description": "Lago's: the event is kept"},
    204: {"description": "OpenMeter's: every event is kept, or was known"},
    **_with_refusals_of_lago(problems(400, 409, 413, 415, 422, 503, 507)),
}
USAGE_ANSWERS: Responses = {
    200: {"description": "A row for each window and group", "content": {CSV: {"schema": {"type": "string"}}}},
    **problems(404, 406),
}
EVENT_BODY = body(
    {
        "application/cloudevents+json": _CLOUD_EVENT,
        "application/cloudevents-batch+json": [_CLOUD_EVENT],
        JSON: {"event": _LAGO_EVENT},
    },
    "OpenMeter's: one CloudEvent or many. Lago's: an object with the member `event`",
)
BATCH_BODY = body({JSON: {"events": [_LAGO_EVENT]}}, "Lago's: an object with the member `events`")
