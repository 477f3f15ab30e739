"""What every test shares: where the shared data lies, how random tests are seeded, and what CI may skip.

`filterwarnings = error` (pyproject.toml) turns a warning of any library into a failure.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("TALLYSTICK_SHARED", ROOT.parent / "shared"))
ALLOWED_SKIP = "needs ../shared"

_SLOW_MACHINE = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("deterministic", derandomize=True, deadline=None, suppress_health_check=_SLOW_MACHINE)
settings.register_profile(
    "long", max_examples=2_000, deadline=None, print_blob=True, database=None, suppress_health_check=_SLOW_MACHINE
)
settings.register_profile(  # tests.mutation: many runs of which most must fail, and none needs a small example
    "mutation",
    max_examples=25,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=_SLOW_MACHINE,
)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "deterministic")
settings.load_profile(PROFILE)


def shared_path(*parts: str) -> Path:
    """A file of the shared data (`TALLYSTICK_SHARED`, or ../shared beside the checkout); skips the test without it."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{ALLOWED_SKIP}: {'/'.join(parts)} is not there")
    return path


LONGEST = ("crash", "exactness", "test_every_nth_call.py", "test_state_machine.py", "test_bitemporal_machine.py")
"""Folders and files of tests that take longest: workers begin with them, so that none is left alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not any(part in LONGEST for part in item.path.parts))


def pytest_report_header(config: pytest.Config) -> list[str]:
    seed = config.getoption("hypothesisseed", None)
    drawn = f"seed {seed}" if seed is not None else "derandomized: every run draws the same examples"
    return [
        f"hypothesis: profile {PROFILE}, {drawn}",
        f"shared data: {'found' if SHARED.exists() else 'absent, its tests skip'}",
    ]


class SkipsFailTheRun:
    """With CI set, a test that skips for another reason than missing shared data fails the run."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            reason = reason.removeprefix("Skipped: ")
            if not reason.startswith(ALLOWED_SKIP):
                self.skipped.append(f"{report.nodeid}: {reason}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.skipped:
            terminalreporter.section("skipped in CI, which is a failure", red=True)
            for line in self.skipped:
                terminalreporter.write_line(line)


def pytest_configure(config: pytest.Config) -> None:
    is_worker = hasattr(config, "workerinput")
    if os.environ.get("CI") and not is_worker:
        config.pluginmanager.register(SkipsFailTheRun(), "skips-fail-the-run")
