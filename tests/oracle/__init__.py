"""The second opinion: a rating run as plain loops over `decimal.Decimal`, from the catalog document alone.

It shares no code with the engine. A document is the mapping that a catalog file holds (rating/catalog); an event is a
mapping with `type`, `subject`, `time` (aware datetime) and `data` (numbers as int or Decimal, dimensions as str).
"""

from tests.oracle.adjustments import AdjustmentKey, adjust
from tests.oracle.arithmetic import units
from tests.oracle.lines import Document, Event, Key, Line, Subscription
from tests.oracle.run import rate
from tests.oracle.timelines import Bill, Timeline, bill_of_due, bill_of_month
from tests.oracle.usage import month_bounds

__all__ = [
    "AdjustmentKey",
    "Bill",
    "Document",
    "Event",
    "Key",
    "Line",
    "Subscription",
    "Timeline",
    "adjust",
    "bill_of_due",
    "bill_of_month",
    "month_bounds",
    "rate",
    "units",
]
