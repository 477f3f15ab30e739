"""The OpenAPI document is complete. (That answers are what it says is checked by the client of every test here.)"""

import re
from typing import Any

import httpx2
import pytest

from api.app import ROUTES
from api.documentation import TAGS
from tests.api.conftest import document

OPERATIONS = [
    pytest.param(operation, id=f"{method.upper()} {path}")
    for path, operations in document()["paths"].items()
    for method, operation in operations.items()
]


def test_every_route_is_in_the_document() -> None:
    routes = {re.sub(r":\w+", "", route.path) for module in ROUTES for route in module.router.routes}  # type: ignore[attr-defined]
    assert routes == set(document()["paths"])
    assert all(path.startswith("/v1/") or path in ("/healthz", "/readyz") for path in routes)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_says_what_it_does_and_how_it_fails(operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert set(operation["tags"]) <= {tag["name"] for tag in TAGS}
    for status, answer in operation["responses"].items():
        assert answer["content"], f"{status} has no content"
        assert all(content.get("schema") for content in answer["content"].values()), f"{status} has no schema"
    assert {"422", "500"} <= set(operation["responses"])


def test_the_page_of_the_document_needs_nothing_from_elsewhere(client: httpx2.Client) -> None:
    page = client.get("/docs").text
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page)
    assert len(addresses) >= 3
    for address in addresses:
        assert address.startswith("/docs/assets/")
        assert client.get(address).status_code == 200
    assert client.get("/openapi.json").json() == document()
