"""A server that has lived through the demo, a browser, and the things of the demo that have pages of their own."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, sync_playwright

from api.demo.serving import living_demo
from tests.dashboard.walking import ARGUMENTS

CHROMIUM = Path("/usr/bin/chromium")
EVENTS = 20_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("needs Debian's package chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, httpx2.Client]]:
    with living_demo(tmp_path_factory.mktemp("demo") / "data", events=EVENTS, quiet=True) as living:
        yield living


@pytest.fixture(scope="session")
def things(demo: tuple[str, httpx2.Client]) -> dict[str, str]:
    """What stands for the names in braces of walk_pages.py."""
    _, client = demo
    run = client.get("/v1/rating-runs?limit=1").json()["items"][0]["id"]
    first = {
        "rejection": client.get("/v1/rejections?limit=1").json()["items"][0]["rejection"],
        "signal": client.get("/v1/signals?limit=1").json()["items"][0]["sequence"],
        "endpoint": client.get("/v1/webhooks").json()["items"][0]["id"],
        "customer": client.get("/v1/customers?limit=1").json()["items"][0]["key"],
        "run": run,
        "line": client.get(f"/v1/rating-runs/{run}/lines?price=tool-calls&limit=1").json()["items"][0]["line"],
    }
    return {name: str(value) for name, value in first.items()}
