"""When a delivery is tried again, and when it is given up."""

from datetime import timedelta

import pytest

from api.webhooks.schedule import pause


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(1, 5), (2, 30), (3, 120), (4, 600), (5, 1800), (6, 3600), (7, 10800), (8, 21600), (9, 43200), (10, 86400)],
)
def test_pauses_grow_and_are_spread(attempts: int, seconds: int) -> None:
    assert pause(attempts, 3, 0.5) == timedelta(seconds=seconds)
    assert pause(attempts, 3, 0.0) == timedelta(seconds=seconds * 0.8)


@pytest.mark.parametrize(
    ("days", "last"),
    [
        pytest.param(1, 9, id="5 s to 12 h are 22.7 h, and a day more is too much"),
        pytest.param(3, 11, id="and two days more are 2.9 days"),
        pytest.param(30, 38, id="and 29 days are 29.9 days"),
    ],
)
def test_a_delivery_is_given_up_when_trying_has_taken_its_days(days: int, last: int) -> None:
    assert pause(last, days, 0.5) is not None
    assert pause(last + 1, days, 0.5) is None
