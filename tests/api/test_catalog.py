"""The catalog over HTTP: applied as a whole or not at all."""

import json
from copy import deepcopy
from typing import Any

import httpx2
import pytest
import yaml

from tests.api.conftest import CATALOG


def changed(**sections: Any) -> dict[str, Any]:
    return {**deepcopy(CATALOG), **sections}


def test_yaml_and_json_of_one_catalog_are_one_version(client: httpx2.Client) -> None:
    first = client.put("/v1/catalog", json=CATALOG).json()
    assert first["applied"] is True
    assert first["previous"] is None
    again = client.put("/v1/catalog", content=yaml.safe_dump(CATALOG), headers={"content-type": "application/yaml"})
    assert again.json() == {"version": first["version"], "previous": first["version"], "applied": False, "changes": []}
    assert client.get("/v1/catalog").json()["version"] == first["version"]
    assert [v["version"] for v in client.get("/v1/catalog/versions").json()["items"]] == [first["version"]]


def test_a_dry_run_shows_the_difference_and_changes_nothing(client: httpx2.Client) -> None:
    before = client.put("/v1/catalog", json=CATALOG).json()["version"]
    dearer = changed()
    dearer["prices"]["fee"]["versions"][0]["amount"] = "25"
    answer = client.put("/v1/catalog", params={"dry_run": True}, json=dearer).json()
    assert answer["applied"] is False
    assert answer["version"] != before
    assert [(c["kind"], c["before"], c["after"]) for c in answer["changes"]] == [("changed", "20", "25")]
    assert client.get("/v1/catalog").json()["version"] == before


def test_every_problem_is_listed_with_its_cure_and_the_old_catalog_stays(client: httpx2.Client) -> None:
    before = client.put("/v1/catalog", json=CATALOG).json()["version"]
    bad = changed(currencies=["USD", "XXQ"])
    bad["prices"]["fee"]["versions"][0]["amount"] = 20.5
    bad["features"]["tokens"]["meter"] = "tokenz"
    answer = client.put("/v1/catalog", json=bad)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:tallystick:problem:catalog-invalid"
    paths = {found["path"] for found in problem["problems"]}
    assert {"features.tokens.meter", "prices.fee.versions[0].amount"} <= paths
    assert all(set(found) == {"path", "value", "message", "cure"} for found in problem["problems"])
    assert client.get("/v1/catalog").json()["version"] == before


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        pytest.param(b"{}", "text/plain", 415, id="a type that is no catalog"),
        pytest.param(b"{}", None, 415, id="no type at all"),
        pytest.param(b"", "application/json", 422, id="an empty body"),
        pytest.param(b"{", "application/json", 422, id="broken JSON"),
        pytest.param(b"a: [", "application/yaml", 422, id="broken YAML"),
        pytest.param(b"\xff\xfe", "application/json", 422, id="not UTF-8"),
        pytest.param(b"[]", "application/json", 422, id="a list"),
        pytest.param(json.dumps({**CATALOG, "tallystick": 2}).encode(), "application/json", 422, id="a later format"),
        pytest.param(b" " * ((1 << 20) + 1), "application/json", 413, id="one byte too large"),
    ],
)
def test_what_is_no_catalog_is_refused(
    client: httpx2.Client, content: bytes, content_type: str | None, status: int
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = client.put("/v1/catalog", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert client.get("/v1/catalog").status_code == 404


def test_older_versions_stay_readable(client: httpx2.Client) -> None:
    old = client.put("/v1/catalog", json=CATALOG).json()["version"]
    new = client.put("/v1/catalog", json=changed(features={}, plans={})).json()["version"]
    assert client.get("/v1/catalog", params={"version": old}).json()["document"]["plans"].keys() == {"pro", "free"}
    assert [v["current"] for v in client.get("/v1/catalog/versions").json()["items"]] == [True, False]
    assert client.get("/v1/catalog").json()["version"] == new
    assert client.get("/v1/catalog", params={"version": "cat_none"}).status_code == 404


def test_a_plan_with_running_subscriptions_cannot_be_dropped(sold: httpx2.Client) -> None:
    without_pro = changed(plans={"free": CATALOG["plans"]["free"]})
    answer = sold.put("/v1/catalog", json=without_pro)
    assert answer.status_code == 409
    assert "'pro' has running subscriptions" in answer.json()["detail"]
    ended = {"customer": "acme", "plan": "pro", "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-10-01T00:00:00Z"}
    assert sold.put("/v1/subscriptions/acme-pro", json=ended).status_code == 200
    assert sold.put("/v1/catalog", json=without_pro).json()["applied"] is True
