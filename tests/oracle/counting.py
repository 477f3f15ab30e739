"""What a line counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.oracle.arithmetic import EXACT

Numbers = Mapping[str, Any]  # those of the version, and of the window over them


@dataclass(frozen=True)
class Counted:
    """An event that a line counts; `place` is its place among all events."""

    time: datetime
    place: int
    quantity: Decimal
    data: Mapping[str, Any]
    begins: Decimal = Decimal(0)  # what of the same event or call was before this part of it
    events: int = 1  # 0 for the parts of an event behind its first


def total(counted: Sequence[Counted]) -> Decimal:
    result = Decimal(0)
    for event in counted:
        result = EXACT.add(result, event.quantity)
    return result
