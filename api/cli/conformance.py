"""`tallystick conformance`: worked bills as a suite that anybody can read, and run against any engine."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.failing import BAD_DATA, FAILED, USAGE, Failure
from api.cli.options import Json
from api.cli.printing import document

Directory = Annotated[
    Path | None,
    typer.Argument(exists=True, help="A YAML file of worked bills, or a directory of them.", metavar="[PATH]"),
]


@dataclass(frozen=True)
class FileResult:
    """One file: how many bills came out as written, and the differences of the others by name."""

    file: str
    passed: int
    failed: dict[str, list[str]]

    def as_json(self) -> dict[str, Any]:
        failed = [{"case": name, "differences": found} for name, found in self.failed.items()]
        return {"file": self.file, "passed": self.passed, "failed": failed}


def conformance(path: Directory = None, json: Json = False) -> None:
    """Rate worked bills and compare every line with what is written. Exits with 1 when one comes out otherwise. Without
    PATH it runs the suite of the source tree that this program runs from. Needs no data directory."""
    results = [_result(file) for file in _files(path or _own_suite())]
    passed, failed = sum(it.passed for it in results), sum(len(it.failed) for it in results)
    if json:
        document({"passed": passed, "failed": failed, "files": [it.as_json() for it in results]})
    else:
        for result in results:
            typer.echo(f"{result.file}: {result.passed} passed, {len(result.failed)} failed")
            for name, found in result.failed.items():
                typer.echo("\n".join([f"  {name}", *(f"    {difference}" for difference in found)]))
        typer.echo(f"{passed} passed, {failed} failed")
    if failed:
        raise typer.Exit(FAILED)


def _own_suite() -> Path:
    suite = Path(__file__).parents[2] / "tests" / "cases"
    if not suite.is_dir():
        raise Failure("there is no suite beside this program. Name the file or directory of worked bills.", USAGE)
    return suite


def _files(path: Path) -> Iterator[Path]:
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    if not files:
        raise Failure(f"{path} has no .yaml file.", BAD_DATA)
    yield from files


def _result(file: Path) -> FileResult:
    from yaml import YAMLError

    from rating.cases import read_cases

    try:
        cases = read_cases(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError) as error:
        raise Failure(f"{file.name} holds no worked bills: {error}.", BAD_DATA) from error
    found = {str(case["name"]): _differences(case) for case in cases}
    return FileResult(file.name, sum(not it for it in found.values()), {name: it for name, it in found.items() if it})


def _differences(case: Any) -> list[str]:
    """A case that cannot be rated has failed, and the others go on."""
    from rating.cases import differences
    from rating.catalog import CatalogInvalid
    from rating.core.money import AmountOverflow

    try:
        return differences(case)
    except CatalogInvalid as invalid:
        return [f"the catalog is refused: {problem}" for problem in invalid.problems]
    except (AmountOverflow, KeyError, TypeError, ValueError) as error:
        return [f"cannot be rated: {type(error).__name__}: {error}"]
