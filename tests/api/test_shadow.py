"""A catalog beside the one in force: compared on the same usage, and switched to on a date."""

from copy import deepcopy
from typing import Any

import httpx2
import pytest

from tests.api.conftest import CATALOG, event
from tests.api.test_events import post
from tests.api.test_rating import lines_of, rate

PATH = "/v1/shadow-catalog"


@pytest.fixture
def used(sold: httpx2.Client) -> httpx2.Client:
    post(sold, *(event(str(i), data={"model": "big", "input_tokens": 300}) for i in range(5)))
    return sold


def dearer(amount: str = "30") -> dict[str, Any]:
    other = deepcopy(CATALOG)
    other["prices"]["fee"]["versions"] = [{"amount": amount}]
    return other


def test_a_month_is_rated_by_both(used: httpx2.Client) -> None:
    assert used.get(PATH).status_code == 404
    shadow = used.put(PATH, json={"catalog": dearer()}).json()
    assert used.get(PATH).json() == shadow
    run = rate(used)
    found = used.get(f"{PATH}/comparison").json()
    (total,) = found["totals"]
    assert (found["catalog_after"], total["before"], total["difference"]) == (shadow["version"], "23", "10")
    assert sum(float(line["rounded_amount"]) for line in lines_of(used, run)) == 23  # nobody is charged by it
    assert used.put(PATH, json={"catalog": dearer("40")}).json()["version"] != shadow["version"]
    assert (
        used.get(f"{PATH}/comparison", params={"from": "2026-10", "to": "2026-10"}).json()["totals"][0]["difference"]
        == "20"
    )


def test_it_is_switched_to_on_a_date(used: httpx2.Client) -> None:
    before = rate(used)
    used.put(PATH, json={"catalog": dearer()})
    past = used.post(f"{PATH}/switch", json={"at": "2026-10-01T00:00:00Z"})
    assert (past.status_code, "is past" in past.text) == (422, True)
    answer = used.post(f"{PATH}/switch", json={"at": "2026-11-01T00:00:00Z"})
    assert answer.json()["applied"] is True
    versions = used.get("/v1/catalog").json()["document"]["prices"]["fee"]["versions"]
    assert versions == [{"amount": "20"}, {"amount": "30", "effective_from": "2026-11-01T00:00:00Z"}]
    assert used.get(PATH).status_code == 404
    amounts = [[line["amount"] for line in lines_of(used, run)] for run in (before, rate(used))]
    assert amounts[0] == amounts[1]  # October is what it was
    assert [line["amount"] for line in lines_of(used, rate(used, "2026-11"))] == ["30"]


def test_what_cannot_be_switched_to_is_told_and_dropped(used: httpx2.Client) -> None:
    other = dearer()
    other["plans"]["pro"]["prices"] = ["fee"]
    used.put(PATH, json={"catalog": other})
    answer = used.post(f"{PATH}/switch", json={"at": "2026-11-01T00:00:00Z"})
    assert (answer.status_code, "plans.pro is another one" in answer.text) == (422, True)
    assert used.delete(PATH).status_code == 204
    assert used.delete(PATH).status_code == 404
