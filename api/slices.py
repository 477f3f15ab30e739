"""What one lease holds of a quota: the first grant and each renewal are holds of their own, spent oldest first."""

from datetime import datetime
from decimal import Decimal
from itertools import count

from rating.core.quota.answer import EXACT, QuotaAnswer
from rating.core.quota.seam import Hold, Quota

_NOTHING = Decimal(0)
_numbers = count(1)


class Slice:
    """The holds of the lease `id`, under ids that nobody else has; `left` is what they come to. Not for several
    threads."""

    def __init__(self, quota: Quota, id: str) -> None:
        self._quota, self._id = quota, id
        self._holds: dict[str, Decimal] = {}
        self.left = _NOTHING

    def fill(self, subject: str, feature: str, amount: Decimal, minimum: Decimal, now: datetime) -> Hold | QuotaAnswer:
        """Hold `amount` more, or as much as there is, at least `minimum`; or what refuses it."""
        held = self._quota.hold(self._next(), subject, feature, amount, minimum, now)
        if isinstance(held, Hold):
            self._add(held)
        return held

    def restore(self, subject: str, feature: str, amount: Decimal, ends_at: datetime | None) -> None:
        """Hold what a lease of before the start has left."""
        hold = Hold(self._next(), subject, feature, amount, ends_at)
        self._quota.restore_hold(hold)
        self._add(hold)

    def shrink(self, by: Decimal) -> None:
        """So much was used, or is given back; more than is left is all."""
        for id, left in list(self._holds.items()):
            less = min(left, by)
            if less == left:
                self.give_back(id)
            elif less > 0:
                self._quota.shrink(id, less)
                self._holds[id] = EXACT.subtract(left, less)
                self.left = EXACT.subtract(self.left, less)
            by = EXACT.subtract(by, less)

    def keep(self, most: Decimal) -> None:
        """Give back all but `most`."""
        if self.left > most:
            self.shrink(EXACT.subtract(self.left, most))

    def give_back(self, id: str) -> None:
        """Give one of the holds back."""
        self.left = EXACT.subtract(self.left, self._holds.pop(id))
        self._quota.drop(id)

    def drop(self) -> None:
        """Give back all."""
        for id in list(self._holds):
            self.give_back(id)

    def _add(self, hold: Hold) -> None:
        self._holds[hold.id] = hold.amount
        self.left = EXACT.add(self.left, hold.amount)

    def _next(self) -> str:
        return f"lease:{self._id}:{next(_numbers)}"
