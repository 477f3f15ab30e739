"""What a backfill does to usage and to charges: both sides by the code that answers queries and makes bills.

Nothing is written. After the commit the same question gives what the commit gave.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from api.backfills import Compared
from api.frames import rows
from api.rating_inputs import RatingSources
from ingest.contents import View
from ingest.log import UsageLog
from rating.core.book import Meter, PriceBook
from rating.core.metering import (
    converted,
    families,
    is_change,
    is_sum,
    measured,
    metered_usage,
    readings,
    summed_usage,
)
from rating.core.money import ROUNDED, grouped_sum
from rating.core.periods import Month, parse_month
from rating.core.schema import QUANTITY

USAGE_CHANGE = pl.Schema(
    {
        "meter": pl.String(),
        "customer": pl.String(),  # null: no customer has the subject
        "subject": pl.String(),
        "before": QUANTITY,
        "after": QUANTITY,
        "difference": QUANTITY,
        "events_before": pl.Int64(),
        "events_after": pl.Int64(),
    }
)
"""One row is one subject whose usage of a meter in the time of the backfill changes, in quantity or in events."""

CHARGE_CHANGE = pl.Schema(
    {
        "period": pl.String(),
        "customer": pl.String(),
        "currency": pl.String(),
        "before": ROUNDED,
        "after": ROUNDED,
        "difference": ROUNDED,
    }
)
"""One row is one customer whose rounded charges of a month and currency change."""

EVENTS_NAMED_MAX = 100


@dataclass(frozen=True)
class Preview:
    """`usage` is USAGE_CHANGE, `charges` CHARGE_CHANGE; the totals have one row a meter, and one a month and currency,
    over all subjects and customers, changed or not."""

    compared: Compared
    usage: pl.DataFrame
    usage_totals: pl.DataFrame
    charges: pl.DataFrame
    charge_totals: pl.DataFrame


def preview(compared: Compared, sources: RatingSources, book: PriceBook | None) -> Preview:
    """Compare. Without a book there is nothing to meter or rate. Raises AmountOverflow."""
    accounts = sources.accounts()
    usage = _usage(compared, sources.log, book.meters if book else (), accounts.subjects)
    months = _months(compared.effect.quarters, {"UTC", *accounts.subscriptions["time_zone"]})
    charged = [_charges(compared, sources, book, month) for month in months] if book else []
    charges = pl.concat([_CHARGED.to_frame(), *charged])
    return Preview(
        compared,
        _changed(usage, USAGE_CHANGE, ["meter", "subject"]),
        _totals(usage, ["meter"], ["before", "after", "difference"], ["events_before", "events_after"]),
        _changed(charges, CHARGE_CHANGE, ["period", "currency", "customer"]),
        _totals(charges, ["period", "currency"], ["before", "after", "difference"], []),
    )


def as_json(found: Preview, limit: int) -> dict[str, Any]:
    """The preview with the `limit` largest differences of each meter, and of each month and currency."""
    compared, effect = found.compared, found.compared.effect
    resolution = compared.resolution
    counts = ("replaced", "staged", "arrived_since", "superseded", "refused")
    return {
        "backfill": compared.backfill.id,
        "state": compared.backfill.state,
        "events": {name: getattr(effect, name) for name in counts},
        "superseded": _named(resolution.hidden),
        "refused": _named(resolution.refused),
        "usage": _nested(found.usage_totals, found.usage, ["meter"], limit),
        "charges": _nested(found.charge_totals, found.charges, ["period", "currency"], limit),
    }


_CHARGED = pl.Schema({name: dtype for name, dtype in CHARGE_CHANGE.items() if name != "difference"})


def _usage(compared: Compared, log: UsageLog, meters: Iterable[Meter], subjects: pl.DataFrame) -> pl.DataFrame:
    """USAGE_CHANGE of all subjects, changed or not."""
    start, end = _span(compared)
    sides = [_metered(log, view, start, end, meters) for view in (compared.before, compared.after)]
    named = [
        frame.rename({"quantity": side, "events": f"events_{side}"})
        for frame, side in zip(sides, ("before", "after"), strict=True)
    ]
    both = named[0].join(named[1], on=["meter", "subject"], how="full", coalesce=True)
    filled = both.with_columns(
        pl.col("before", "after").fill_null(0).cast(QUANTITY), pl.col("events_before", "events_after").fill_null(0)
    )
    return filled.join(subjects, on="subject", how="left", validate="m:1")


def _span(compared: Compared) -> tuple[datetime, datetime]:
    """The time of the backfill, and of the events outside it that hide behind staged ones."""
    record, hidden = compared.backfill, compared.resolution.hidden
    first = [record.range_start, *hidden.select(pl.col("time").min()).drop_nulls().to_series()]
    last = hidden.select(pl.col("time").max() + pl.duration(microseconds=1)).drop_nulls().to_series()
    return min(first), max([record.range_end, *last])


def _metered(log: UsageLog, view: View, start: datetime, end: datetime, meters: Iterable[Meter]) -> pl.DataFrame:
    """`meter`, `subject`, `quantity`, `events`, of the meters that need no more than the events of that time."""
    events = log.scan(start=start, end=end, view=view).frame
    frames = []
    for family in families(meters):
        summed = summed_usage(events, family, ["subject"])
        metered = [metered_usage(summed, meter, ["subject"]).with_columns(meter=pl.lit(meter.key)) for meter in family]
        frames += [frame.select("meter", "subject", "quantity", "events") for frame in metered]
    for meter in meters:
        if not is_sum(meter) and not is_change(meter):
            one = converted(measured(readings(events, meter, ["subject"]), meter, ["subject"]), meter)
            frames.append(one.select(pl.lit(meter.key).alias("meter"), "subject", "quantity", "events"))
    schema = pl.Schema({"meter": pl.String(), "subject": pl.String(), "quantity": QUANTITY, "events": pl.Int64()})
    return pl.concat([schema.to_frame(), *pl.collect_all(frames)])


def _months(quarters: pl.Series, time_zones: Iterable[str]) -> list[Month]:
    """The months, in any of the zones, in which there is a quarter of an hour."""
    local = (quarters.dt.convert_time_zone(zone).dt.strftime("%Y-%m").unique() for zone in sorted(time_zones))
    return [parse_month(text) for text in sorted({text for texts in local for text in texts})]


def _charges(compared: Compared, sources: RatingSources, book: PriceBook, month: Month) -> pl.DataFrame:
    """The charges of all customers for one month, as a rating run makes them: CHARGE_CHANGE without the difference."""
    sides = []
    for side, view in (("before", compared.before), ("after", compared.after)):
        lines = sources.gather(month, book, view=view).inputs.rated().lines
        summed = grouped_sum(lines.lazy(), ["customer", "currency"], ["rounded_amount"]).collect()
        sides.append(summed.rename({"rounded_amount": side}))
    both = sides[0].join(sides[1], on=["customer", "currency"], how="full", coalesce=True)
    amounts = pl.col("before", "after").fill_null(0).cast(ROUNDED)
    return both.with_columns(amounts, period=pl.lit(str(month))).select(_CHARGED.names())


def _changed(frame: pl.DataFrame, schema: pl.Schema, by: list[str]) -> pl.DataFrame:
    """The rows whose two sides differ, with the `difference`."""
    differs = pl.col("before") != pl.col("after")
    if "events_before" in frame.columns:
        differs = differs | (pl.col("events_before") != pl.col("events_after"))
    return _with_difference(frame.filter(differs)).select(schema.names()).cast(schema).sort(by)


def _totals(frame: pl.DataFrame, by: list[str], sums: list[str], counts: list[str]) -> pl.DataFrame:
    counted = [pl.col(name).sum() for name in counts]
    sides = [name for name in sums if name != "difference"]
    dtype = frame.schema["before"]
    summed = grouped_sum(frame.lazy(), by, sides, *counted).collect()
    return _with_difference(summed.with_columns(pl.col(sides).cast(dtype))).select(*by, *sums, *counts).sort(by)


def _with_difference(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns((pl.col("after") - pl.col("before")).cast(frame.schema["before"]).alias("difference"))


def _nested(totals: pl.DataFrame, changes: pl.DataFrame, by: list[str], limit: int) -> list[dict[str, Any]]:
    """The totals, each with its largest changes."""
    ordered = changes.sort(pl.col("difference").abs(), descending=True, maintain_order=True)
    largest = ordered.partition_by(by, as_dict=True, include_key=False, maintain_order=True)
    empty = changes.drop(by).clear()
    found = []
    for total, key in zip(rows(totals), totals.select(by).iter_rows(), strict=True):
        own = largest.get(key, empty)
        found.append({**total, "changed": own.height, "largest": rows(own.head(limit))})
    return found


def _named(events: pl.DataFrame) -> list[dict[str, Any]]:
    return events.sort("sequence").head(EVENTS_NAMED_MAX).select("source", "id", "time").to_dicts()
