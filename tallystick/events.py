"""A usage event as it is sent: its id is made once, so it counts once, however often it is sent."""

import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tallystick.exact_json import dumps, instant_text


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `text` is its CloudEvent in JSON, the same bytes at every try."""

    source: str
    id: str
    text: str

    @property
    def size(self) -> int:
        return len(self.text.encode()) + 1


def new_id(now_ns: int | None = None, random: bytes | None = None) -> str:
    """A UUID of version 7: the millisecond, then 74 random bits; ids of one service sort by time."""
    milliseconds = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    low = int.from_bytes(os.urandom(10) if random is None else random) & ((1 << 80) - 1)
    number = (milliseconds & ((1 << 48) - 1)) << 80 | low
    number = number & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=number & ~(0x3 << 62) | 0x2 << 62))


def event_of(
    kind: str,
    *,
    subject: str,
    source: str,
    data: Mapping[str, Any] | None = None,
    id: str | None = None,
    time: datetime | None = None,
) -> Event:
    """Raises TypeError where `data` has a float, ValueError where something that identifies it is empty."""
    identity = new_id() if id is None else id
    for name, text in (("type", kind), ("subject", subject), ("source", source), ("id", identity)):
        if not text:
            raise ValueError(f"the {name} of an event is empty")
    event = {
        "specversion": "1.0",
        "id": identity,
        "source": source,
        "type": kind,
        "subject": subject,
        "time": instant_text(datetime.now(UTC) if time is None else time),
        "data": {} if data is None else data,
    }
    return Event(source, identity, dumps(event))


def batch_body(events: tuple[Event, ...]) -> bytes:
    return ("[" + ",".join(event.text for event in events) + "]").encode()
