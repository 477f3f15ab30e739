"""What is held of quotas: slices that leases and calls under way have taken and nobody else may use."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from typing import Generic, TypeVar

from rating.core.quota.answer import EXACT

K = TypeVar("K", bound=Hashable)
_NOTHING = Decimal(0)
_ONE, _UNIT = Decimal(1), Decimal("1E-9")


@dataclass
class Holds(Generic[K]):
    """Amounts by the id of their hold and by what they are held of. Not for several threads."""

    _of: dict[str, tuple[K, Decimal]] = field(default_factory=dict)
    _sums: dict[K, tuple[Decimal, int]] = field(default_factory=dict)

    def put(self, id: str, of: K, amount: Decimal) -> None:
        """Hold `amount`; a hold of the same id is another one from now on."""
        self.drop(id)
        self._of[id] = (of, amount)
        self._add(of, amount, 1)

    def shrink(self, id: str, by: Decimal) -> None:
        """Give back `by`, at most all; an unknown hold is none."""
        if id in self._of:
            of, amount = self._of[id]
            less = min(by, amount)
            self._of[id] = (of, EXACT.subtract(amount, less))
            self._add(of, -less, 0)

    def drop(self, id: str) -> None:
        """Give back all; an unknown hold is none."""
        if id in self._of:
            of, amount = self._of.pop(id)
            self._add(of, -amount, -1)

    def held(self, of: K) -> Decimal:
        """What all holds come to."""
        return self._sums.get(of, (_NOTHING, 0))[0]

    def units(self, of: K) -> int:
        """The same in units of 10^-9, from any thread."""
        found = self._sums.get(of) if self._sums else None
        return 0 if found is None else int(EXACT.scaleb(found[0], 9))

    def sums(self) -> dict[K, tuple[Decimal, int]]:
        """What is held, and by how many holds."""
        return dict(self._sums)

    def _add(self, of: K, amount: Decimal, holds: int) -> None:
        before, count = self._sums.get(of, (_NOTHING, 0))
        self._sums[of] = (EXACT.add(before, amount), count + holds)
        if count + holds == 0:
            del self._sums[of]


def slice_of(room: Decimal, amount: Decimal, minimum: Decimal, is_shared: bool) -> Decimal:
    """How much of `room` (at least `minimum`) a hold of `amount` gets: no more than half where others hold some too, so
    that slices become smaller towards the limit. Whoever asks for whole units gets whole units."""
    most = room / 2 if is_shared else room
    is_whole = amount == amount.to_integral_value() and minimum == minimum.to_integral_value()
    most = most.quantize(_ONE if is_whole else _UNIT, ROUND_FLOOR, EXACT)
    return min(amount, max(most, minimum))
