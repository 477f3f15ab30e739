"""The OpenAPI document is complete. (That answers are what it says is checked by the client of every test here.)"""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from api.app import ROUTES
from api.compat import events, lago, openmeter, unserved
from api.documentation import TAGS
from tests.api.conftest import document

OPERATIONS = [
    pytest.param(operation, id=f"{method.upper()} {path}")
    for path, operations in document()["paths"].items()
    for method, operation in operations.items()
]


def paths(modules: Iterable[Any]) -> set[str]:
    return {re.sub(r":\w+", "", route.path) for module in modules for route in module.router.routes}


def test_every_route_is_in_the_document() -> None:
    """But the one that says of all others below /api/ where they are served."""
    own, of_peers = paths(ROUTES), paths([events, lago, openmeter])
    assert own | of_peers == set(document()["paths"])
    assert all(path.startswith("/v1/") or path in ("/healthz", "/readyz", "/metrics") for path in own)
    assert all(path.startswith("/api/v1/") for path in of_peers)
    assert paths([unserved]) == {"/api/{path}"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_says_what_it_does_and_how_it_fails(operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert set(operation["tags"]) <= {tag["name"] for tag in TAGS}
    for status, answer in operation["responses"].items():
        if status == "204":
            continue
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


@pytest.mark.parametrize("key", ["a\nb", "a\n", "\na", "\n", "a/b", "a\r", "\0", "a?b", "é"])
def test_a_key_in_a_path_may_be_any_text(sold: httpx2.Client, key: str) -> None:
    """The client of the tests holds each answer against the document: its status is foreseen for the operation."""
    for path, operations in document()["paths"].items():
        if "{" in path:
            for method in operations:
                answer = sold.request(method, re.sub(r"{\w+}", quote(key, safe=""), path))
                assert answer.status_code != 405, path
                assert answer.status_code < 500
                if answer.status_code == 404 and "/" not in key:  # an id that is made here has none
                    assert answer.json()["detail"] != "Not Found", f"{method} {path} was not reached"
