"""A rating run as pages name it."""

from dataclasses import dataclass
from decimal import Decimal

from api.engine import Engine
from api.progress import Progress
from store.runs import Run


@dataclass(frozen=True)
class RunShown:
    """`kind` is a class of a badge."""

    run: Run
    kind: str
    totals: list[tuple[Decimal, str]]
    lines: int
    progress: Progress | None


def shown_run(run: Run, engine: Engine) -> RunShown:
    report = run.report or {}
    totals = [(Decimal(row["rounded_amount"]), row["currency"]) for row in report.get("totals", [])]
    kind = {"done": "good", "running": "accent", "failed": "bad", "interrupted": "warn"}[run.status]
    return RunShown(run, kind, totals, report.get("lines", 0), engine.rating.progress(run.id))
