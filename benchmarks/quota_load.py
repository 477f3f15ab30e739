"""Events at a steady rate, posted from a process of their own until its standard input ends.

It prints one JSON object: `accepted`, `seconds`, and how many events each subject has sent.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder: its scripts are named like the packages

import json
import threading
import time
from datetime import UTC, datetime

import httpx2
import polars as pl

from benchmarks.usage import ARROW, arrow_bodies, events

BATCH = 5_000


def run(url: str, rate: int, subjects: list[str]) -> None:
    done, sent, number = threading.Event(), pl.DataFrame(schema={"subject": pl.String(), "tokens": pl.Int64()}), 0
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    with httpx2.Client(base_url=url, timeout=60) as client:
        begun = time.perf_counter()
        while not done.is_set():
            made = _batch(number, subjects)
            [body] = arrow_bodies(made, BATCH)
            done.wait(begun + number * BATCH / rate - time.perf_counter())
            answer = client.post("/v1/events", content=body, headers={"content-type": ARROW})
            assert answer.raise_for_status().json()["accepted"] == BATCH
            sent = pl.concat([sent, made.select("subject", tokens=pl.col("input_tokens").cast(pl.Int64))])
            number += 1
        seconds = time.perf_counter() - begun
    used = dict(sent.group_by("subject").agg(pl.col("tokens").sum()).iter_rows())
    print(json.dumps({"accepted": number * BATCH, "seconds": seconds, "used": used}))


def _batch(number: int, subjects: list[str]) -> pl.DataFrame:
    made = events(BATCH, subjects=len(subjects), seed=number, first=number * BATCH)
    names = pl.Series(subjects).gather(made["subject"].str.strip_prefix("cust-").cast(pl.Int64))
    now = pl.lit(datetime.now(UTC)).cast(pl.Datetime("us", "UTC"))
    return made.with_columns(subject=names, source=pl.lit("load"), time=now)


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), sys.argv[3].split(","))
