"""Live quotas in process, with the usage that a benchmark gives them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl

from benchmarks.usage import CATALOG
from rating.catalog import compile_catalog, load_catalog
from rating.core.schema import USAGE_EVENT, usage_event_schema
from rating.core.subscriptions import plain
from rating.entitled_quota import EntitledQuota
from rating.quota_terms import QuotaTerms

LIMIT = 10**12
LIMITED = {"limit": str(LIMIT), "window": "month"}
METERS = {"tokens": "input", "answers": "output", "calls": "requests"}


def _catalog(entitlements: Mapping[str, Any]) -> dict[str, Any]:
    features = {feature: {"meter": meter} for feature, meter in METERS.items()}
    plan = {"currency": "USD", "prices": ["*"], "entitlements": entitlements}
    return {**CATALOG, "features": features, "plans": {"plan": plan}}


CATALOG_OF_THREE = _catalog(dict.fromkeys(METERS, LIMITED))
_NOTIFIED = {**LIMITED, "thresholds": ["80%", "100%"]}
WITH_THRESHOLDS = _catalog({**dict.fromkeys(METERS, _NOTIFIED), "calls": {**_NOTIFIED, "window": "day"}})
"""The same limits with thresholds, and one of them a day."""
SCHEMA = usage_event_schema(load_catalog(CATALOG_OF_THREE).declared_properties())
BEGUN = datetime(2020, 1, 1, tzinfo=UTC)


def empty_quota() -> EntitledQuota:
    """Of nobody."""
    nothing = SCHEMA.to_frame().lazy()
    quota = EntitledQuota(lambda since, subjects: (nothing, 0), lambda changes: None, lambda: datetime.now(UTC))
    quota.rebuild(terms(pl.Series([], dtype=pl.String)))
    return quota


def terms(subjects: pl.Series, catalog: Mapping[str, Any] = CATALOG_OF_THREE) -> QuotaTerms:
    """Each subject is a customer of its own, with a limit on three features."""
    payers = pl.DataFrame({"subject": subjects, "customer": subjects}).with_columns(time_zone=pl.lit("UTC"))
    agreed = payers.select(subscription="customer", customer="customer", plan=pl.lit("plan"), time_zone="time_zone")
    begun = agreed.with_columns(starts_at=instant(BEGUN), ends_at=pl.lit(None, dtype=USAGE_EVENT["time"]))
    return QuotaTerms(compile_catalog(load_catalog(catalog)), payers, plain(begun))


def usage(made: pl.DataFrame, now: datetime) -> Iterable[pl.DataFrame]:
    """`made` (benchmarks/usage.py) as events that were accepted just now, in groups of 10,000."""
    columns = {"received_at": instant(now), "time": instant(now), "data": pl.lit(None, dtype=pl.String)}
    numbers = {f"data_{name}": pl.col(name).cast(SCHEMA[f"data_{name}"]) for name in ("input_tokens", "output_tokens")}
    accepted = made.with_columns(**columns, **numbers, data_model="model", sequence=pl.int_range(1, made.height + 1))
    return accepted.select(SCHEMA.names()).iter_slices(10_000)


def instant(at: datetime) -> pl.Expr:
    return pl.lit(at).cast(USAGE_EVENT["time"])
