"""What live quotas of many subjects with three features take: resident memory of a process above that of nobody."""

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl

from benchmarks.measuring import ROOT, Figure, figure, progress
from benchmarks.quota_live import METERS, empty_quota, terms, usage

GROUP = 10_000


def memory(quick: bool) -> dict[str, Figure]:
    """Each subject has used all three features; the baseline is a dictionary of lists of three numbers."""
    subjects = 300_000 if quick else 1_000_000
    ours, bare = (_in_a_process(kind, subjects) for kind in ("quota", "bare"))
    progress(f"{subjects:,} subjects with {len(METERS)} features: {ours:.0f} MiB")
    target = 1024 * subjects / 1_000_000
    return {"memory": figure(ours, "MiB", bare, f"<= {target:,.0f} for {subjects:,} subjects", ours <= target)}


def _in_a_process(kind: str, subjects: int) -> float:
    command = [sys.executable, "-m", "benchmarks.quota_memory", kind, str(subjects)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)


def _quota(subjects: int) -> float:
    quota, now = empty_quota(), datetime.now(UTC)
    before = _resident()
    quota.rebuild(terms(_names(0, subjects)))
    for first in range(0, subjects, GROUP):
        for group in usage(_made(first), now):
            quota.count(group.with_columns(pl.col("sequence") + first))
    for number in range(0, subjects, GROUP):
        used = [quota.check(f"customer-{number}", feature, Decimal(1), now).used for feature in METERS]
        assert used == [number + 1, 2, 1], used
    return _resident() - before


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
    print({"quota": _quota, "bare": _bare}[sys.argv[1]](int(sys.argv[2])))
