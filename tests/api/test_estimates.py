"""What an amount would cost by now, as a quota check says it. Big tokens: 2.50 a thousand up to 1,000, then 1."""

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from tests.api.conftest import CATALOG, event
from tests.api.test_current_charges import asked
from tests.api.test_events import post


def use_big(client: httpx2.Client, event_id: str, tokens: int) -> None:
    used = post(client, event(event_id, data={"model": "big", "input_tokens": tokens}))
    assert used.json()["accepted"] == 1


def estimated(client: httpx2.Client, amount: str, feature: str = "tokens", **more: str) -> Any:
    parameters = {
        "amount": amount,
        "estimate": "true",
        **{name.replace("_", "."): value for name, value in more.items()},
    }
    answer = client.get(f"/v1/quota/acme/{feature}", params=parameters)
    assert answer.status_code in (200, 402, 429)
    return answer.json()["estimate"]


def sell(client: httpx2.Client, meter: Mapping[str, Any], **price: Any) -> None:
    """Feature `calls` of a meter, at 0.1 each unless `price` says otherwise."""
    meters = {**CATALOG["meters"], "calls": {"event_type": "llm.request", **meter}}
    prices = {**CATALOG["prices"], "calls": {"meter": "calls", "currency": "USD", "model": "per_unit", **price}}
    pro = {**CATALOG["plans"]["pro"], "prices": ["fee", "tokens/*", "calls"]}
    entitled = {"calls": {"limit": "5000", "window": "month"}}
    catalog = {
        **CATALOG,
        "meters": meters,
        "features": {**CATALOG["features"], "calls": {"meter": "calls"}},
        "prices": prices,
        "plans": {"pro": {**pro, "entitlements": entitled}},
    }
    answer = client.put("/v1/catalog", json=catalog)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("used", "amount", "cost"),
    [
        pytest.param(0, "1000", "2.5", id="all in the first tier"),
        pytest.param(0, "1000.5", "2.5005", id="half a token in the second: 2.50 + 0.0005"),
        pytest.param(999, "2", "0.0035", id="across the edge: 0.0025 + 0.001"),
        pytest.param(1500, "400", "0.4", id="all in the second tier"),
        pytest.param(1500, "5000", "5", id="also of what is refused"),
    ],
)
def test_an_estimate_is_what_the_charges_would_be_more(sold: httpx2.Client, used: int, amount: str, cost: str) -> None:
    if used:
        use_big(sold, "1", used)
    before = asked(sold)["totals"]
    assert estimated(sold, amount, data_model="big") == {"currency": "USD", "amount": cost}
    assert asked(sold)["totals"] == before  # nothing is recorded


def test_an_estimate_is_what_the_event_then_costs(sold: httpx2.Client) -> None:
    use_big(sold, "1", 900)
    expected = estimated(sold, "300", data_model="big")
    use_big(sold, "2", 300)
    # 20 and (1,000 x 2.50 + 200 x 1) / 1,000 = 22.7; before 20 and 900 x 2.50 / 1,000 = 22.25
    assert (asked(sold)["totals"][0]["amount"], expected["amount"]) == ("22.7", "0.45")


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="no property that the price looks at"),
        pytest.param({"data_model": "small"}, id="one that no price has"),
        pytest.param({"data_model": "big", "amount": "0"}, id="nothing"),
        pytest.param({"data_model": "big", "amount": "10000000000000000"}, id="more than an event may hold"),
    ],
)
def test_what_nobody_knows_has_no_estimate(sold: httpx2.Client, more: dict[str, str]) -> None:
    assert estimated(sold, **{"amount": "10", **more}) is None


def test_without_asking_there_is_no_estimate(sold: httpx2.Client) -> None:
    assert sold.get("/v1/quota/acme/tokens?amount=10&data.model=big").json()["estimate"] is None
    nobody = sold.get("/v1/quota/nobody/tokens?amount=10&estimate=true&data.model=big")
    assert (nobody.status_code, nobody.json()["estimate"]) == (403, None)
    assert sold.get("/v1/quota/acme/tokens?estimate=yes").status_code == 422


def test_a_meter_that_counts_takes_as_many_events(sold: httpx2.Client) -> None:
    sell(sold, {"aggregation": "count"}, versions=[{"unit_amount": "0.1"}])
    assert estimated(sold, "3", "calls") == {"currency": "USD", "amount": "0.3"}
    assert estimated(sold, "1.5", "calls") is None
    assert estimated(sold, "1001", "calls") is None


def test_filters_of_one_value_are_met_and_others_need_their_property(sold: httpx2.Client) -> None:
    meter = {"aggregation": "sum", "property": "input_tokens", "filters": [{"property": "model", "in": ["big"]}]}
    sell(sold, meter, versions=[{"unit_amount": "0.1"}])
    # 0.1 each by this meter, and 2.50 a thousand by the other, which sees a big event too
    assert estimated(sold, "10", "calls") == {"currency": "USD", "amount": "1.025"}
    assert estimated(sold, "10", "calls", data_model="small") is None
