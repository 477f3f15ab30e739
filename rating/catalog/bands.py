"""Bands in a catalog file: when a part of a version's numbers holds, and which holds where several do."""

from collections.abc import Sequence
from datetime import date, time
from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from rating.catalog.literals import TimeOfDay, TimeZone, refusal
from rating.catalog.part import Part
from rating.core.bands import Calendar

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIDNIGHT = time(0)


def _read_date(value: object) -> date:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    if type(value) is date:
        return value
    raise refusal("this is not a date.", "Write year, month and day, such as 2026-12-25.")


def _each_once(values: tuple[object, ...]) -> tuple[object, ...]:
    if len(set(values)) < len(values):
        raise refusal("the list names something twice.", "List each once.")
    return values


def _whole_number(low: int, high: int) -> PlainValidator:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise refusal(f"this must be a whole number from {low} to {high}.", "Write it in digits, without quotes.")
        return value

    return PlainValidator(read)


def _number_schema(low: int, high: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", "minimum": low, "maximum": high})


_ONCE = (MinLen(1), AfterValidator(_each_once))
Date = Annotated[
    date,
    PlainValidator(_read_date),
    PlainSerializer(date.isoformat),
    WithJsonSchema({"type": "string", "format": "date"}),
]
Month = Annotated[int, _whole_number(1, 12), _number_schema(1, 12)]
MonthDay = Annotated[int, _whole_number(1, 31), _number_schema(1, 31)]
Year = Annotated[int, _whole_number(1, 9998), _number_schema(1, 9998)]
BandWeight = Annotated[int, _whole_number(-1_000_000, 1_000_000), _number_schema(-1_000_000, 1_000_000)]


class When(Part):
    """A part of the time. What is not said holds always."""

    from_: TimeOfDay | None = Field(None, alias="from")
    """When the band begins on the local clock, inclusive; midnight unless given."""
    to: TimeOfDay | None = None
    """When it ends, exclusive; midnight unless given. Before `from`: on the next day, whose date does not count."""
    weekdays: Annotated[tuple[Weekday, ...], *_ONCE] | None = None
    """On which days of the week: mon, tue, wed, thu, fri, sat, sun."""
    month_days: Annotated[tuple[MonthDay, ...], *_ONCE] | None = None
    """On which days of the month, 1 to 31."""
    months: Annotated[tuple[Month, ...], *_ONCE] | None = None
    """In which months, 1 to 12: a season."""
    years: Annotated[tuple[Year, ...], *_ONCE] | None = None
    """In which years."""
    holidays: Annotated[tuple[Date, ...], *_ONCE] | None = None
    """On which dates."""

    @property
    def begins(self) -> time:
        """When it begins."""
        return self.from_ if self.from_ is not None else MIDNIGHT

    @property
    def ends(self) -> time:
        """When it ends; midnight is that of the next day."""
        return self.to if self.to is not None else MIDNIGHT


class TimeWindow(When):
    """When numbers of their own hold, chosen by the event's own time."""

    when: tuple[When, ...] = ()
    """Several parts of the time in which the same numbers hold; or what is said beside it."""
    weight: BandWeight = 0
    """Where several bands hold, the one with the highest weight does. Among equals the one with `holidays`, then the
    one with more conditions, then the one that begins later in the day, then the first one written."""
    time_zone: TimeZone = "UTC"
    """Whose clock and calendar, such as Europe/Madrid."""

    @property
    def parts(self) -> tuple[When, ...]:
        """The parts of the time in which it holds."""
        return self.when or (self,)


def calendar_of(window: When) -> Calendar:
    """The dates on which it holds."""
    return Calendar(
        weekdays=tuple(sorted(WEEKDAYS.index(day) + 1 for day in window.weekdays or ())),
        months=tuple(sorted(window.months or ())),
        month_days=tuple(sorted(window.month_days or ())),
        years=tuple(sorted(window.years or ())),
        dates=tuple(sorted(window.holidays or ())),
    )


def priorities_of(windows: Sequence[TimeWindow]) -> dict[tuple[int, When], int]:
    """The parts of each window, by its place, and the rank of each part, from 0, by the rule of `weight`."""
    parts = [(place, part) for place, window in enumerate(windows) for part in window.parts]
    ranked = sorted(parts, key=lambda it: (windows[it[0]].weight, *_precedence(it[1]), -it[0]))
    return {part: rank for rank, part in enumerate(ranked)}


def _precedence(part: When) -> tuple[bool, int, time]:
    has_hours = part.begins != part.ends
    said = (part.weekdays, part.month_days, part.months, part.years, part.holidays, has_hours or None)
    return part.holidays is not None, sum(it is not None for it in said), part.begins
