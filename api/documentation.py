"""What the OpenAPI document says beyond types: tags, problem answers, and answers in several formats."""

from typing import Any

from api.errors import PROBLEM_JSON
from api.frames import ARROW, CSV, PARQUET
from api.models import Problem
from api.table_streams import NDJSON

TAGS = [
    {"name": "events", "description": "Usage goes in. What is acknowledged is durable, and counted once."},
    {"name": "usage", "description": "What a meter makes of the events, by the code that bills are made with."},
    {"name": "catalog", "description": "Meters, prices and plans, applied as a whole."},
    {"name": "customers", "description": "Who pays for which subjects, and on which plan."},
    {"name": "credits", "description": "Prepaid credits: granted, burnt by what is billed, and told entry by entry."},
    {"name": "rating", "description": "From usage to charge lines, and from a line back to its arithmetic."},
    {"name": "quota", "description": "Whether a customer may go on, and the signals when a limit is reached."},
    {"name": "webhooks", "description": "Where signals are delivered to, and how far they are."},
    {"name": "access", "description": "API keys, subject tokens, users of the dashboard, and the log of changes."},
    {"name": "openmeter", "description": "What OpenMeter's clients call, as far as it is served (docs/migrating.md)."},
    {"name": "lago", "description": "What Lago's clients call, as far as it is served (docs/migrating.md)."},
    {"name": "service", "description": "Whether the process is up, and whether it can take work."},
]

_MEANINGS = {
    400: "The body cannot be read",
    401: "It is not known who asks",
    402: "Not without more credit or another plan",
    403: "Not this one",
    404: "There is no such thing",
    409: "It contradicts what is there",
    413: "The body is too large",
    415: "The content type is not taken here",
    406: "No offered format is acceptable",
    422: "It is not valid; `problems` lists what is wrong",
    429: "Not now; try again after `Retry-After` seconds",
    500: "A fault of the server",
    503: "Not now; try again after `Retry-After` seconds",
    507: "The disk is full",
}

Responses = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Responses:
    """The answers of an operation that are problem documents."""
    content = {PROBLEM_JSON: {"schema": Problem.model_json_schema()}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in statuses}


def body(content: dict[str, Any], description: str = "") -> dict[str, Any]:
    """The request body of an operation that reads it raw; `content` has one example for each media type."""
    media = {name: ({"example": example} if example is not None else {}) for name, example in content.items()}
    return {"requestBody": {"required": True, "description": description, "content": media}}


def tables(description: str) -> dict[str, Any]:
    """The further formats of an answer that is a table."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "description": description,
        "content": {ARROW: binary, PARQUET: binary, CSV: {"schema": {"type": "string"}}},
    }


def streams(description: str) -> dict[str, Any]:
    """The formats of a table that may also be sent as NDJSON."""
    formats = tables(description)
    return {**formats, "content": {NDJSON: {"schema": {"type": "string"}}, **formats["content"]}}
