"""What an amount would cost by now: the charges of a customer's open periods with one more event, less those without.

It is asked for one request at a time, to show it to a person: the customer is rated twice, by the code that makes
bills. The event is one of the feature's meter, of now, with the amount, and with the properties that the caller names.
Where no such event comes to the amount, or no price sees it, nobody knows what it costs: then there is no estimate.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import polars as pl

from api.engine import Engine
from api.feature_events import BATCH, by_feature, counts_events, event_of, json_of
from ingest.lift import as_usage
from rating.core.book import Meter
from rating.core.money import plain
from rating.core.quota.answer import EXACT, QuotaAnswer
from store.errors import Refused

EVENTS_MAX = 1_000
"""So many events at most stand for an amount of a meter that counts them."""


def estimate(
    engine: Engine, answer: QuotaAnswer, properties: Mapping[str, str], now: datetime
) -> dict[str, str] | None:
    """The `currency`, and the exact `amount` that what was asked would cost, credits included; or None. Raises
    AmountOverflow, DatabaseUnavailable."""
    if answer.customer is None or answer.amount <= 0:
        return None
    events = _events(engine, answer, properties, now)
    if events is None:
        return None
    before, after = engine.charges.lines_with(answer.customer, engine.in_force.book, events)
    seen = after.filter(pl.col("events") > 0).join(before, on=["line", "events"], how="anti")
    if seen.is_empty():
        return None
    currency: str = seen["currency"][0]
    costs, cost = (Decimal(lines.filter(currency=currency)["amount"].sum()) for lines in (after, before))
    return {"currency": currency, "amount": plain(EXACT.subtract(costs, cost))}


def _events(engine: Engine, answer: QuotaAnswer, properties: Mapping[str, str], now: datetime) -> pl.DataFrame | None:
    """USAGE_EVENT that come to the amount, if there are any."""
    try:
        meter = engine.in_force.meter_of(answer.feature)
        event = event_of(meter, "estimate", "estimate", answer.subject, answer.amount, now, properties)
    except Refused:
        return None
    times = _times(meter, answer)
    screened = engine.log.screened(json_of(event), BATCH)
    if times is None or screened.rejected:
        return None
    events = pl.concat([as_usage(screened.events, engine.log.declared)] * times)
    comes_to = by_feature(engine.quota.amounts(events)).get(answer.feature)
    return events if comes_to == answer.amount else None


def _times(meter: Meter, answer: QuotaAnswer) -> int | None:
    """How many events stand for the amount, if it can be done."""
    if not counts_events(meter):
        return 1
    is_whole = answer.amount == int(answer.amount)
    return int(answer.amount) if is_whole and answer.amount <= EVENTS_MAX else None
