"""One page in a real browser: what it loads, what it says in the console, how soon it paints, how it looks."""

import gzip
import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response

HERE = Path(__file__).parent
AXE = HERE / "vendored" / "axe.min.js"
SCREENSHOTS = HERE.parents[1] / ".screenshots"
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
LOOKS = [("light", WIDE), ("dark", WIDE), ("dark", NARROW), ("light", NARROW)]
EXAMINED = [LOOKS[0], LOOKS[2]]
"""Both themes and both widths: in these axe-core looks, which takes longest."""
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
]
SETTLED = """() => !document.querySelector('main [aria-busy=true]')
    && [...document.querySelectorAll('[data-chart]')].every(plot => plot.querySelector('canvas'))"""
PAINTS_MAX = 5
_PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_TOO_WIDE = """() => document.documentElement.scrollWidth <= document.documentElement.clientWidth ? []
    : [...document.querySelectorAll('main *')].filter(one => !one.parentElement.closest('.scroll, pre')
        && one.getBoundingClientRect().right > document.documentElement.clientWidth)
        .slice(0, 3).map(one => 'beyond the edge: ' + one.outerHTML.slice(0, 160)).concat('scrolls sideways')"""
_SERIOUS = ("serious", "critical")


class Walker:
    """A browser window on one server; what it saw is read after a visit."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.url = url
        self.context: BrowserContext = browser.new_context(viewport=WIDE, color_scheme="light")
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self._answers: list[Response] = []
        self.page.on("console", self._note_console)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", self._note_request)
        self.page.on("response", lambda answer: self._answers.append(answer))

    def visit(self, path: str) -> None:
        self.page.goto("about:blank")  # nothing of the page before comes late
        self.said, self.asked, self._answers[:] = [], [], []
        self.page.goto(self.url + path)
        self.page.wait_for_function(SETTLED, timeout=20_000)

    @property
    def abroad(self) -> list[str]:
        """What was asked of anything but the server."""
        return [url for url in self.asked if not url.startswith((self.url, "data:", "blob:"))]

    @property
    def compressed_bytes(self) -> int:
        """All that the page has loaded, each answer gzipped."""
        bodies = [answer.body() for answer in self._answers if answer.ok]
        return sum(len(gzip.compress(body)) for body in bodies)

    def painted_milliseconds(self) -> float:
        """Until the first content; the best of a few, for other tests run beside."""
        found: list[float] = []
        for _ in range(PAINTS_MAX):
            found.append(self.page.wait_for_function(_PAINTED, timeout=20_000).json_value())
            if found[-1] < 1_000:
                break
            self.page.reload()
            self.page.wait_for_function(SETTLED, timeout=20_000)
        return min(found)

    def look(self, scheme: str, size: dict[str, int]) -> None:
        self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        self.page.set_viewport_size(size)  # type: ignore[arg-type]
        self.page.wait_for_function(SETTLED, timeout=20_000)

    def keep(self, name: str, scheme: str, size: dict[str, int]) -> None:
        """A screenshot in the git-ignored folder."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-{size['width']}.png", full_page=True)

    def violations(self) -> list[str]:
        """What axe-core finds that is serious, with where."""
        self.page.evaluate(AXE.read_text())  # not through the page's own scripts, which its policy would refuse
        found: dict[str, Any] = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['id']}: {json.dumps([node['html'][:160] for node in each['nodes'][:3]])}"
            for each in found["violations"]
            if each["impact"] in _SERIOUS
        ]

    def too_wide(self) -> list[str]:
        """What makes the page scroll sideways."""
        return list(self.page.evaluate(_TOO_WIDE))

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(f"{message.type}: {message.text}")

    def _note_request(self, request: Request) -> None:
        self.asked.append(request.url)
