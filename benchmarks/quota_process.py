"""Quota checks in process: one by one, and many at once."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from benchmarks.measuring import Figure, figure, progress
from benchmarks.quota_live import CATALOG_OF_THREE, LIMIT, WITH_THRESHOLDS, empty_quota, terms, usage
from benchmarks.usage import events
from rating.core.quota.seam import QUOTA_ASKED
from rating.entitled_quota import EntitledQuota

CUSTOMERS, BATCH = 500, 1_000_000


def in_process(quick: bool) -> dict[str, Figure]:
    """Both with usage of 500 customers, whose sums each answer has to show: with a hard limit a month, and (`other_`)
    with thresholds, where one of the limits is a day's."""
    kinds = {"": CATALOG_OF_THREE, "other_": WITH_THRESHOLDS}
    return {f"{kind}{name}": f for kind, catalog in kinds.items() for name, f in _measured(quick, catalog).items()}


def _measured(quick: bool, catalog: Mapping[str, Any]) -> dict[str, Figure]:
    now = datetime.now(UTC)
    made = events(50_000, subjects=CUSTOMERS, seed=5)
    used = {name: int(n) for name, n in made.group_by("subject").agg(pl.col("input_tokens").sum()).iter_rows()}
    quota = empty_quota()
    quota.rebuild(terms(pl.Series(list(used)), catalog))
    for group in usage(made, now):
        quota.count(group)
    return {**_one_by_one(quota, used, now, 200 if quick else 2_000), **_many(quota, used, now, 3 if quick else 10)}


def _one_by_one(quota: EntitledQuota, used: dict[str, int], now: datetime, rounds: int) -> dict[str, Figure]:
    one, names, seconds = Decimal(1), list(used), 0.0
    for _ in range(rounds):
        begun = time.perf_counter()
        answers = [quota.check(name, "tokens", one, now) for name in names]
        seconds += time.perf_counter() - begun
        assert all(answer.allowed for answer in answers)
    assert [answer.used for answer in answers] == list(used.values())
    left = {name: LIMIT - n for name, n in used.items()}
    begun = time.perf_counter()
    for _ in range(rounds):
        allowed = [left[name] >= 1 for name in names]
    bare_seconds = time.perf_counter() - begun
    assert all(allowed)
    checks = rounds * len(names)
    progress(f"{checks:,} checks in process in {seconds:.2f} s, each answer right")
    rate = checks / seconds
    return {"in_process_check": figure(rate, "checks/s", checks / bare_seconds, ">= 500,000", rate >= 500_000)}


def _many(quota: EntitledQuota, used: dict[str, int], now: datetime, rounds: int) -> dict[str, Figure]:
    """Half of the rows ask for one more than is left."""
    rng, names = np.random.default_rng(6), pl.Series(list(used))
    places = rng.integers(0, len(names), BATCH)
    left = LIMIT - np.array(list(used.values()))[places]
    amounts = np.where(rng.integers(0, 2, BATCH) == 0, 1, left + 1)
    columns = {"subject": names.gather(pl.Series(places)), "feature": pl.lit("tokens"), "amount": amounts}
    asked = pl.select(**columns).cast(dict(QUOTA_ASKED))
    times, bare_times = [], []
    for _ in range(rounds):
        begun = time.perf_counter()
        answers = quota.check_many(asked, now)
        times.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        fits = amounts <= left[np.arange(BATCH)]
        bare_times.append(time.perf_counter() - begun)
        assert np.array_equal(answers["allowed"].to_numpy(), fits)
    assert np.array_equal(answers["remaining"].cast(pl.Int64).to_numpy(), left)
    assert not fits.all()
    rate, ceiling = BATCH / min(times), BATCH / min(bare_times)
    progress(f"{rounds} x {BATCH:,} checks at once, each answer right")
    return {"batch_check": figure(rate, "checks/s", ceiling, ">= 5,000,000", rate >= 5_000_000)}
