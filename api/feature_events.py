"""A usage event made of an amount of a feature, and how much of its features an event would use.

For callers that know what they used and have no event of their own: those of `consume` in short, and those whose leases
record usage. That the event counts as exactly the amount is not assumed here: it is asked of the counters.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from rating.core.book import Meter
from rating.core.money import plain
from rating.core.quota.answer import EXACT
from store.errors import Refused

Value = str | int | bool | None
BATCH = "application/cloudevents-batch+json"
EVENTS_MAX = 10_000


def counts_events(meter: Meter) -> bool:
    """Whether each event is one unit, so that an amount takes as many events."""
    return meter.aggregation == "count"


def event_of(
    meter: Meter, source: str, id: str, subject: str, amount: Decimal, at: datetime | None, data: Mapping[str, Value]
) -> dict[str, Any]:
    """The CloudEvent that `meter` counts as `amount`, or as 1 where it counts events; `data` is what else it carries.
    Raises Refused where no property of an event says how much it is."""
    is_sum_of_one = meter.aggregation == "sum" and len(meter.add) == 1 and not meter.subtract and not meter.expression
    if not counts_events(meter) and not is_sum_of_one:
        raise Refused([f"meter {meter.key!r} is not the count of events, nor the sum of one property: send the event"])
    implied = {rule.property: rule.values[0] for rule in meter.filters if rule.operator == "in"}
    measured = {} if counts_events(meter) else {meter.add[0]: plain(amount)}
    event = {"specversion": "1.0", "id": id, "source": source, "type": meter.event_type, "subject": subject}
    timed = {} if at is None else {"time": at.isoformat()}
    return {**event, **timed, "data": {**implied, **data, **measured}}


def times_of(meter: Meter, amount: Decimal) -> int | None:
    """How many events an amount takes where each counts one; null where one event says it. Raises Refused."""
    if not counts_events(meter):
        return None
    if amount != amount.to_integral_value() or not 0 < amount <= EVENTS_MAX:
        raise Refused(
            [
                f"meter {meter.key!r} counts events, so 1 to {EVENTS_MAX} of them are recorded at a time, not"
                f" {plain(amount)}: report more often, or lease with `records: nothing` and send the events"
            ]
        )
    return int(amount)


def json_of(event: Mapping[str, Any], times: int | None = None) -> bytes:
    """A batch of the event, or of so many of it under numbered ids; the same event, the same bytes."""
    events = [event] if times is None else [{**event, "id": f"{event['id']}.{n}"} for n in range(1, times + 1)]
    return json.dumps(events, separators=(",", ":")).encode()


def by_feature(amounts: list[tuple[str, str, Decimal]]) -> dict[str, Decimal]:
    """(subject, feature, quantity) of events of one subject, added up by feature."""
    sums: dict[str, Decimal] = {}
    for _, feature, amount in amounts:
        sums[feature] = EXACT.add(sums.get(feature, Decimal(0)), amount)
    return sums


def refuse_other_amount(meter: Meter, expected: Decimal, counted: Decimal) -> None:
    """Raises Refused where the event made of an amount would count as another one: a filter, or what `data` says."""
    if counted != expected:
        raise Refused(
            [
                f"with this `data` meter {meter.key!r} counts {plain(counted)} instead of {plain(expected)}: give the"
                " properties that its filters ask for, or send the event"
            ]
        )
