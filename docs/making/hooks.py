"""What the builder of the site does beside Markdown: sections of the README, pictures in the page's colours."""

import re
from pathlib import Path
from typing import Any

_PICTURE = re.compile(r'<img alt="[^"]*" src="((?:gallery|pictures)/[a-z0-9_-]+\.svg)" ?/?>')
_DOCS = Path(__file__).parents[1]


_SECTION = re.compile(r"<!-- README: ([^>]*) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with sections of the README in the place that names them: they are written once."""
    return _SECTION.sub(lambda found: _section(found[1]), markdown)


def _section(title: str) -> str:
    text = (_DOCS.parent / "README.md").read_text()
    section = text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0].strip()
    return section.replace("](docs/", "](")


def on_page_content(html: str, **_: Any) -> str:
    """The page with each of its own SVG files in place of the link to it, in a box that scrolls."""
    return _PICTURE.sub(_inline, html)


def _inline(found: re.Match[str]) -> str:
    return f'<span class="picture" tabindex="0">{(_DOCS / found[1]).read_text()}</span>'
