"""Bands that never hold, because of others or of the calendar, and versions that nothing is left of beside them.

What holds when is looked at on a week: seven days of spans in microseconds. Only bands whose dates are told by weekdays
alone are sure to hold on every one of those, so only these can leave another no time.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta

from rating.catalog.bands import When, calendar_of, priorities_of
from rating.catalog.findings import Finding, warning
from rating.catalog.parts import Version
from rating.core.bands import Calendar

_DAY = 24 * 3600 * 10**6
_DAYS_OF_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_WEEK = range(1, 8)
Span = tuple[int, int, int]  # weekday, from, to


def band_findings(path: str, version: Version, until: datetime | None) -> Iterator[Finding]:
    """The findings in the bands of a version that is in force until the next one begins."""
    ranks = priorities_of(version.windows)
    sure = {part: rank for part, rank in ranks.items() if _is_weekly(part[1])}
    if ranks and _covered(_whole_week(), [span for _, part in sure for span in _spans(part)]):
        message = "Its bands hold at every time of every day: the numbers outside them never apply."
        yield warning("version_never_applies", path, "", message, "Remove a band, or let it be the version's own rate.")
    for place, window in enumerate(version.windows):
        where = f"{path}.{_place(version, place)}"
        parts = [part for part in window.parts if _has_dates(calendar_of(part), version.effective_from, until)]
        if not parts:
            message = "No date is in this band while its version is in force."
            yield warning("band_never_applies", where, "", message, "Correct its dates, days, months and years.")
        elif all(_is_covered(place, part, ranks[place, part], sure) for part in parts):
            message = "Other bands go before it whenever it would hold."
            yield warning("band_never_applies", where, "", message, "Remove it, or give it a higher `weight`.")


def _is_covered(place: int, part: When, rank: int, sure: dict[tuple[int, When], int]) -> bool:
    before = [it for (other, it), above in sure.items() if above > rank and other != place]
    return _covered(_spans(part), [span for it in before for span in _spans(it)])


def _place(version: Version, place: int) -> str:
    field = "bands" if getattr(version, "bands", ()) else "time_of_day"
    return f"{field}[{getattr(version, field).index(version.windows[place])}]"


def _is_weekly(part: When) -> bool:
    calendar = calendar_of(part)
    return calendar == Calendar(weekdays=calendar.weekdays)


def _whole_week() -> list[Span]:
    return [(day, 0, _DAY) for day in _WEEK]


def _spans(part: When) -> list[Span]:
    """When it may hold in a week; what is over midnight is on the next day."""
    begins, ends = _microseconds(part.begins), _microseconds(part.ends) or _DAY
    days = calendar_of(part).weekdays or _WEEK
    if begins < ends:
        return [(day, begins, ends) for day in days]
    return [span for day in days for span in ((day, begins, _DAY), (day % 7 + 1, 0, ends))]


def _microseconds(at: time) -> int:
    return ((at.hour * 60 + at.minute) * 60 + at.second) * 10**6 + at.microsecond


def _covered(spans: Iterable[Span], others: Sequence[Span]) -> bool:
    return all(_is_within(span, sorted(other for other in others if other[0] == span[0])) for span in spans)


def _is_within(span: Span, others: Sequence[Span]) -> bool:
    _, reached, end = span
    for _, begins, ends in others:
        if begins <= reached:
            reached = max(reached, ends)
    return reached >= end


def _has_dates(calendar: Calendar, since: datetime | None, until: datetime | None) -> bool:
    """Whether some date is in it from `since` to `until`; a day more at either end, for the clocks of other zones."""
    first = date.min if since is None else since.date() - timedelta(days=1)
    last = date.max if until is None else until.date() + timedelta(days=1)
    if calendar.dates:
        return any(first <= day <= last and calendar.holds(day) for day in calendar.dates)
    if calendar.years and not any(first.year <= year <= last.year for year in calendar.years):
        return False
    months = calendar.months or range(1, 13)
    return not calendar.month_days or any(min(calendar.month_days) <= _DAYS_OF_MONTH.get(m, 31) for m in months)
