"""Windows of a usage query tile the time: no instant is in none, and none in two, wherever clocks are changed."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.windows import Window, window_end, window_start
from rating.core.schema import INSTANT

ZONES = [
    "UTC",
    "Europe/Madrid",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "America/Havana",
    "America/Sao_Paulo",
    "America/Caracas",
    "Africa/Casablanca",
    "America/Scoresbysund",
    "Antarctica/Troll",
]
SECONDS_OF_2100 = 4_102_444_800
instants = st.integers(10 * 365 * 86_400, SECONDS_OF_2100).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


def starts(times: list[datetime], window: Window, zone: str) -> list[datetime]:
    frame = pl.DataFrame({"time": times}, schema={"time": INSTANT})
    return frame.select(window_start(pl.col("time"), window, zone)).to_series().to_list()


def end(start: datetime, window: Window, zone: str) -> datetime:
    frame = pl.DataFrame({"start": [start]}, schema={"start": INSTANT})
    found: datetime = frame.select(window_end(pl.col("start"), window, zone)).item()
    return found


def hours_of(day: date, zone: str) -> tuple[list[datetime], float]:
    """The hours that begin on a local day, and how long the day is; every eighth of an hour is looked at."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    times = [noon + timedelta(minutes=7.5 * step) for step in range(-8 * 20, 8 * 20)]
    of_day = [at for at, start in zip(times, starts(times, "day", zone), strict=True)
              if start == starts([noon], "day", zone)[0]]  # fmt: skip
    return sorted(set(starts(of_day, "hour", zone))), len(of_day) / 8


@pytest.mark.parametrize(
    ("day", "zone", "hours", "length"),
    [
        pytest.param(date(2026, 10, 10), "Europe/Madrid", 24, 24, id="an ordinary day"),
        pytest.param(date(2026, 3, 29), "Europe/Madrid", 23, 23, id="clocks go forward"),
        pytest.param(date(2026, 10, 25), "Europe/Madrid", 25, 25, id="clocks go back: the hour 2 comes twice"),
        pytest.param(date(2026, 10, 4), "Australia/Lord_Howe", 24, 23.5, id="forward by half an hour"),
        pytest.param(
            date(2026, 4, 5), "Australia/Lord_Howe", 24, 24.5, id="back by half an hour: the hour 1 is longer"
        ),
        pytest.param(date(2011, 12, 31), "Pacific/Apia", 24, 24, id="behind the day that Samoa skipped"),
        pytest.param(date(1986, 1, 1), "Asia/Kathmandu", 24, 23.75, id="midnight to 0:15 was skipped"),
        pytest.param(date(2026, 11, 1), "America/Havana", 25, 25, id="midnight comes twice, the day once"),
        pytest.param(date(2018, 11, 4), "America/Sao_Paulo", 23, 23, id="midnight was skipped"),
        pytest.param(date(2024, 2, 29), "Europe/Madrid", 24, 24, id="a leap day"),
    ],
)
def test_a_day_has_the_hours_that_its_clocks_show(day: date, zone: str, hours: int, length: float) -> None:
    found = hours_of(day, zone)
    assert (len(found[0]), found[1]) == (hours, length)
    assert end(starts([found[0][0]], "day", zone)[0], "day", zone) - found[0][0] == timedelta(hours=length)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("window", ["minute", "hour", "day", "month"])
@given(instant=instants, steps=st.lists(st.integers(1, 7_200), min_size=20, max_size=20))
def test_windows_tile_the_time(zone: str, window: Window, instant: datetime, steps: list[int]) -> None:
    """A window begins in itself; what lies between two instants of a window is in it too; later is never before."""
    times = [instant]
    for step in steps:
        times.append(times[-1] + timedelta(seconds=step))
    found = starts(times, window, zone)
    assert all(start <= time for start, time in zip(found, times, strict=True))
    assert starts(found, window, zone) == found
    assert all(one <= another for one, another in pairwise(found))


@pytest.mark.parametrize("zone", ZONES)
@given(instant=instants)
def test_a_day_ends_where_the_next_begins(zone: str, instant: datetime) -> None:
    for window in ("day", "month"):
        [start] = starts([instant], window, zone)
        after = end(start, window, zone)
        assert start <= instant < after
        assert starts([after], window, zone) == [after]
        assert starts([after - timedelta(microseconds=1)], window, zone) == [start]
