"""What the builder of the site does beside Markdown: pictures are put into the page, so that they follow its colours."""

import re
from pathlib import Path
from typing import Any

_PICTURE = re.compile(r'<img alt="[^"]*" src="((?:gallery|pictures)/[a-z0-9_-]+\.svg)" ?/?>')
_DOCS = Path(__file__).parents[1]


def on_page_content(html: str, **_: Any) -> str:
    """The page with each of its own SVG files in place of the link to it, in a box that scrolls where it is too wide."""
    return _PICTURE.sub(_inline, html)


def _inline(found: re.Match[str]) -> str:
    return f'<span class="picture" tabindex="0">{(_DOCS / found[1]).read_text()}</span>'
