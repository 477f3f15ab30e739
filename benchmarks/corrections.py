"""What corrections cost: a sum by subject over a usage table in which 1,000 and 100,000 events were corrected, beside
the same table before, and how long one more correction takes. Half are voids, half replacements, of any day, and every
sum is checked.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder: its scripts are named like the packages

import io
import json
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from benchmarks.measuring import Figure, figure, main, progress
from ingest.log import UsageLog

ARROW = "application/vnd.apache.arrow.stream"
START = datetime(2026, 10, 1, tzinfo=UTC)
BATCH, CORRECTIONS_A_BODY, DAYS, SUBJECTS = 100_000, 5_000, 10, 1_000
TRIES, PART_MIN, SECONDS_MAX = 5, 0.4, 0.5


def measure(quick: bool) -> dict[str, Figure]:
    events = 1_000_000 if quick else 6_000_000
    with tempfile.TemporaryDirectory() as directory:
        log = UsageLog.open(Path(directory), properties={"tokens": "number"}, now=lambda: START + timedelta(days=30))
        for start in range(0, events, BATCH):
            log.submit(_body(np.arange(start, start + BATCH)), ARROW).result(60)
        order = np.random.default_rng(1).permutation(events)
        bare, done, found = _scanned(log, events, order[:0]), 0, {}
        for count in (1_000, 100_000):
            for start in range(done, count, CORRECTIONS_A_BODY):
                _correct(log, order[start : min(start + CORRECTIONS_A_BODY, count)])
            done, scanned = count, _scanned(log, events, order[:count])
            target = f">= {PART_MIN} of a scan without"
            found[f"scan_{count}"] = figure(scanned, "events/CPU s", bare, target, scanned >= PART_MIN * bare)
        _correct(log, order[done : done + 1])
        rate = 1 / min(_timed(lambda key=key: _correct(log, [key]))[0] for key in order[done + 1 : done + 1 + TRIES])  # type: ignore[misc]
        found["one_by_one"] = figure(
            rate, "requests/s", 1 / SECONDS_MAX, f"<= {SECONDS_MAX} s each", rate >= 1 / SECONDS_MAX
        )
        log.close()
    return found


def _body(keys: np.ndarray) -> bytes:
    """Events with the tokens 1, of all days and subjects."""
    frame = pl.DataFrame({"key": keys}).select(
        pl.lit("gw").alias("source"),
        pl.format("e{}", "key").alias("id"),
        pl.lit("llm.request").alias("type"),
        pl.format("s{}", pl.col("key") % SUBJECTS).alias("subject"),
        (pl.lit(START) + pl.duration(seconds=(pl.col("key") * 7919) % (DAYS * 86_400))).alias("time"),
        pl.lit(1).alias("tokens"),
    )
    content = io.BytesIO()
    frame.write_ipc_stream(content)
    return content.getvalue()


def _correct(log: UsageLog, keys: np.ndarray | list[int]) -> None:
    """Void the even ones, and replace the others by 3 tokens."""
    corrections = []
    for key in map(int, keys):
        one = {"corrects": {"source": "gw", "id": f"e{key}"}, "source": "desk", "id": f"c{key}"}
        corrections.append(one | ({"action": "replace", "data": {"tokens": 3}} if key % 2 else {"action": "void"}))
    verdict = log.corrections.submit(json.dumps(corrections).encode(), "application/json").result(60)
    assert verdict.accepted == len(keys), verdict.events[:1]


def _scanned(log: UsageLog, events: int, corrected: np.ndarray) -> float:
    """Events a second of CPU, the best of several tries."""
    log.flush()
    log.maintain()
    tries = [_timed(lambda: _sum(log)) for _ in range(TRIES)]
    expected = events - len(corrected) + 3 * int((corrected % 2).sum())
    assert all(one[2] == expected for one in tries), (tries[0][2], expected)
    wall, cpu = min(one[0] for one in tries), min(one[1] for one in tries)
    progress(f"{len(corrected):,} corrections: {wall:.3f} s, {cpu:.3f} s of CPU")
    return events / cpu


def _sum(log: UsageLog) -> int:
    by_subject = log.scan().frame.group_by("subject").agg(pl.col("data_tokens").sum())
    return int(by_subject.collect(engine="streaming")["data_tokens"].sum())


def _timed(work: Callable[[], object]) -> tuple[float, float, object]:
    before, start = _cpu(), time.perf_counter()
    result = work()
    return time.perf_counter() - start, _cpu() - before, result


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(__doc__ or "", measure)
