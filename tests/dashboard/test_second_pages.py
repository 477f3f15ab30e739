"""Customers, charge lines, runs, the catalog and the what-if page, without a browser."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

import httpx2
import pytest
import yaml
from starlette.testclient import TestClient

from api.app import create_app
from api.catalog_knobs import knobs, turned
from api.dashboard.drawn import heights, parts, spans
from api.engine import Engine
from api.settings import Settings
from rating.catalog import load_catalog
from store.errors import Refused
from tests.api.conftest import CATALOG, NOW, event
from tests.dashboard.test_pages import HTMX, post, text_of

TIER = "prices|tokens/big|versions|0|tiers|0|unit_amount"


@pytest.fixture
def sold(tmp_path: Path) -> Iterator[httpx2.Client]:
    """1,500 tokens of `acme` on plan `pro`: 1,000 at 2.50 and 500 at 1, each for a thousand, and a fee of 20."""
    seconds = count()
    engine = Engine.open(Settings(data=tmp_path / "data"), now=lambda: NOW + timedelta(seconds=next(seconds)))
    with TestClient(create_app(engine.settings, engine=engine), raise_server_exceptions=False) as client:
        client.put("/v1/catalog", json=CATALOG)
        client.put("/v1/customers/acme", json={"name": "Acme & Sons", "subjects": ["acme"]})
        terms = {"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z"}
        client.put("/v1/subscriptions/acme-pro", json=terms)
        post(client, event("1", data={"model": "big", "input_tokens": 1500}))
        yield client
    engine.close()


def test_customers_are_found_by_key_name_and_subject(sold: httpx2.Client) -> None:
    sold.put("/v1/customers/other", json={"subjects": ["robot%"]})
    found = {text: sold.get("/customers", params={"search": text}, headers=HTMX).text for text in ("SONS", "t%", "x")}
    assert "/customers/acme" in found["SONS"]
    assert "/customers/other" not in found["SONS"]
    assert "/customers/other" in found["t%"]
    assert "/customers/acme" not in found["t%"]  # a per cent sign is itself
    assert "None fits" in found["x"]


def test_a_customer_page_says_what_the_api_says(sold: httpx2.Client) -> None:
    page = sold.get("/customers/acme")
    assert "acme-pro" in page.text
    charges = text_of(sold.get("/customers/acme?part=charges", headers=HTMX))
    assert "So far, USD 23.00 USD" in charges
    entitled = text_of(sold.get("/customers/acme?part=entitlements", headers=HTMX))
    assert "Used 1,500 of 2,000" in entitled
    assert '"values":["2000","2000"' in entitled  # it burns down from the limit
    assert '"500",null' in entitled
    assert "1,500" in text_of(sold.get("/customers/acme?part=usage&meter=tokens", headers=HTMX))
    for part in ("credits", "signals"):
        assert sold.get(f"/customers/acme?part={part}").status_code == 200
    assert sold.get("/customers/nobody").status_code == 404


def test_a_run_is_started_compared_and_its_lines_explained(sold: httpx2.Client) -> None:
    for period in ("2026-09", "2026-10"):
        answer = sold.post("/runs", data={"what": "month", "period": period}, follow_redirects=False)
        assert answer.status_code == 303
    run = answer.headers["location"]
    assert "23.00 USD" in text_of(sold.get(run))
    assert "+3.00 USD" in text_of(sold.get(f"{run}?part=comparison", headers=HTMX))
    assert "No leak in 2026-10" in text_of(sold.get(f"{run}?part=leaks", headers=HTMX))
    lines = sold.get(f"/v1/rating-runs{run[5:]}/lines?price=tokens/big").json()["items"]
    assert f"/lines/{lines[0]['line']}" in sold.get(f"{run}?part=lines", headers=HTMX).text
    explained = text_of(sold.get(f"/lines/{lines[0]['line']}"))
    assert "1 0 1,000 1,000 2.5 USD for 1,000 2.5 USD" in explained
    assert "2 1,000 no end 500 1 USD for 1,000 0.5 USD" in explained
    assert "1,500 3" in text_of(sold.get(f"/lines/{lines[0]['line']}?part=events", headers=HTMX))


def test_closing_is_tried_before_it_is_done(sold: httpx2.Client) -> None:
    tried = sold.post("/runs", data={"what": "due", "dry": "true"}, headers=HTMX)
    assert "Nothing is recorded yet" in text_of(tried)
    assert sold.get("/v1/rating-runs").json()["items"] == []
    made = sold.post("/runs", data={"what": "due", "draft": "true"}, headers=HTMX).headers["hx-location"]
    assert sold.get("/v1/rating-runs").json()["items"][0]["kind"] == "draft"
    assert sold.post(f"{made}/finalize", headers=HTMX).status_code == 204
    assert sold.get("/v1/rating-runs").json()["items"][0]["kind"] == "final"
    assert sold.post("/runs", data={"what": "due", "until": "soon"}, headers=HTMX).status_code in (400, 422)


def test_the_catalog_is_read_and_compared(sold: httpx2.Client) -> None:
    assert "tokens/big" in sold.get("/catalog").text
    assert "USD for 1,000 0 1,000 2.5" in text_of(sold.get("/catalog/prices/tokens/big"))
    fee = {**CATALOG["prices"]["fee"], "versions": [{"amount": "21"}]}
    sold.put("/v1/catalog", json={**CATALOG, "prices": {**CATALOG["prices"], "fee": fee}})
    changed = text_of(sold.get("/catalog/diff"))
    assert "1 change" in changed
    assert "20 21" in changed


def test_what_if_is_answered_by_the_simulation(sold: httpx2.Client) -> None:
    assert TIER in sold.get("/catalog/what-if?price=tokens/big").text
    asked = {"price": "tokens/big", TIER: "3.5", "from": "2026-10", "to": "2026-10"}
    found = text_of(sold.post("/catalog/what-if", data=asked, headers=HTMX))
    assert "As turned 24.00 USD" in found
    assert "1 pay more, 0 less" in found
    assert sold.post("/catalog/what-if", data={**asked, TIER: "2.5"}, headers=HTMX).status_code in (400, 422)
    file = sold.post("/catalog/what-if/download", data=asked)
    tiers = yaml.safe_load(file.text)["prices"]["tokens/big"]["versions"][0]["tiers"]
    assert [tier["unit_amount"] for tier in tiers] == ["3.5", "1"]


def test_only_numbers_of_the_price_are_turned() -> None:
    catalog = load_catalog(CATALOG)
    assert [knob.label for knob in knobs(catalog, "tokens/big")] == [
        "Tier 1, up to",
        "Tier 1, unit amount",
        "Tier 2, unit amount",
    ]
    with pytest.raises(Refused, match="no plain decimal"):
        turned(catalog, ["tokens/big"], {TIER: "cheap"})
    assert turned(catalog, ["fee"], {TIER: "9"}) == catalog.document()


def test_pictures_are_shares_of_what_they_show() -> None:
    assert [(each.x, each.width) for each in parts([Decimal(3), Decimal(1)])] == [("0.00", "75.00"), ("75.00", "25.00")]
    assert [each.width for each in parts([Decimal(0)])] == ["0.00"]
    assert heights([Decimal(2), Decimal(0), Decimal(4)], 40) == ["20.00", "0.00", "40.00"]
    day = [datetime(2026, 10, number, tzinfo=UTC) for number in range(1, 12)]
    (found,) = spans([("pro", day[2], None)], day[0], day[10], day[5])
    assert (found.x, found.width, found.is_now) == ("20.00", "80.00", True)
