"""Mutate modules, one small change at a time, and count the changes that their tests notice.

    python -m tests.mutation                 every target; hours
    python -m tests.mutation money periods   these
    python -m tests.mutation money --list    the mutants without running them

Works on a copy, so that the checkout stays as it is. A mutant that survives is printed as a diff; those that
`survivors.txt` names with a reason (it changes nothing that can be seen) are not counted against the tests. The exit
code is 1 when a target has a score below 90 %.
"""

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.targets import EXCLUDED_OPERATORS, TARGETS, Target

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("rating", "ingest", "store", "api", "tests", "data", "pyproject.toml")
LEAST_SCORE = 0.9
SECONDS_MAX = 120.0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="TARGET")
    parser.add_argument("--list", action="store_true", help="print the mutants, run none")
    asked = parser.parse_args(arguments)
    scores = [run(name, asked.list) for name in asked.targets or TARGETS]
    return 1 if min(scores) < LEAST_SCORE else 0


def run(name: str, only_list: bool = False) -> float:
    """The part of the mutants of a target that its tests notice."""
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="mutation-") as made:
        copy = Path(made)
        _copy(copy)
        (copy / "mutation.toml").write_text(_configuration(target))
        _cosmic_ray(copy, "init", "mutation.toml", "session.sqlite")
        subprocess.run(["cr-filter-operators", "session.sqlite", "mutation.toml"], cwd=copy, check=True)
        if only_list:
            return _list(copy)
        _cosmic_ray(copy, "baseline", "mutation.toml")
        _cosmic_ray(copy, "exec", "mutation.toml", "session.sqlite")
        return _report(name, copy / "session.sqlite")


def _copy(to: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(ROOT / name, to / name)


def _configuration(target: Target) -> str:
    modules = ", ".join(f'"{module}"' for module in target.modules)
    excluded = ", ".join(f'"{pattern}"' for pattern in EXCLUDED_OPERATORS)
    command = f"{sys.executable} -m pytest -x -q --assert=plain -p no:cacheprovider {' '.join(target.tests)}"
    return f"""
[cosmic-ray]
module-path = [{modules}]
timeout = {SECONDS_MAX}
excluded-modules = []
test-command = "{command}"

[cosmic-ray.distributor]
name = "local"

[cosmic-ray.filters.operators-filter]
exclude-operators = [{excluded}]
"""


def _cosmic_ray(copy: Path, *arguments: str) -> None:
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "mutation", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(["cosmic-ray", *arguments], cwd=copy, env=environment, check=True)


def _list(copy: Path) -> float:
    with sqlite3.connect(copy / "session.sqlite") as session:
        rows = session.execute(
            "SELECT module_path, operator_name, count(*) FROM mutation_specs LEFT JOIN work_results USING (job_id)"
            " WHERE worker_outcome IS NULL GROUP BY 1, 2 ORDER BY 1, 2"
        )
        for module, operator, count in rows:
            print(f"{module}: {count} x {operator}")
    return 1.0


def _report(name: str, session: Path) -> float:
    with sqlite3.connect(session) as opened:
        rows = opened.execute("SELECT worker_outcome, test_outcome, diff FROM work_results ORDER BY job_id").fetchall()
    judged = [(test, diff) for worker, test, diff in rows if "SKIPPED" not in worker.upper()]
    survived = [diff for test, diff in judged if "SURVIVED" in test.upper()]
    accepted = _accepted()
    counted = [diff for diff in survived if _change(diff) not in accepted]
    for diff in counted:
        print(diff, end="\n\n")
    score = 1 - len(counted) / len(judged)
    explained = len(survived) - len(counted)
    print(f"{name}: {len(judged)} mutants, {len(survived)} survived, {explained} with a reason: {score:.1%}")
    return score


def _change(diff: str) -> str:
    """What a mutant changes: the changed lines of its diff, without their indentation."""
    lines = [line for line in diff.splitlines() if line.startswith(("+", "-")) and line[:3] not in ("+++", "---")]
    return " ".join(f"{line[0]} {line[1:].strip()}" for line in lines)


def _accepted() -> set[str]:
    """The changes of `survivors.txt`: a line that begins with a minus; those above it say why."""
    text = (Path(__file__).parent / "survivors.txt").read_text()
    return {line for line in text.splitlines() if line.startswith("- ")}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
