"""Events of the dashboard's demonstration that senders got wrong: they are refused, and wait to be corrected."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from api.demo.customers import DemoCustomer

KINDS = 5


def mistaken_events(count: int, customers: Sequence[DemoCustomer], now: datetime) -> bytes:
    """`count` of them as a batch of CloudEvents."""
    return orjson.dumps([_mistaken(place, customers[place % 40].subjects[0], now) for place in range(count)])


def _mistaken(place: int, subject: str, now: datetime) -> dict[str, Any]:
    at = now - timedelta(minutes=7 * place + 3)
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"late-batch-{place:05d}",
        "source": f"gateway-{place % 3 + 1}",
        "type": "llm.request",
        "subject": subject,
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "data": {"provider": "openai", "model": "gpt-4o", "input_tokens": 900 + place, "output_tokens": 120},
    }
    kind = place % KINDS
    if kind in (0, 1):
        event["time"] = (now + timedelta(days=1, minutes=place)).strftime("%Y-%m-%dT%H:%M:%SZ")  # a clock set wrong
    elif kind == 2:
        event["data"]["input_tokens"] = f"{900 + place} tokens"
    elif kind == 3:
        del event["subject"]
    else:
        event["time"] = at.strftime("%d/%m/%Y %H:%M")
    return event
