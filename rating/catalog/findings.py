"""What the linter of price books finds: a problem that is no reason to refuse a catalog, with a code and a severity."""

from dataclasses import dataclass
from typing import Literal

from rating.catalog.problems import Problem

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing to look at. Codes are for programs: they are added to, never renamed."""

    code: str
    severity: Severity
    problem: Problem

    def __str__(self) -> str:
        return f"{self.severity} {self.code}: {self.problem}"


def error(code: str, path: str, value: str, message: str, cure: str) -> Finding:
    """What costs somebody money by any reading."""
    return Finding(code, "error", Problem(path, value, message, cure))


def warning(code: str, path: str, value: str, message: str, cure: str) -> Finding:
    """What may be meant."""
    return Finding(code, "warning", Problem(path, value, message, cure))
