"""The command line as a user has it: real arguments, a real data directory, what it prints and its exit code."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api.cli import main

BOOK = """
tallystick: 1
currencies: [USD]
meters:
  input_tokens: {event_type: llm.request, aggregation: sum, property: input_tokens, group_by: [model]}
features:
  tokens: {meter: input_tokens}
prices:
  fee: {model: flat, currency: USD, versions: [{amount: "10"}]}
  small/input:
    {meter: input_tokens, currency: USD, model: per_unit, match: {model: small},
     versions: [{unit_amount: "2.50", per: 1000000}]}
plans:
  pro: {currency: USD, prices: [fee, small/input], entitlements: {tokens: {limit: "1000000", window: month}}}
"""

USAGE = """source,id,type,subject,time,model,input_tokens
gateway,1,llm.request,acme,2026-10-01T10:00:00Z,small,400000
gateway,2,llm.request,acme,2026-10-02T10:00:00Z,small,700000.5
gateway,3,llm.request,acme,2026-10-03T10:00:00Z,large,10
gateway,4,llm.request,stranger,2026-10-03T11:00:00Z,small,7
"""


@dataclass(frozen=True)
class Ran:
    """One command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `tallystick` with the arguments, in this process."""

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, printed.out, printed.err)

    return run


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.yaml"
    path.write_text(BOOK)
    return path


@pytest.fixture
def usage(tmp_path: Path) -> Path:
    path = tmp_path / "usage.csv"
    path.write_text(USAGE)
    return path


@pytest.fixture
def data(tmp_path: Path, book: Path, run: Run) -> Path:
    """A data directory with the catalog, and `acme` on the plan `pro`."""
    directory = tmp_path / "data"
    at = ("--data", directory)
    assert run("catalog", "apply", book, *at).code == 0
    assert run("customers", "put", "acme", *at).code == 0
    put = run(
        "subscriptions", "put", "acme-pro", "--customer", "acme", "--plan", "pro", "--starts-at", "2026-01-01", *at
    )
    assert put.code == 0
    return directory
