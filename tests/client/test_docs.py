"""The snippets of docs/python-client.md, run in their order."""

import re

from tests.conftest import ROOT
from tests.crash.server import TALLYSTICK, Server


def test_every_snippet_runs(tmp_path):
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python-client.md").read_text(), re.DOTALL)
    assert len(snippets) == 2
    server = Server(TALLYSTICK, tmp_path / "data", tmp_path / "log")
    server.must_start()
    try:
        names = {"url": server.url, "api_key": None}
        for snippet in snippets:
            exec(snippet, names)  # noqa: S102
    finally:
        server.kill()
