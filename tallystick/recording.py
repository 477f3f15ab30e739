"""What an answer to a batch of recorded events means: shared by the thread and the task that send them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tallystick.answers import Refusal, kept_of
from tallystick.buffering import Buffer
from tallystick.calls import Reply, problem_of
from tallystick.events import Event
from tallystick.retrying import Retrying, is_sent_again, wait_seconds

HALVED = frozenset({400, 409, 413})
"""Refused as a whole, for what one of them may be to blame for."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of all that was recorded. `unsent` was not acknowledged when the client was closed: whether it was
    counted is not known, so send it again with its ids."""

    kept: int
    refused: int
    unsent: Sequence[Event]


class Ledger:
    """What became of events so far. Every event that is added to `buffer` is counted in exactly one of three."""

    def __init__(self, buffer: Buffer, policy: Retrying, on_refused: Callable[[Refusal], None]) -> None:
        self.buffer, self._policy, self._on_refused = buffer, policy, on_refused
        self.kept = self.refused = 0

    def heard(self, reply: Reply | None, now: float, chance: float) -> list[Refusal]:
        """Settle the batch under way by `reply`, None where there was no answer; what it refused is returned."""
        buffer = self.buffer
        status = None if reply is None else reply.status
        if reply is None or is_sent_again(status):
            told = None if reply is None else reply.headers.get("retry-after")
            buffer.again(now, wait_seconds(self._policy, buffer.tries + 1, told, chance))
            return []
        found = kept_of(reply.content, buffer.under_way)
        if found is not None and status in (200, 207, 422):
            refused = list(found.refusals)
            self.kept += len(buffer.settle()) - len(refused)
        elif status in HALVED and len(buffer.under_way) > 1:
            buffer.halve()
            return []
        else:
            problem = problem_of(reply)
            refused = [Refusal(event, problem.slug, str(problem)) for event in buffer.settle()]
        self.refused += len(refused)
        return refused

    def tell(self, refused: list[Refusal]) -> None:
        for refusal in refused:
            self._on_refused(refusal)

    def result(self) -> Recorded:
        return Recorded(self.kept, self.refused, tuple(self.buffer.rest()))
