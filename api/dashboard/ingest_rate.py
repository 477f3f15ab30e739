"""How fast events are accepted: the sequence of the newest is looked at once a second, for the last minutes."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

from api.engine import Engine

SECONDS_KEPT = 180
_SECOND = 1.0
_MEAN_OF = 5


class IngestRate:
    """Noted in the event loop, read by any thread."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=SECONDS_KEPT + 1)

    def note(self, at: float, last_sequence: int) -> None:
        self._seen.append((at, last_sequence))

    @property
    def by_second(self) -> list[int]:
        """Events a second between looks, the newest last."""
        seen = list(self._seen)
        return [round((last - first) / max(end - start, 1e-3)) for (start, first), (end, last) in pairwise(seen)]

    @property
    def now(self) -> int:
        """The mean of the last seconds."""
        newest = self.by_second[-_MEAN_OF:]
        return round(sum(newest) / len(newest)) if newest else 0

    @asynccontextmanager
    async def watching(self, engine: Engine) -> AsyncIterator[None]:
        """Look at `engine` once a second while the block runs."""
        task = asyncio.create_task(self._watch(engine))
        try:
            yield
        finally:
            task.cancel()

    async def _watch(self, engine: Engine) -> None:
        while True:
            self.note(time.monotonic(), engine.log.view().last_sequence)
            await asyncio.sleep(_SECOND)
