"""A body of events from a client of another system, on its way into the log."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

from starlette.concurrency import run_in_threadpool

from ingest.verdicts import DUPLICATE, BatchVerdict, EventVerdict

READ_AT_ONCE_BYTES = 16 * 1024


async def verdict_on(size: int, submit: Callable[[], Future[BatchVerdict]]) -> BatchVerdict:
    """What `submit` is answered with: a small body is read here, a large one in a thread (docs/decisions/0001)."""
    submitted = submit() if size <= READ_AT_ONCE_BYTES else await run_in_threadpool(submit)
    return await asyncio.wrap_future(submitted)


def refused(verdict: BatchVerdict) -> list[EventVerdict]:
    """The events that were not kept."""
    return [event for event in verdict.events if event.code != DUPLICATE]
