"""Usage laid out: every window, the largest groups, the sum of the rest, the span before."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import httpx2
import pytest

from api.engine import Engine
from api.fullest import fullest
from api.revenue import revenue_of
from api.usage import UsageQuery
from api.usage_shown import before, laid_out
from rating.core.periods import Month
from store.errors import Refused
from tests.api.conftest import CATALOG, event
from tests.api.test_events import post

START, END = datetime(2026, 10, 10, tzinfo=UTC), datetime(2026, 10, 13, tzinfo=UTC)


def used(day: int, subject: str, tokens: object, model: str = "big") -> dict[str, object]:
    at = f"2026-10-{day:02d}T10:00:00Z"
    return event(f"{subject}-{day}-{model}", subject=subject, time=at, data={"model": model, "input_tokens": tokens})


def test_windows_without_usage_are_there_and_groups_are_the_largest(sold: httpx2.Client, engine: Engine) -> None:
    post(sold, *[used(10, f"s{n}", n) for n in range(1, 11)], used(12, "s10", 5), used(12, "s1", 2))
    found = laid_out(engine, UsageQuery("tokens", START, END, group_by=("subject",), window="day"))
    assert found.windows == [START, START.replace(day=11), START.replace(day=12)]
    assert [group.name for group in found.groups] == [(f"s{n}",) for n in (10, 9, 8, 7, 6, 5, 4)]
    assert found.groups[0].quantities == [10, None, 5]
    assert found.rest is not None
    assert (found.rest.quantities, found.rest.total, found.rest.events) == ([1 + 2 + 3, None, 2], 8, 4)
    assert (found.groups_all, found.total, found.events) == (10, 55 + 7, 12)


def test_the_whole_span_is_one_place(sold: httpx2.Client, engine: Engine) -> None:
    post(sold, *[used(10, f"s{n}", n) for n in range(1, 10)])
    found = laid_out(engine, UsageQuery("tokens", START, END, group_by=("subject",)))
    assert found.windows == [None]
    assert found.rest is not None
    assert found.rest.quantities == [1 + 2]


def test_every_digit_is_kept(sold: httpx2.Client, engine: Engine) -> None:
    """20 subjects use 10^15 less 10^-9 each, and 13 of them are the rest."""
    large = "999999999999999.999999999"
    body = json.dumps([used(10, f"s{n}", 0) for n in range(20)]).replace(
        '"input_tokens": 0', f'"input_tokens": {large}'
    )
    answer = sold.post("/v1/events", content=body, headers={"content-type": "application/cloudevents-batch+json"})
    assert answer.status_code == 200
    found = laid_out(engine, UsageQuery("tokens", START, END, group_by=("subject",), window="day"))
    assert found.rest is not None
    assert str(found.rest.quantities[0]) == str(found.rest.total) == "12999999999999999.999999987"
    assert str(found.total) == "19999999999999999.999999980"


def test_windows_that_are_rounded_are_not_added_up(sold: httpx2.Client, engine: Engine) -> None:
    """Thousands, rounded up: two days of 1 are 1 each, and 1 together."""
    meter = {**CATALOG["meters"]["tokens"], "divide_by": "1000", "rounding": {"mode": "up"}}
    meters = {**CATALOG["meters"], "thousands": meter}
    assert sold.put("/v1/catalog", json={**CATALOG, "meters": meters}).status_code == 200
    post(sold, used(10, "a", 1), used(11, "a", 1))
    found = laid_out(engine, UsageQuery("thousands", START, END, window="day"))
    assert (found.groups[0].quantities, found.total, found.adds_up) == ([1, 1, None], 1, False)


@pytest.mark.parametrize(("zone", "day", "hours"), [("Europe/Madrid", 25, 25), ("UTC", 25, 24)])
def test_a_day_has_as_many_hours_as_the_clock_shows(
    sold: httpx2.Client, engine: Engine, zone: str, day: int, hours: int
) -> None:
    start = datetime(2025, 10, day, 22 if zone != "UTC" else 0, tzinfo=UTC)
    end = datetime(2025, 10, day + 1, 23 if zone != "UTC" else 0, tzinfo=UTC)
    found = laid_out(engine, UsageQuery("tokens", start, end, window="hour", time_zone=zone))
    assert len(found.windows) == hours
    assert len(set(found.windows)) == hours


def test_too_many_windows_are_refused(sold: httpx2.Client, engine: Engine) -> None:
    with pytest.raises(Refused, match="choose a larger one"):
        laid_out(engine, UsageQuery("tokens", START.replace(month=1), END, window="minute"))


def test_the_span_before_ends_where_this_begins() -> None:
    earlier = before(UsageQuery("tokens", START, END, window="day"))
    assert (earlier.start, earlier.end) == (datetime(2026, 10, 7, tzinfo=UTC), START)


def test_a_filter_keeps_some_values_of_a_dimension(sold: httpx2.Client) -> None:
    post(sold, used(10, "a", 1), used(10, "a", 2, "small"), used(10, "b", 4, "a=b"))

    def asked(*where: str) -> list[str]:
        answer = sold.get("/v1/meters/tokens/usage", params={"where": where})
        assert answer.status_code == 200, answer.text
        return [item["quantity"] for item in answer.json()["items"]]

    assert asked("model=big") == ["1"]
    assert asked("model=big", "model=small") == ["3"]
    assert asked("model=a=b") == ["4"]
    assert asked("model=big", "subject=b") == []
    assert sold.get("/v1/meters/tokens/usage", params={"where": "model"}).status_code == 422
    assert sold.get("/v1/meters/tokens/usage", params={"where": "colour=red"}).status_code == 422


def test_revenue_so_far_is_what_a_run_says(sold: httpx2.Client, engine: Engine) -> None:
    post(sold, used(10, "acme", 1500))
    month = Month(2026, 10)
    found = revenue_of(engine, month)
    assert found is not None
    assert found.by_price is not None
    # 1000 tokens at 2.50 a thousand, 500 at 1; the fee is 20
    assert found.by_price.rows() == [("USD", "fee", Decimal(20), 1), ("USD", "tokens/big", Decimal("3.00"), 1)]
    run = sold.post("/v1/rating-runs", json={"period": "2026-10"}).json()
    assert found.totals == run["report"]["totals"]


def test_the_fullest_quotas_are_those_with_least_room(sold: httpx2.Client, engine: Engine) -> None:
    for key in ("beta", "gamma", "idle"):
        sold.put(f"/v1/customers/{key}", json={})
        terms = {"customer": key, "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
        sold.put(f"/v1/subscriptions/{key}-pro", json=terms)
    post(sold, used(10, "acme", 1999), used(10, "beta", 2500), used(10, "gamma", 10))
    found = fullest(engine, 5)
    assert found.near.select("customer", "used").rows() == [("acme", 1999), ("gamma", 10)]
    assert found.full["customer"].to_list() == ["beta"]
    assert (found.full_count, found.asked, found.questions) == (1, 4, 4)
