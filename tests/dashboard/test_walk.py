"""A walk over every page in Debian's Chromium, light and dark, wide and narrow, on the demo's data and on real data."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import polars as pl
import pytest
from playwright.sync_api import Browser, expect

from tests.api.test_server import Server
from tests.conftest import shared_path
from tests.dashboard.walk_pages import MAY_FAIL, PAGES
from tests.dashboard.walking import EXAMINED, LOOKS, WIDE, Walker
from tests.exactness.conftest import post_arrow, sell

COMPRESSED_BYTES_MAX = 500_000
PAINT_MILLISECONDS_MAX = 1_000


@pytest.fixture(scope="module")
def walker(browser: Browser, demo: tuple[str, httpx2.Client]) -> Iterator[Walker]:
    opened = Walker(browser, demo[0])
    yield opened
    opened.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_quick_small_quiet_and_accessible(name: str, walker: Walker, things: dict[str, str]) -> None:
    walker.look(*LOOKS[0])
    walker.visit(PAGES[name].format(**things))
    assert walker.compressed_bytes < COMPRESSED_BYTES_MAX
    assert walker.painted_milliseconds() < PAINT_MILLISECONDS_MAX
    wrong = []
    for scheme, size in LOOKS:
        walker.look(scheme, size)
        walker.keep(name, scheme, size)
        found = [*walker.too_wide(), *(walker.violations() if (scheme, size) in EXAMINED else ())]
        wrong += [f"{scheme} {size['width']}: {each}" for each in found]
    assert wrong == []
    assert walker.abroad == []
    assert name in MAY_FAIL or walker.said == []


def test_the_keyboard_goes_to_pages_and_changes_the_theme(walker: Walker) -> None:
    walker.look(*LOOKS[0])
    walker.visit("/system")
    page = walker.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    for theme in ("light", "dark"):
        page.keyboard.press("t")
        assert page.evaluate("document.documentElement.dataset.theme") == theme
    page.keyboard.press("g")
    page.keyboard.press("m")
    expect(page).to_have_url(f"{walker.url}/meters")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"  # it is kept
    page.evaluate("localStorage.clear()")


def test_forms_work_in_place(walker: Walker) -> None:
    walker.look("light", WIDE)
    walker.visit("/system")
    walker.page.get_by_role("button", name="Flush the journal").click()
    expect(walker.page.get_by_role("status")).to_contain_text("moved from the journal to the table")
    walker.visit("/meters?meter=input_tokens")
    walker.page.get_by_label("Group by").select_option("provider")
    expect(walker.page.get_by_role("heading", name="By provider")).to_be_visible()
    assert "group=provider" in walker.page.url
    walker.page.go_back()
    expect(walker.page.get_by_role("heading", name="By provider")).to_have_count(0)
    expect(walker.page.locator("canvas")).to_have_count(1)
    walker.page.go_forward()
    expect(walker.page.get_by_role("heading", name="By provider")).to_be_visible()
    with walker.page.expect_download() as download:
        walker.page.get_by_role("link", name="CSV").click()
    header = Path(download.value.path()).read_text().splitlines()[0]
    assert header == "window_start,provider,quantity,events"
    walker.visit("/rejections")
    walker.page.get_by_label("Choose rejection 4", exact=True).check()
    walker.page.get_by_role("button", name="Send the chosen again").click()
    expect(walker.page.get_by_text("1 event sent again: 1 refused again.")).to_be_visible()
    assert walker.said == []


def test_times_are_those_of_the_viewer(browser: Browser, demo: tuple[str, httpx2.Client]) -> None:
    url, client = demo
    raised = client.get("/v1/signals?limit=1").json()["items"][0]
    context = browser.new_context(timezone_id="Asia/Kolkata")
    page = context.new_page()
    page.goto(f"{url}/signals/{raised['sequence']}")
    time = page.locator("time").first
    at = datetime.fromisoformat(raised["raised_at"]).astimezone(UTC)
    minutes = (at.hour * 60 + at.minute + 330) % 1440  # 5 h 30 min ahead of UTC
    expect(time).to_contain_text(f"{minutes // 60:02d}:{minutes % 60:02d}")
    assert time.get_attribute("title") == f"{at:%Y-%m-%d %H:%M:%S}" + raised["raised_at"][19:].replace("Z", " UTC")
    context.close()


def test_real_edits_of_an_encyclopaedia_are_shown(browser: Browser, tmp_path: Path) -> None:
    edits = pl.read_parquet(shared_path("data", "events", "wikipedia_edits_2015_09_12.parquet"))
    edits = edits.rename({"event_id": "id", "ts": "time", "channel": "subject"})
    edits = edits.with_columns(source=pl.lit("wikipedia"), type=pl.lit("edit"))
    added = {"event_type": "edit", "aggregation": "sum", "property": "added", "group_by": ["namespace"]}
    price = {"meter": "added", "currency": "USD", "model": "per_unit", "versions": [{"unit_amount": "0.01"}]}
    plan = {"currency": "USD", "prices": ["added"]}
    catalog = {"tallystick": 1, "currencies": ["USD"], "meters": {"added": added}, "prices": {"added": price}}
    server = Server(tmp_path / "data")
    try:
        sell(server, {**catalog, "plans": {"wiki": plan}}, [(each, "wiki") for each in edits["subject"].unique()])
        assert post_arrow(server, edits)["accepted"] == 39_199
        walker = Walker(browser, server.url)
        walker.visit("/meters?span=own&from=2015-09-12&to=2015-09-12&window=hour&group=subject")
        walker.keep("real-edits", *LOOKS[0])
        total = f"{edits['added'].sum():,}"
        expect(walker.page.get_by_role("row", name="All")).to_contain_text(total)
        assert walker.said == []
        walker.context.close()
    finally:
        server.end(9)
