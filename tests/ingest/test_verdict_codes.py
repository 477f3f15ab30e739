"""The codes of verdicts are a contract: each that the code can answer is declared once and documented."""

import re

from ingest.verdicts import CONFLICT, DUPLICATE, NOT_COMMITTED_ATOMIC, REJECTIONS
from tests.conftest import ROOT


def test_every_code_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "ingest.md").read_text()
    missing = [c for c in (DUPLICATE, CONFLICT, NOT_COMMITTED_ATOMIC, *REJECTIONS) if f"`{c}`" not in guide]
    assert missing == []


def test_every_problem_has_a_declared_code() -> None:
    used = {
        code
        for path in (ROOT / "ingest").rglob("*.py")
        for code in re.findall(r'Problem\(\s*"([a-z_]+)"', path.read_text())
    }
    assert len(used) > 10
    assert used <= {*REJECTIONS, NOT_COMMITTED_ATOMIC}
