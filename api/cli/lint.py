"""`tallystick catalog lint`: what a catalog file may say, but hardly means."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.catalogs import File, read_catalog
from api.cli.failing import FAILED, problem_line
from api.cli.options import Json
from api.cli.printing import document

if TYPE_CHECKING:
    from rating.catalog.findings import Finding


def lint(
    file: File,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    json: Json = False,
) -> None:
    """Look for what a valid catalog hardly means: prices that fall when more is bought, tiers that nothing reaches,
    meters without a price. Exits with 1 when there are errors. Needs no data directory."""
    from rating.catalog.linting import lint as findings_of

    catalog = read_catalog(file)
    findings = findings_of(catalog)
    counts = {severity: sum(f.severity == severity for f in findings) for severity in ("error", "warning")}
    if json:
        found = [_as_json(finding) for finding in findings]
        document(
            {"version": catalog.version, "errors": counts["error"], "warnings": counts["warning"], "findings": found}
        )
    else:
        for finding in findings:
            typer.echo(f"{finding.severity} {finding.code}  {problem_line(_as_json(finding))}")
        typer.echo(f"{file.name}: {_counted(counts['error'], 'error')}, {_counted(counts['warning'], 'warning')}")
    if counts["error"] or (strict and counts["warning"]):
        raise typer.Exit(FAILED)


def _as_json(finding: "Finding") -> dict[str, Any]:
    problem = {name: getattr(finding.problem, name) for name in ("path", "value", "message", "cure")}
    return {"code": finding.code, "severity": finding.severity, **problem}


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
