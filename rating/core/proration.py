"""Proration: which part of its billing period a subscription is served for.

| by        | counts                                                                      | October from the 15th on   |
|-----------|-----------------------------------------------------------------------------|----------------------------|
| `seconds` | time, to the microsecond: days of 23 and 25 hours are what they are         | 17 x 86,400 of 31 x 86,400 |
| `days`    | days of the customer's calendar; one belongs to what is in force at its end | 17 of 31                   |
| `30_days` | the same with months of 30 days, whatever their length                      | 16 of 30                   |

The parts of a period that is cut into pieces add up to the whole, by each of them. With months of 30 days a date is day
360 x year + 30 x month + day, so 23 February to 15 March are 22 days in every year. A period that is no day of such a
month, the 31st alone, is counted by the calendar.
"""

from typing import Literal

import polars as pl

from rating.core.book import PriceBook
from rating.core.schema import PAYER
from rating.core.service_periods import with_payers

Proration = Literal["seconds", "days", "30_days"]

PART = pl.Schema({PAYER: pl.UInt32(), "by": pl.String(), "served": pl.Int64(), "whole": pl.Int64()})
"""One row is the part `served` / `whole` of its period that one payer is served for, by one way of counting; in
microseconds or days."""

_SPANS = {"served": ("from", "to"), "whole": ("whole_start", "whole_end")}


def parts_for(book: PriceBook, served: pl.DataFrame) -> pl.DataFrame:
    """PART for the chains of a book; none where they do not ask."""
    return parts_of_periods(served) if any(chain.counts_parts for chain in book.chains) else PART.to_frame()


def parts_of_periods(served: pl.DataFrame) -> pl.DataFrame:
    """PART of each row of `served` (SERVICE_PERIOD), by each way."""
    dated = with_payers(served).with_columns(
        _local_date(name, served["time_zone"]).alias(f"date:{name}") for ends in _SPANS.values() for name in ends
    )
    is_even = _even_days(*_SPANS["whole"]) > 0
    ways = {
        "seconds": {part: _microseconds(*ends) for part, ends in _SPANS.items()},
        "days": {part: _days(*ends) for part, ends in _SPANS.items()},
        "30_days": {
            part: pl.when(is_even).then(_even_days(*ends)).otherwise(_days(*ends)) for part, ends in _SPANS.items()
        },
    }
    parts = [dated.select(PAYER, by=pl.lit(by), **columns).cast(PART) for by, columns in ways.items()]
    return pl.concat(parts)


def _microseconds(start: str, end: str) -> pl.Expr:
    return (pl.col(end) - pl.col(start)).dt.total_microseconds()


def _days(start: str, end: str) -> pl.Expr:
    return (pl.col(f"date:{end}") - pl.col(f"date:{start}")).dt.total_days()


def _even_days(start: str, end: str) -> pl.Expr:
    return _day_of_even_months(f"date:{end}") - _day_of_even_months(f"date:{start}")


def _day_of_even_months(date: str) -> pl.Expr:
    day = pl.col(date).dt
    return day.year().cast(pl.Int64) * 360 + day.month().cast(pl.Int64) * 30 + day.day().cast(pl.Int64)


def _local_date(name: str, zones: pl.Series) -> pl.Expr:
    """The date on the customer's calendar."""
    dates = [
        pl.when(pl.col("time_zone") == zone).then(pl.col(name).dt.convert_time_zone(zone).dt.date())
        for zone in zones.unique().sort()
    ]
    return pl.coalesce(dates) if dates else pl.lit(None, dtype=pl.Date)
