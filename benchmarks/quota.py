"""Quota checks over HTTP while events are ingested, in process, many at once and beside Redis; what a million subjects
take, how long a start takes, how soon a limit that is reached is known. Every answer is checked against the usage."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder: its scripts are named like the packages

from benchmarks import leases
from benchmarks.measuring import Figure, main
from benchmarks.quota_http import over_http
from benchmarks.quota_memory import memory
from benchmarks.quota_process import in_process
from benchmarks.quota_redis import beside_redis
from benchmarks.quota_restart import restart
from benchmarks.quota_signals import signals


def measure(quick: bool) -> dict[str, Figure]:
    return {
        **over_http(quick),
        **in_process(quick),
        **memory(quick),
        **beside_redis(quick),
        **restart(quick),
        **signals(quick),
        **leases.measure(quick),
    }


if __name__ == "__main__":
    main("quota checks", measure)
