"""What live quotas of many subjects with three features take: resident memory of a process above that of nobody."""

import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measuring import ROOT, Figure, figure, progress
from benchmarks.quota_live import CATALOG_OF_THREE, METERS, WITH_THRESHOLDS, empty_quota, terms, usage

GROUP = 10_000


def memory(quick: bool) -> dict[str, Figure]:
    """Each subject has used all three features; the baseline is a dictionary of lists of three numbers. `memory_other`
    is the same with thresholds, and one of the limits a day."""
    subjects = 300_000 if quick else 1_000_000
    ours, other, bare = (_in_a_process(kind, subjects) for kind in ("quota", "other", "bare"))
    progress(f"{subjects:,} subjects with {len(METERS)} features: {ours:.0f} MiB, with thresholds {other:.0f} MiB")
    target = 1024 * subjects / 1_000_000
    words = f"<= {target:,.0f} for {subjects:,} subjects"
    return {
        "memory": figure(ours, "MiB", bare, words, ours <= target),
        "memory_other": figure(other, "MiB", bare, words, other <= target),
    }


def _in_a_process(kind: str, subjects: int) -> float:
    command = [sys.executable, "-m", "benchmarks.quota_memory", kind, str(subjects)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)


def _quota(subjects: int, catalog: Mapping[str, Any] = CATALOG_OF_THREE) -> float:
    quota, now = empty_quota(), datetime.now(UTC)
    before = _resident()
    quota.rebuild(terms(_names(0, subjects), catalog))
    for first in range(0, subjects, GROUP):
        for group in usage(_made(first), now):
            quota.count(group.with_columns(pl.col("sequence") + first))
    for number in range(0, subjects, GROUP):
        used = [quota.check(f"customer-{number}", feature, Decimal(1), now).used for feature in METERS]
        assert used == [number + 1, 2, 1], used
    return _resident() - before


def _other(subjects: int) -> float:
    return _quota(subjects, WITH_THRESHOLDS)


def _bare(subjects: int) -> float:
    before = _resident()
    counters = {f"customer-{number}": [number + 1, 2, 1] for number in range(subjects)}
    assert len(counters) == subjects
    return _resident() - before


def _names(first: int, last: int) -> pl.Series:
    return pl.select(pl.format("customer-{}", pl.int_range(first, last))).to_series()


def _made(first: int) -> pl.DataFrame:
    """One event of each of a group of subjects."""
    events = pl.DataFrame({"subject": _names(first, first + GROUP)})
    constants = {name: pl.lit("x") for name in ("source", "id", "model")}
    tokens = {"input_tokens": pl.int_range(first + 1, first + GROUP + 1), "output_tokens": pl.lit(2)}
    return events.with_columns(**constants, type=pl.lit("llm"), **tokens)


def _resident() -> float:
    """MiB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024


if __name__ == "__main__":
    print({"quota": _quota, "other": _other, "bare": _bare}[sys.argv[1]](int(sys.argv[2])))
