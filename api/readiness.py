"""Whether a server can do its work: take events durably, read its records, and answer quota checks."""

from typing import Any

from api.engine import Engine
from store.errors import StoreError


def readiness_of(engine: Engine) -> dict[str, Any]:
    """`reasons` has a sentence for each thing that is in the way, and is empty where nothing is."""
    log = engine.log.status()
    reasons = [reason for reason in (_of_log(log), engine.quota.trouble) if reason is not None]
    detail: dict[str, Any] = {"log": log}
    try:
        detail = engine.status()
    except StoreError as error:
        reasons.append(f"the records cannot be read: {error}")
    return {"status": "not ready" if reasons else "ready", "reasons": reasons, "detail": detail}


def _of_log(log: dict[str, Any]) -> str | None:
    if log["failure"] is not None:
        return f"no event is taken until the process has started again: {log['failure']}"
    if log["full"] is not None:
        return f"events are refused until there is room on the disk: {log['full']}"
    return None
