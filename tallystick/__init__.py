"""The client of Tallystick for services: usage is recorded in the background and counted once; the rest is asked."""

from tallystick.aio import AsyncTallystick
from tallystick.answers import Applied, Catalog, Charged, Consumed, Customer, Kept, Quota, Refusal, Run, Usage, UsageRow
from tallystick.buffering import Limits
from tallystick.client import Tallystick
from tallystick.errors import BufferFull, Closed, Problem, TallystickError, Unreachable
from tallystick.events import Event, event_of
from tallystick.recording import Recorded
from tallystick.retrying import Retrying

__all__ = [
    "Applied",
    "AsyncTallystick",
    "BufferFull",
    "Catalog",
    "Charged",
    "Closed",
    "Consumed",
    "Customer",
    "Event",
    "Kept",
    "Limits",
    "Problem",
    "Quota",
    "Recorded",
    "Refusal",
    "Retrying",
    "Run",
    "Tallystick",
    "TallystickError",
    "Unreachable",
    "Usage",
    "UsageRow",
    "event_of",
]
