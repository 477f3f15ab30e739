"""Usage queries: by window, dimension and owner."""

from typing import Any

import httpx2
import pytest

from tests.api.conftest import event
from tests.api.test_events import post


@pytest.fixture
def used(sold: httpx2.Client) -> httpx2.Client:
    sold.put("/v1/customers/other", json={"subjects": ["o1", "o2"]})
    post(
        sold,
        event("1", time="2026-10-09T23:30:00Z"),
        event("2", time="2026-10-10T00:00:00Z", data={"model": "small", "input_tokens": 5}),
        event("3", time="2026-10-10T00:59:59.999999Z", subject="o1"),
        event("4", time="2026-10-10T01:00:00Z", subject="o2", data={"input_tokens": 7}),
        event("5", time="2026-10-10T01:00:00Z", subject="stranger"),
        event("6", type="another", time="2026-10-10T01:00:00Z"),
    )
    return sold


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param({}, [({}, "312", 5)], id="everything: 100 + 5 + 100 + 7 + 100"),
        pytest.param({"subject": "o1"}, [({}, "100", 1)], id="one subject"),
        pytest.param({"customer": "other"}, [({}, "107", 2)], id="one customer: both of its subjects"),
        pytest.param({"customer": "nobody"}, [], id="nobody"),
        pytest.param(
            {"group_by": "customer"},
            [({"customer": None}, "100", 1), ({"customer": "acme"}, "105", 2), ({"customer": "other"}, "107", 2)],
            id="by customer: strangers are under null",
        ),
        pytest.param(
            {"group_by": "model"},
            [({"model": None}, "7", 1), ({"model": "big"}, "300", 3), ({"model": "small"}, "5", 1)],
            id="by a dimension: events without it are under null",
        ),
        pytest.param({"from": "2026-10-10T00:00:00Z", "to": "2026-10-10T01:00:00Z"}, [({}, "105", 2)], id="[from, to)"),
        pytest.param({"from": "2026-10-10T02:00:00+02:00"}, [({}, "212", 4)], id="an instant in another zone"),
    ],
)
def test_usage_is_what_the_meter_counts(used: httpx2.Client, params: dict[str, Any], expected: list[Any]) -> None:
    items = used.get("/v1/meters/tokens/usage", params=params).json()["items"]
    assert [(item["group"], item["quantity"], item["events"]) for item in items] == expected


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param(
            {"window": "day"}, {"2026-10-09T00:00:00Z": "100", "2026-10-10T00:00:00Z": "212"}, id="days in UTC"
        ),
        pytest.param(
            {"window": "day", "time_zone": "Europe/Madrid"}, {"2026-10-09T22:00:00Z": "312"}, id="days in Madrid"
        ),
        pytest.param(
            {"window": "hour"},
            {"2026-10-09T23:00:00Z": "100", "2026-10-10T00:00:00Z": "105", "2026-10-10T01:00:00Z": "107"},
            id="hours",
        ),
    ],
)
def test_windows_are_those_of_the_time_zone(
    used: httpx2.Client, params: dict[str, Any], expected: dict[str, str]
) -> None:
    items = used.get("/v1/meters/tokens/usage", params=params).json()["items"]
    assert {item["window_start"]: item["quantity"] for item in items} == expected


@pytest.mark.parametrize(
    ("params", "status", "says"),
    [
        pytest.param({"group_by": "secret"}, 422, "does not group by 'secret'", id="an undeclared dimension"),
        pytest.param({"group_by": 'x") FROM t --'}, 422, "does not group by", id="a dimension that is code"),
        pytest.param({"from": "2026-10-10T00:00:00"}, 422, "timezone", id="a time without a zone"),
        pytest.param({"window": "week"}, 422, "'day' or 'month'", id="an unknown window"),
        pytest.param({"time_zone": "Mars"}, 422, "no IANA time zone", id="an unknown time zone"),
        pytest.param(
            {"from": "2026-10-10T00:00:00Z", "to": "2026-10-10T00:00:00Z"}, 422, "not after", id="an empty range"
        ),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    used: httpx2.Client, params: dict[str, str], status: int, says: str
) -> None:
    answer = used.get("/v1/meters/tokens/usage", params=params)
    assert answer.status_code == status
    assert says in answer.json()["detail"]


def test_an_unknown_meter_is_not_found(used: httpx2.Client) -> None:
    assert used.get("/v1/meters/none/usage").status_code == 404


def test_values_are_compared_literally(used: httpx2.Client) -> None:
    for value in ("' OR 1=1 --", "*", ".*", "%", "\x00", "o1\n"):
        assert used.get("/v1/meters/tokens/usage", params={"subject": value}).json()["items"] == []
