"""The checks of bands and times of the day."""

from collections.abc import Iterator, Sequence
from datetime import time
from itertools import pairwise

from rating.catalog.bands import TimeWindow, When, calendar_of
from rating.catalog.literals import time_text
from rating.catalog.problems import Problem, show
from rating.core.bands import Calendar


def check_bands(path: str, bands: Sequence[TimeWindow], of_day: Sequence[TimeWindow]) -> Iterator[Problem]:
    """Bands may overlap: their weights and conditions say which one holds."""
    if bands and of_day:
        yield Problem(path, "", "The version has both `bands` and `time_of_day`.", "Write everything as `bands`.")
    for index, band in enumerate(bands):
        place = f"{path}[{index}]"
        if band.when and (calendar_of(band) != Calendar() or band.from_ is not None or band.to is not None):
            yield Problem(place, "", "The band says when it holds, and so does its `when`.", "Write all of it there.")
        for number, part in enumerate(band.parts):
            yield from _check_part(f"{place}.when[{number}]" if band.when else place, part)
    yield from _check_zones(path, bands)


def _check_part(place: str, part: When) -> Iterator[Problem]:
    if part.from_ is not None and part.from_ == part.to:
        cure = "Leave both out for the whole day, or give it a length."
        yield Problem(place, time_text(part.from_), "The band begins and ends at the same time.", cure)
    elif calendar_of(part) == Calendar() and part.begins == part.ends:
        cure = "Say when it holds; the numbers for all other times are the version's own."
        yield Problem(place, "", "The band always holds.", cure)


def check_windows(path: str, windows: Sequence[TimeWindow]) -> Iterator[Problem]:
    """Times of the day say from when to when, and share no instant."""
    for index, window in enumerate(windows):
        place = f"{path}[{index}]"
        for name, value in (("from", window.from_), ("to", window.to)):
            if value is None:
                yield Problem(f"{place}.{name}", "", f"`{name}` is missing.", f'Add `{name}: "16:30"`.')
        if calendar_of(window) != Calendar() or window.weight or window.when:
            cure = "Write it under `bands` instead of `time_of_day`."
            yield Problem(place, "", "A time of the day is the same on every date.", cure)
        if window.from_ is not None and window.from_ == window.to:
            message = "The window begins and ends at the same time."
            cure = "Give it a length; a rate for the whole day is the version's own."
            yield Problem(place, time_text(window.from_), message, cure)
    yield from _check_zones(path, windows)
    spans = sorted((span, index) for index, window in enumerate(windows) for span in _spans(window))
    for (earlier, first), (later, second) in pairwise(spans):
        if later[0] < earlier[1] and first != second:
            low, high = sorted((first, second))
            message = f"The window overlaps time_of_day[{low}]: both hold at {time_text(later[0])}."
            yield Problem(f"{path}[{high}]", "", message, "Let each time of the day have one rate.")


def _check_zones(path: str, windows: Sequence[TimeWindow]) -> Iterator[Problem]:
    """The windows of a version share one time zone, so that which one holds is known on every day."""
    for index, window in enumerate(windows):
        if window.time_zone != windows[0].time_zone:
            message = f"The windows of one version have different time zones; the first has {windows[0].time_zone}."
            yield Problem(f"{path}[{index}].time_zone", show(window.time_zone), message, "Use one time zone.")


def _spans(window: TimeWindow) -> list[tuple[time, time]]:
    """The window as intervals within one day; a window that wraps midnight has two."""
    if window.begins < window.ends:
        return [(window.begins, window.ends)]
    morning = [(time.min, window.ends)] if window.ends > time.min else []
    return [(window.begins, time.max), *morning] if window.begins != window.ends else []
