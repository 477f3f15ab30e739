"""Exact sums for many windows at once: what quota counting does with a group of events, without a query a group.

Numbers are in units of 10^-9, those of QUANTITY. A sum is kept in two words, whole units and the rest, so that it stays
exact for as long as there are fewer than 2^62 whole units in all; should there ever be more, the words become Python's
integers, which have no end.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rating.core.book import Filter, Meter
from rating.core.metering import metered_events
from rating.core.quota.answer import EXACT
from rating.core.schema import property_column
from rating.words import words_of

UNITS = 10**9
NEVER = np.iinfo(np.int64).max
"""A threshold that no counter has."""
_WORD_MAX = 1 << 62
_GROWTH = 1024
_ROW = "counted:row"

Rows = npt.NDArray[np.int64]
Units = npt.NDArray[Any]
"""Quantities in units of 10^-9: words of 64 bits, or Python's integers where one is too large for that."""


class Counters:
    """One row is one counter, from 0. One thread at a time moves them; any other may look by `units_at_once`."""

    def __init__(self, count: int = 0) -> None:
        """`count` of them are there."""
        self._count, room = count, max(count, _GROWTH)
        self._moves = 0  # odd while counters are moved
        self._keep(np.zeros(room, np.int64), np.zeros(room, np.int64))
        self._threshold = np.full(room, NEVER, np.int64)
        self._is_counted = np.zeros(room, bool)
        self._whole_bound = self._rest_bound = 0
        self._has_rest = False

    def new(self, threshold: Decimal | None) -> int:
        """Another counter, at 0; `threshold` is for `reached`."""
        row = self._count
        self.grow(1)
        self._threshold[row] = NEVER if threshold is None else _wholeunits_of(threshold)
        return row

    def grow(self, count: int) -> None:
        """So many more of them, at 0."""
        self._count += count
        if self._count > len(self._threshold):
            more = max(self._count, 2 * len(self._threshold)) - len(self._threshold)
            with self._moving():
                self._keep(*(np.append(words, np.zeros(more, words.dtype)) for words in (self._whole, self._rest)))
            self._threshold = np.append(self._threshold, np.full(more, NEVER, np.int64))
            self._is_counted = np.append(self._is_counted, np.zeros(more, bool))

    def add(self, rows: Rows, units: Units) -> None:
        """Add each number to the counter of its row; a row may be there many times.

        Readers wait for the two additions alone, which keep the interpreter's lock. Arithmetic that releases it gets it
        back 5 ms later beside a busy event loop, and every check meanwhile would have to wait.
        """
        if not len(rows):
            return
        whole = units // UNITS
        rest = units - whole * UNITS
        self._make_room(whole)
        if self._whole.dtype != object:
            whole, rest = whole.astype(np.int64, copy=False), rest.astype(np.int64, copy=False)
        has_rest = bool(rest.any())
        self._is_counted[rows] = True
        self._has_rest = self._has_rest or has_rest
        with self._moving():
            np.add.at(self._whole, rows, whole)
            if has_rest:
                np.add.at(self._rest, rows, rest)

    def reached(self, rows: Rows) -> list[int]:
        """Those of `rows`, each once, whose counters may have reached their thresholds."""
        whole = self._whole[rows] + self._rest[rows] // UNITS if self._has_rest else self._whole[rows]
        reached: list[int] = np.unique(rows[whole >= self._threshold[rows]]).tolist()
        return reached

    def would_reach(self, rows: Rows, whole: Rows, rest: Rows) -> npt.NDArray[np.bool_]:
        """Which of `rows` may reach their thresholds with so many more whole units and units of 10^-9."""
        found: npt.NDArray[np.bool_] = (
            self._whole[rows] + whole + (self._rest[rows] + rest) // UNITS >= (self._threshold[rows])
        )
        return found.astype(bool)

    def put(self, row: int, units: int) -> None:
        """Make a counter `units` of 10^-9; 0 is as if nothing had ever been added."""
        whole, rest = divmod(units, UNITS)
        self._whole_bound, self._rest_bound = max(self._whole_bound, abs(whole)), max(self._rest_bound, 1)
        self._widen()
        self._has_rest = self._has_rest or rest != 0
        self._is_counted[row] = units != 0
        with self._moving():
            self._whole[row], self._rest[row] = whole, rest

    def empty(self, rows: Rows, thresholds: Units) -> None:
        """Begin again at 0; thresholds are in whole units."""
        self._is_counted[rows], self._threshold[rows] = False, thresholds
        with self._moving():
            self._whole[rows], self._rest[rows] = 0, 0

    def adopt(self, old: "Counters", rows: Rows, own: Rows) -> None:
        """Take over `rows` of others as `own` rows, with their thresholds."""
        self._whole_bound = max(self._whole_bound, old._whole_bound)
        self._rest_bound, self._has_rest = max(self._rest_bound, old._rest_bound), self._has_rest or old._has_rest
        self._widen()
        self._is_counted[own], self._threshold[own] = old._is_counted[rows], old._threshold[rows]
        with self._moving():
            self._whole[own], self._rest[own] = old._whole[rows], old._rest[rows]

    def expect(self, row: int, least: int | None) -> None:
        """Name `row` from `least` units of 10^-9 on, null: never."""
        self._threshold[row] = threshold_of(least)

    def forget_threshold(self, row: int) -> None:
        """Never name `row` in `reached` again."""
        self.put_threshold(row, None)

    def put_threshold(self, row: int, threshold: Decimal | None) -> None:
        """Another threshold of `row` for `reached`; null: none."""
        self._threshold[row] = NEVER if threshold is None else _wholeunits_of(threshold)

    def is_counted(self, row: int) -> bool:
        """Whether anything was ever added."""
        return bool(self._is_counted[row])

    def counted(self) -> Rows:
        """The rows to which anything was ever added, ascending."""
        return np.flatnonzero(self._is_counted)

    def value(self, row: int) -> Decimal:
        """What was added up."""
        return quantity(self.units(row))

    def units(self, row: int) -> int:
        """The same in units of 10^-9."""
        units: int = self._whole_words[row] * UNITS + self._rest_words[row]
        return units

    def units_at_once(self, row: int) -> int | None:
        """The same from any thread; null: the counters are moved at this moment."""
        moves = self._moves
        units: int = self._whole_words[row] * UNITS + self._rest_words[row]
        return units if moves == self._moves and not moves & 1 else None

    @contextmanager
    def _moving(self) -> Iterator[None]:
        """Readers beside it are told to wait."""
        self._moves += 1
        try:
            yield
        finally:
            self._moves += 1

    def _keep(self, whole: Units, rest: Units) -> None:
        """Arrays (`rest` may be more than UNITS), and what gives Python's integers of them ten times faster."""
        self._whole, self._rest = whole, rest
        self._whole_words: Any = whole if whole.dtype == object else memoryview(whole)  # type: ignore[arg-type]
        self._rest_words: Any = rest if rest.dtype == object else memoryview(rest)  # type: ignore[arg-type]

    def _make_room(self, whole: Units) -> None:
        self._whole_bound += max(abs(int(whole.min())), abs(int(whole.max())), 1) * len(whole)
        self._widen()
        self._rest_bound += len(whole)
        if self._rest_bound * UNITS >= _WORD_MAX:
            with self._moving():
                self._keep(self._whole + self._rest // UNITS, self._rest % UNITS)
            self._rest_bound = len(whole) + 1
            self._whole_bound += self._rest_bound  # what was carried

    def _widen(self) -> None:
        """Go over to Python's integers where a sum may be too large for a word."""
        if self._whole_bound >= _WORD_MAX and self._whole.dtype != object:
            with self._moving():
                self._keep(self._whole.astype(object), self._rest.astype(object))


def threshold_of(least: int | None) -> int:
    """The whole units below which `least` units of 10^-9 are not reached; null: never."""
    return NEVER if least is None else max(-_WORD_MAX, min(_WORD_MAX, least // UNITS))


def quantity(units: int) -> Decimal:
    """Units of 10^-9 -> the quantity, exactly."""
    return Decimal(units).scaleb(-9, EXACT)


def counted(events: pl.DataFrame, meter: Meter) -> tuple[Rows | None, Units]:
    """Which events `meter` counts, null: all, and the quantity of each of these: `metered_events` as arrays.

    `events` is USAGE_EVENT with the meter's properties as columns. A meter that adds up columns, with filters of listed
    values alone, is counted in arrays; every other is metered by a query, which takes half a millisecond more.
    """
    of_type = events.get_column("type") == meter.event_type
    if not of_type.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return _counted_in_arrays(events, meter, of_type) if _is_plain(meter) else _counted_by_query(events, meter)


def _is_plain(meter: Meter) -> bool:
    """Whether arrays are enough: columns added up, and filters of listed values alone."""
    labels = {table.dimension for table in meter.prefixes}
    listed = all(rule.operator in ("in", "not_in") and rule.property not in labels for rule in meter.filters)
    return listed and not meter.exclude and meter.expression is None


def _counted_by_query(events: pl.DataFrame, meter: Meter) -> tuple[Rows, Units]:
    metered = metered_events(events.lazy().with_row_index(_ROW), meter)
    found = metered.select(pl.col(_ROW).cast(pl.Int64), "quantity").sort(_ROW).collect()
    return found.get_column(_ROW).to_numpy(), units_of(found.get_column("quantity"))


def _counted_in_arrays(events: pl.DataFrame, meter: Meter, of_type: pl.Series) -> tuple[Rows | None, Units]:
    is_counted = _true_throughout_or_mask([of_type, *(_passes(events, f) for f in meter.filters)])
    columns = [events.get_column(property_column(name)) for name in (*meter.add, *meter.subtract)]
    signs = [1] * len(meter.add) + [-1] * len(meter.subtract)
    if meter.aggregation == "count":
        units: Units = np.full(events.height, UNITS)
    else:
        units = _linear(columns, signs)
        if all(column.null_count() for column in columns):
            has_any = np.logical_or.reduce([column.is_not_null().to_numpy() for column in columns])
            is_counted = has_any if is_counted is None else is_counted & has_any
    if is_counted is None:
        return None, units
    rows = np.flatnonzero(is_counted)
    return rows, units[rows]


def _linear(columns: list[pl.Series], signs: list[int]) -> Units:
    parts = [units_of(column) for column in columns]
    if len(parts) > 1 and not all(part.dtype != object and _is_small(part) for part in parts):
        parts = [part.astype(object) for part in parts]
    total = parts[0]
    for part, sign in zip(parts[1:], signs[1:], strict=True):
        total = total + part if sign > 0 else total - part
    return total


def _is_small(units: Units) -> bool:
    """Whether a hundred thousand of them can be added without a check."""
    return not len(units) or (int(units.max()) < _WORD_MAX >> 17 and int(units.min()) > -_WORD_MAX >> 17)


def units_of(column: pl.Series) -> Units:
    """A column of quantities; null counts as zero."""
    words = words_of(column)
    low, high = words[:, 0], words[:, 1]
    if column.null_count():
        is_present = column.is_not_null().to_numpy()
        low, high = np.where(is_present, low, 0), np.where(is_present, high, 0)
    if (high == low >> 63).all():
        return low
    wide: Units = high.astype(object) * (1 << 64) + low.view(np.uint64).astype(object)
    return wide


def _passes(events: pl.DataFrame, rule: Filter) -> pl.Series:
    listed = events.get_column(property_column(rule.property)).is_in(list(rule.values)).fill_null(False)
    return listed if rule.operator == "in" else ~listed


def _true_throughout_or_mask(rules: Iterable[pl.Series]) -> npt.NDArray[np.bool_] | None:
    """Where all rules hold; null: everywhere."""
    masks = [rule.to_numpy() for rule in rules if not rule.all()]
    return np.logical_and.reduce(masks) if masks else None


def _wholeunits_of(threshold: Decimal) -> int:
    """The whole part, below which nothing has reached it."""
    return max(-_WORD_MAX, min(_WORD_MAX, int(threshold.to_integral_value(ROUND_FLOOR))))
