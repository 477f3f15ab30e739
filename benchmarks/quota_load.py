"""Events at a steady rate, posted from a process of their own until its standard input ends.

It prints one JSON object: `accepted`, `seconds`, and how many events each subject has sent.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder: its scripts are named like the packages

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx2
import polars as pl

from benchmarks.usage import ARROW, arrow_bodies, events

BATCH, CONNECTIONS = 5_000, 2


def run(url: str, rate: int, seconds: int, subjects: list[str]) -> None:
    """Make the events of so many seconds, say by an empty line that they are ready, and post them until told to end."""
    made = [_batch(number, subjects) for number in range(seconds * rate // BATCH)]
    bodies = [arrow_bodies(batch, BATCH)[0] for batch in made]
    done = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    print(flush=True)
    with httpx2.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(CONNECTIONS) as connections:
        begun = time.perf_counter()

        def post(first: int) -> list[int]:
            return [number for number in range(first, len(bodies), CONNECTIONS) if posted(number)]

        def posted(number: int) -> bool:
            if done.wait(max(0.0, begun + number * BATCH / rate - time.perf_counter())):
                return False
            answer = client.post("/v1/events", content=bodies[number], headers={"content-type": ARROW})
            assert answer.raise_for_status().json()["accepted"] == BATCH
            return True

        sent = [made[number] for each in connections.map(post, range(CONNECTIONS)) for number in each]
        took = time.perf_counter() - begun
    assert done.is_set(), "all events that were made have been posted: the load has ended too early"
    tokens = pl.concat(sent).group_by("subject").agg(pl.col("input_tokens").cast(pl.Int64).sum())
    print(json.dumps({"accepted": len(sent) * BATCH, "seconds": took, "used": dict(tokens.iter_rows())}))


def _batch(number: int, subjects: list[str]) -> pl.DataFrame:
    made = events(BATCH, subjects=len(subjects), seed=number, first=number * BATCH)
    names = pl.Series(subjects).gather(made["subject"].str.strip_prefix("cust-").cast(pl.Int64))
    now = pl.lit(datetime.now(UTC)).cast(pl.Datetime("us", "UTC"))
    return made.with_columns(subject=names, source=pl.lit("load"), time=now)


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(","))
