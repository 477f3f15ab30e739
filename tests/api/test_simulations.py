"""Another catalog tried on history over HTTP."""

from copy import deepcopy
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from tests.api.conftest import CATALOG, event
from tests.api.test_events import post
from tests.api.test_rating import lines_of, rate


@pytest.fixture
def used(sold: httpx2.Client) -> httpx2.Client:
    """acme: 1,500 tokens in October and 800 in September; beta, on the free plan, 400 in October."""
    assert sold.put("/v1/customers/beta", json={}).status_code == 200
    terms = {"customer": "beta", "plan": "free", "starts_at": "2026-01-01T00:00:00Z"}
    assert sold.put("/v1/subscriptions/beta-free", json=terms).status_code == 200
    tokens = {"model": "big", "input_tokens": 500, "cached": 100}
    october = [event(str(n), data=tokens) for n in range(3)]
    september = event("s", time="2026-09-10T10:00:00Z", data={**tokens, "input_tokens": 800})
    post(sold, *october, september, event("b", subject="beta", data={**tokens, "input_tokens": 400}))
    return sold


def with_price(key: str, **changes: Any) -> dict[str, Any]:
    """The catalog with another version of one price."""
    other = deepcopy(CATALOG)
    other["prices"][key]["versions"][0].update(changes)
    return other


def simulate(client: httpx2.Client, catalog: dict[str, Any], expected: int = 200, **more: Any) -> dict[str, Any]:
    body = {"catalog": catalog, "from": "2026-09", "to": "2026-10", **more}
    answer = client.post("/v1/simulations", json=body)
    assert answer.status_code == expected, answer.text
    found: dict[str, Any] = answer.json()
    return found


DEARER = with_price("tokens/big", tiers=[{"up_to": "1000", "unit_amount": "3"}, {"up_to": None, "unit_amount": "1"}])


def test_totals_customers_and_reasons(used: httpx2.Client) -> None:
    """0.50 more for each 1,000 up to 1,000: acme 800 and 1,000 of them, 0.40 and 0.50; beta 400, 0.20."""
    found = simulate(used, DEARER)
    (total,) = found["totals"]
    assert (total["before"], total["after"], total["difference"]) == ("46", "47.1", "1.1")
    assert (total["customers"], total["more"], total["less"]) == (2, 2, 0)
    assert [(row["period"], row["difference"]) for row in found["periods"]] == [("2026-09", "0.4"), ("2026-10", "0.7")]
    assert [(row["customer"], row["difference"], row["reasons"]) for row in found["losers"]] == [
        ("acme", "0.9", {"rate": "0.9"}),
        ("beta", "0.2", {"rate": "0.2"}),
    ]
    assert found["winners"] == []
    assert found["reasons"] == [{"currency": "USD", "reason": "rate", "amount": "1.1", "customers": 2}]
    prices = {row["price"]: (row["before"], row["after"]) for row in found["prices"]}
    assert prices == {"fee": ("40", "40"), "tokens/big": ("6", "7.1")}
    assert {row["percentile"]: row["difference"] for row in found["percentiles"]}[50] == "0.2"
    assert found["solved"] is None


def test_both_sides_are_what_runs_come_to(used: httpx2.Client) -> None:
    found = simulate(used, DEARER)
    first = rate(used)
    assert used.put("/v1/catalog", json=DEARER).status_code == 200
    second = rate(used)
    sums = [sum(Decimal(line["rounded_amount"]) for line in lines_of(used, run)) for run in (first, second)]
    (october,) = [row for row in found["periods"] if row["period"] == "2026-10"]
    assert [Decimal(october["before"]), Decimal(october["after"])] == sums


def test_it_writes_nothing_and_names_the_recorded_run(used: httpx2.Client) -> None:
    run = rate(used)
    before = used.get("/v1/catalog/versions").json(), used.get("/v1/rating-runs").json()
    found = simulate(used, DEARER)
    assert (used.get("/v1/catalog/versions").json(), used.get("/v1/rating-runs").json()) == before
    september, october = found["periods"]
    assert september["recorded"] is None
    assert october["recorded"] == {"run": run["id"], "catalog": run["catalog_version"], "amount": october["before"]}


def test_a_property_that_no_meter_had_is_read_from_the_data(used: httpx2.Client) -> None:
    """A new price of 0.01 for each cached token: 3 x 100 and 100 of acme, 100 of beta."""
    other = deepcopy(CATALOG)
    other["meters"]["cached"] = {"event_type": "llm.request", "aggregation": "sum", "property": "cached"}
    other["prices"]["tokens/cached"] = {
        "meter": "cached",
        "currency": "USD",
        "model": "per_unit",
        "versions": [{"unit_amount": "0.01"}],
    }
    found = simulate(used, other)
    assert {row["customer"]: row["reasons"] for row in found["losers"]} == {
        "acme": {"new_price": "4"},
        "beta": {"new_price": "1"},
    }


