"""The core does no I/O: it imports nothing that could."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = sorted((ROOT / "rating" / "core").rglob("*.py"))
ALLOWED = {
    "collections", "contextlib", "dataclasses", "datetime", "decimal", "fractions", "functools", "hashlib", "json",
    "polars", "polars_hash", "rating", "re", "typing", "zoneinfo",
}  # fmt: skip
FRAME_IO = ("scan_", "read_", "sink_", "write_")
TEXT_WITHOUT_A_FILE = {"write_csv"}  # called without a file it gives a string


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    return modules


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_core_imports_nothing_that_does_io(path: Path) -> None:
    modules = imported_modules(path)
    assert {module.split(".")[0] for module in modules} <= ALLOWED
    assert all(module.startswith("rating.core") for module in modules if module.startswith("rating"))


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_core_neither_reads_nor_writes_nor_asks_the_clock(path: Path) -> None:
    names = [node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
    calls = [
        n.func.id
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    ]
    assert not {"open", "print", "input", "exec", "eval", "float"} & set(calls)
    assert not {"now", "utcnow", "today", "environ", "getenv"} & set(names)
    assert {n for n in names if n.startswith(FRAME_IO)} <= TEXT_WITHOUT_A_FILE


@pytest.mark.parametrize("house", ["rating", "store", "ingest"])
def test_arrows_between_the_houses_point_down(house: str) -> None:
    above = {"rating": {"ingest", "store", "api"}, "ingest": {"store", "api"}, "store": {"ingest", "api"}}[house]
    for path in (ROOT / house).rglob("*.py"):
        assert not {module.split(".")[0] for module in imported_modules(path)} & above, path
