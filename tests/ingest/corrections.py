"""Corrections and how tests send them."""

from collections.abc import Sequence
from typing import Any

from ingest.log import UsageLog
from ingest.verdicts import BatchVerdict
from tests.ingest.events import JSON, json_body

SOURCE = "/gateway"


def void(target: object, key: object | None = None, **changes: Any) -> dict[str, Any]:
    """A void of the event with the id `target`; a change to None leaves the field out."""
    good = {
        "action": "void",
        "corrects": {"source": SOURCE, "id": str(target)},
        "source": "/desk",
        "id": f"void-{target}" if key is None else str(key),
        "reason": "sent twice",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def replacement(target: object, key: object, **changes: Any) -> dict[str, Any]:
    """A replacement of the event with the id `target`, with other data, under the id `key` of the same source."""
    good = {
        "action": "replace",
        "corrects": {"source": SOURCE, "id": str(target)},
        "source": SOURCE,
        "id": str(key),
        "data": {"tokens": 7, "model": "gpt-4o"},
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def correct(log: UsageLog, corrections: Sequence[object] | object, *, is_atomic: bool = False) -> BatchVerdict:
    return log.corrections.submit(json_body(corrections), JSON, is_atomic=is_atomic).result(30)