def test_plans_that_are_gone_are_told_or_mapped(used: httpx2.Client) -> None:
    other = deepcopy(CATALOG)
    other["plans"]["starter"] = other["plans"].pop("free")
    found = simulate(used, other)
    assert found["unplanned"] == [{"plan": "free", "subscriptions": 1, "customers": 1}]
    assert found["totals"][0]["customers"] == 1
    assert found["totals"][0]["difference"] == "0"
    mapped = simulate(used, other, plans={"free": "starter"})
    assert mapped["unplanned"] == []
    assert (mapped["totals"][0]["customers"], mapped["totals"][0]["difference"]) == (2, "0")
    refused = simulate(used, other, 422, plans={"free": "nowhere", "unknown": "pro"})
    assert len(refused["problems"]) == 2


def test_usage_that_loses_its_price(used: httpx2.Client) -> None:
    other = deepcopy(CATALOG)
    del other["prices"]["tokens/big"]
    other["plans"]["pro"]["prices"] = ["fee"]
    del other["plans"]["free"]["prices"]
    found = simulate(used, other)
    assert {row["customer"]: row["reasons"] for row in found["winners"]} == {
        "acme": {"unpriced": "-5"},
        "beta": {"unpriced": "-1"},
    }


def test_the_amount_that_earns_the_same(used: httpx2.Client) -> None:
    """The tokens get dearer by 1.10 in two months with two fees: a fee of 19.45 makes up for it."""
    solved = simulate(used, DEARER, solve={"price": "fee", "tolerance": "0"})["solved"]
    assert (solved["amount_given"], solved["amount"], solved["gap"]) == ("20", "19.45", "0")
    assert (solved["revenue"], solved["target"], solved["field"]) == ("46", "46", "flat_amount")
    assert solved["ratings"] <= 4
    back = simulate(used, DEARER, solve={"price": "tokens/big"})["solved"]
    assert Decimal(back["gap"]).copy_abs() <= Decimal("0.01")


def test_the_amount_of_a_price_that_is_no_line(used: httpx2.Client) -> None:
    """With a maximum of 2.00 a subscription and month the charges bend; acme was charged 2.00, 3.00 and beta 1.00."""
    other = with_price("tokens/big", adjust=[{"kind": "maximum", "amount": "2.5"}])
    solved = simulate(used, other, solve={"price": "tokens/big"})["solved"]
    assert abs(Decimal(solved["gap"])) <= Decimal("0.01")
    assert Decimal(solved["amount"]) > Decimal("2.5")


def test_no_amount_earns_the_same(used: httpx2.Client) -> None:
    dear = with_price("tokens/big", tiers=[{"up_to": None, "unit_amount": "3000"}])
    found = simulate(used, dear, solve={"price": "fee"})
    assert "even for nothing" in found["solved"]["problem"]
    assert found["solved"]["amount"] is None
    assert found["losers"], "the comparison is there all the same"


def test_a_price_to_solve_for_must_be_there(used: httpx2.Client) -> None:
    assert "no price 'nothing'" in simulate(used, DEARER, 422, solve={"price": "nothing"})["detail"]


@pytest.mark.parametrize(
    ("span", "said"),
    [
        ({"from": "2026-10", "to": "2026-09"}, "before"),
        ({"from": "October", "to": "2026-10"}, "not a month"),
        ({"from": "2000-01", "to": "2026-10"}, "at most"),
    ],
)
def test_spans_that_make_no_sense(used: httpx2.Client, span: dict[str, str], said: str) -> None:
    assert said in simulate(used, CATALOG, 422, **span)["detail"]


def test_a_catalog_that_is_wrong_tells_its_problems(used: httpx2.Client) -> None:
    other = with_price("tokens/big", tiers=[{"up_to": None, "unit_amount": "-"}])
    found = simulate(used, other, 422)
    assert found["type"].endswith("catalog-invalid")
    assert found["problems"][0]["path"].startswith("prices.tokens/big")


def test_the_same_catalog_changes_nothing_where_nothing_was_used(sold: httpx2.Client) -> None:
    found = simulate(sold, CATALOG)
    assert found["totals"][0]["difference"] == "0"
    assert found["losers"] == found["winners"] == found["reasons"] == []


def test_before_the_first_catalog_there_is_nothing_to_compare_with(client: httpx2.Client) -> None:
    assert "no catalog is in force" in simulate(client, CATALOG, 422)["detail"]


def test_credits_of_a_plan_are_a_reason(used: httpx2.Client) -> None:
    """15.00 of credits in each month, of a fee of 20 and of usage."""
    other = deepcopy(CATALOG)
    other["plans"]["pro"]["credits"] = {"welcome": {"amount": "15", "lasts_periods": 1}}
    found = simulate(used, other)
    assert [(row["customer"], row["reasons"]) for row in found["winners"]] == [("acme", {"credit": "-30"})]


def test_a_property_of_another_type_is_refused(used: httpx2.Client) -> None:
    other = deepcopy(CATALOG)
    meter = {"event_type": "llm.request", "aggregation": "count", "group_by": ["input_tokens", "model"]}
    other["meters"] = {"tokens": meter}
    assert simulate(used, other, 409)["type"].endswith("property-conflict")


def test_lists_are_as_long_as_asked_for(used: httpx2.Client) -> None:
    assert [row["customer"] for row in simulate(used, DEARER, limit=1)["losers"]] == ["acme"]
    assert len(simulate(used, DEARER, limit=None)["losers"]) == 2
