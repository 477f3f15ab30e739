"""Who pays for a subject, and what customers have agreed to, for a million of them: a place in arrays each, where an
object each would take ten times the memory."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from rating.words import words_of

Agreed: TypeAlias = tuple[str, datetime, datetime | None]
"""A plan or add-on, and the [start, end) of it."""

NOBODY = -1
"""The number of the customer of a subject that no customer has."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Payers:
    """The customer and the time zone of each subject. `customers` ascend; the number of one is its place there."""

    def __init__(self, payers: pl.DataFrame) -> None:
        """`payers` has one row a `subject`: its `customer` and `time_zone`."""
        self.time_zones: list[str] = payers["time_zone"].unique().sort().to_list()
        self.customers = payers["customer"].unique().sort()
        self._place_of = _places(payers["subject"])
        self._customer = _positions(payers["customer"], self.customers)
        self._zone = _positions(payers["time_zone"], pl.Series(self.time_zones, dtype=pl.String))
        self.zones = np.zeros(len(self.customers), np.int32)  # of customers, places in `time_zones`
        self.zones[self._customer] = self._zone

    def __contains__(self, subject: str) -> bool:
        return subject in self._place_of

    def find(self, subject: str) -> tuple[str, str] | None:
        """The customer that pays for a subject, and its time zone; null: nobody does."""
        place = self._place_of.get(subject)
        if place is None:
            return None
        return self.customers[int(self._customer[place])], self.time_zones[int(self._zone[place])]

    def numbers(self, subjects: Sequence[str]) -> npt.NDArray[np.int64]:
        """The number of the customer that pays for each subject, or NOBODY."""
        places = np.fromiter(map(self._place_of.get, subjects, repeat(NOBODY)), np.int64, len(subjects))
        found = places != NOBODY
        places[found] = self._customer[places[found]]
        return places

    def zone_of(self, customer: str) -> str | None:
        """The time zone of a customer; null: no subject is its own."""
        number = self.number(customer)
        return None if number is None else self.time_zones[int(self.zones[number])]

    def number(self, customer: str) -> int | None:
        """The number of a customer; null: no subject is its own."""
        place = int(self.customers.search_sorted(customer, side="left"))
        return place if place < len(self.customers) and self.customers[place] == customer else None

    def shared_with(
        self, others: "Payers", but: Collection[str]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The numbers that customers have among `others`, and those they have here, of all that are in both."""
        theirs, ours = others.customers, self.customers
        if theirs.is_empty() or ours.is_empty():
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        places = ours.search_sorted(theirs, side="left").clip(0, len(ours) - 1)
        kept = ((ours.gather(places) == theirs) & ~theirs.is_in(list(but))).to_numpy()
        return np.flatnonzero(kept), places.cast(pl.Int64).to_numpy()[kept]


class Agreements:
    """What each customer has agreed to, in the order in which it is given."""

    def __init__(self, agreed: pl.DataFrame) -> None:
        """`agreed` has one row an agreement: its `customer`, `plan`, `starts_at`, and `ends_at`, null: open end."""
        agreed = agreed.select("customer", "plan", "starts_at", "ends_at").sort("customer", maintain_order=True)
        customers = agreed["customer"].unique().sort()
        self._number_of = _places(customers)
        self._first = _positions(customers, agreed["customer"])
        self._plans: list[str] = agreed["plan"].unique().sort().to_list()
        self._plan = _positions(agreed["plan"], pl.Series(self._plans, dtype=pl.String))
        self._starts = words_of(agreed["starts_at"]).copy()
        self._has_end = agreed["ends_at"].is_not_null().to_numpy().copy()
        self._ends = words_of(agreed["ends_at"]).copy()

    def of(self, customer: str) -> list[Agreed]:
        """What one customer has agreed to."""
        number = self._number_of.get(customer)
        if number is None:
            return []
        is_last = number + 1 == len(self._first)
        places = range(self._first[number], len(self._plan) if is_last else self._first[number + 1])
        return [self._agreed(place) for place in places]

    def _agreed(self, place: int) -> Agreed:
        end = _instant(self._ends[place]) if self._has_end[place] else None
        return self._plans[self._plan[place]], _instant(self._starts[place]), end


def _places(names: pl.Series) -> dict[str, int]:
    return dict(zip(names.to_list(), range(len(names)), strict=True))


def _positions(column: pl.Series, ascending: pl.Series) -> npt.NDArray[np.int32]:
    """Where each value of a column is first in a series that has them all."""
    if column.is_empty():
        return np.zeros(0, np.int32)
    return ascending.search_sorted(column, side="left").cast(pl.Int32).to_numpy().copy()


def _instant(microseconds: np.int64) -> datetime:
    return _EPOCH + timedelta(microseconds=int(microseconds))
