"""What the demonstration prints for people."""

import sys
from pathlib import Path

from api.cli.lines import show_explanation, show_lines
from api.cli.printing import grouped, table
from api.cli.runs import show_report
from api.demo.findings import Findings


def show_step(text: str, *, quiet: bool) -> None:
    """One line when a step is done."""
    if not quiet:
        print(text, flush=True)


def show_findings(findings: Findings, keep: Path | None) -> None:
    """The charges, what was not charged, who ran out, and the checks."""
    _heading("The largest charge lines")
    show_lines(findings.lines, f"{grouped(findings.run['report']['lines'])} charge lines of {findings.run['id']}")
    _heading("What the month comes to, and what is not in it")
    show_report(findings.run["report"])
    _heading("Who ran out of quota, and when")
    _show_signals(findings)
    _heading("One line, explained")
    show_explanation(findings.explained)
    _heading("Checked against the events themselves, in plain Python")
    for check in findings.checks:
        same = check.found if check.ok else f"{check.found}, but it should be {check.expected}"
        print(f"  {'ok' if check.ok else 'WRONG':6}{check.name}: {same}")
    print()
    if keep is not None:
        print(f"The data directory is {keep}. Look around: tallystick lines --data {keep}", file=sys.stderr)


def _show_signals(findings: Findings, shown_max: int = 12) -> None:
    ordered = sorted(findings.signals, key=lambda signal: signal["data"]["reached_at"])
    rows = [
        (s["customer"], grouped(s["data"]["limit"]), _clock(s["data"]["reached_at"]), grouped(s["data"]["used"]))
        for s in ordered[:shown_max]
    ]
    more = f", the first {shown_max}" if len(ordered) > shown_max else ""
    columns = ("customer", "limit", "reached at (UTC)", "used then")
    table(f"{len(ordered)} of {len(findings.customers)} customers{more}", columns, rows, right=("limit", "used then"))


def _clock(instant: str) -> str:
    """Down to the second."""
    return instant[:19].replace("T", " ")


def _heading(text: str) -> None:
    print(f"\n--- {text} ---", flush=True)
