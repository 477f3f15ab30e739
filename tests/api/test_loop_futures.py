"""Results of other threads reach the coroutines that wait for them, each its own, however many come at a time."""

import asyncio
import threading
from concurrent.futures import Future

import pytest

from api.loop_futures import LoopFutures


def test_results_and_failures_of_several_threads_reach_those_who_wait() -> None:
    sources: list[Future[int]] = [Future() for _ in range(400)]

    def resolve(part: list[Future[int]]) -> None:
        for source in part:
            number = sources.index(source)
            source.set_exception(ValueError(number)) if number % 10 == 0 else source.set_result(number)

    async def wait_for_all() -> list[int | BaseException]:
        futures = LoopFutures(asyncio.get_running_loop())
        waiting = [futures.wrap(source) for source in sources]
        for first in range(4):
            threading.Thread(target=resolve, args=(sources[first::4],)).start()
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)

    results = asyncio.run(wait_for_all())
    for number, result in enumerate(results):
        if number % 10:
            assert result == number
        else:
            assert isinstance(result, ValueError)
            assert result.args == (number,)


def test_who_has_gone_away_is_left_alone_and_the_others_are_served() -> None:
    async def leave_and_wait() -> int:
        futures = LoopFutures(asyncio.get_running_loop())
        gone: Future[int] = Future()
        stays: Future[int] = Future()
        left, waits = futures.wrap(gone), futures.wrap(stays)
        left.cancel()
        gone.set_result(1)
        stays.set_result(2)
        return await asyncio.wait_for(waits, 10)

    assert asyncio.run(leave_and_wait()) == 2


def test_a_result_behind_the_end_of_the_loop_is_nobodys_fault(caplog: pytest.LogCaptureFixture) -> None:
    source: Future[int] = Future()

    async def ask() -> None:
        LoopFutures(asyncio.get_running_loop()).wrap(source)

    asyncio.run(ask())
    source.set_result(1)
    assert not caplog.records
