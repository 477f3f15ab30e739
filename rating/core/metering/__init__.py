"""Metering: from usage events to quantities. Rating, usage queries and quotas all count through this package.

    reading.py     which events a meter reads, and the value of each
    summing.py     count, sum: summed per bucket in one pass for all meters of a family
    changing.py    time_weighted, weighted_sum, rate_of_change: what readings change is laid out in time; it adds up
    measuring.py   min, max, average, latest, percentile, unique_count, high_water_mark, carried sums: one quantity of
                   all usage together, by the aggregations in aggregations/
    carrying.py    what counts on from before the period
    converting.py  from what an aggregation comes to, to the metered quantity

Two kinds of meters. What **adds up** (`adds_up`) is one number a piece of time: each piece pays the price version and
the time-of-day window in force there, and pieces make a whole. What does **not** add up is one quantity of all usage of
a line: the largest of two months is not the sum of two largest. It is priced by the version in force at the end of the
subscription's part of the period; each time-of-day window has a quantity of its own, and so has each day where a price
looks at days.

Both run over all usage of the customer that the line prices, whatever subjects it came from. The order of readings is
that of their time, then of their acceptance (`sequence`).
"""

from rating.core.metering.carrying import CARRIED, carried_of, carried_readings, carries, settled
from rating.core.metering.changing import changes, is_change
from rating.core.metering.converting import converted, is_exact
from rating.core.metering.measuring import measured, reduced
from rating.core.metering.reading import adds_up, declared_properties, readings, series_columns, unmetered_events
from rating.core.metering.summing import (
    families,
    is_sum,
    metered_events,
    metered_usage,
    rolled_up,
    summed_by_number,
    summed_usage,
    totals_of,
)

__all__ = [
    "CARRIED",
    "adds_up",
    "carried_of",
    "carried_readings",
    "carries",
    "changes",
    "converted",
    "declared_properties",
    "families",
    "is_change",
    "is_exact",
    "is_sum",
    "measured",
    "metered_events",
    "metered_usage",
    "readings",
    "reduced",
    "rolled_up",
    "series_columns",
    "settled",
    "summed_by_number",
    "summed_usage",
    "totals_of",
    "unmetered_events",
]
