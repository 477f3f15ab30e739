"""Live counters beside a metering query of the same events: equal, or where not."""

from collections.abc import Mapping

import polars as pl

from rating.core.book import Meter
from rating.core.periods import month_edges, with_window_start
from rating.core.quota.counting import counted_sums
from rating.core.schema import INSTANT, QUANTITY

_WINDOW = ["customer", "feature", "window_start"]
COUNTER = pl.Schema({"customer": pl.String(), "feature": pl.String(), "window_start": INSTANT, "counted": QUANTITY})
"""One row is what is counted of a feature of a customer in the window that begins at `window_start`."""

COMPARED = pl.Schema({**COUNTER, "metered": QUANTITY})
"""One row is one COUNTER, and what the meter makes of the log. Either is 0 where there is none."""


def compared(
    counters: pl.DataFrame, usage: pl.LazyFrame, features: Mapping[str, Meter], payers: pl.DataFrame
) -> pl.DataFrame:
    """COMPARED of `counters` (COUNTER) and `usage`, sorted. `payers` has one row a `subject`: its `customer` and
    `time_zone`."""
    return beside(counters, _metered(usage, features, payers))


def beside(counters: pl.DataFrame, metered: pl.DataFrame) -> pl.DataFrame:
    """COMPARED of COUNTER and the same rows with `metered`, sorted."""
    found = counters.join(metered, on=_WINDOW, how="full", coalesce=True, validate="1:1")
    return found.with_columns(pl.col("counted", "metered").fill_null(0)).select(COMPARED.names()).sort(_WINDOW)


def _metered(usage: pl.LazyFrame, features: Mapping[str, Meter], payers: pl.DataFrame) -> pl.DataFrame:
    """The windows in which there is usage, and the quantity `metered`."""
    first, last = usage.select(pl.col("time").min(), last=pl.col("time").max()).collect().row(0)
    if first is None or not features:
        return pl.DataFrame(schema={**{name: COUNTER[name] for name in _WINDOW}, "metered": QUANTITY})
    edges = month_edges(payers["time_zone"].unique(), first, last)
    sums = counted_sums(usage, features, edges).join(payers, on="subject", validate="m:1")
    at_edges = sums.with_columns(time=edges.gather(sums["edge"]))
    in_zones = [with_window_start(own, str(zone)) for (zone,), own in at_edges.group_by("time_zone")]
    windows = pl.concat(in_zones) if in_zones else with_window_start(at_edges, "UTC")
    return windows.group_by(_WINDOW).agg(metered=pl.col("quantity").sum())
