"""The worked quotas of tests/cases/quota.yaml, moved event by event and, at each check, counted again from the log."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from rating.core.money import plain
from tests.rating.quota.live import Live, catalog_of, terms_of

FILE = Path(__file__).parents[2] / "cases" / "quota.yaml"
CASES = [pytest.param(case, id=case["name"]) for case in yaml.safe_load(FILE.read_text())]


@pytest.mark.parametrize("case", CASES)
def test_a_worked_quota_comes_out_as_written(case: dict[str, Any]) -> None:
    catalog = catalog_of(case["plans"])
    given = {name: case[name] for name in ("subscriptions", "grants", "overrides", "family", "anchor") if name in case}
    live = Live(catalog, terms_of(catalog, **given), case["steps"][0][0])
    for at, what, amount, *rest in case["steps"]:
        live.now = at
        if what == "use":
            time, subject = [*rest, at, "acme"][:2] if len(rest) != 1 else (rest[0], "acme")
            live.use(amount, at=time, subject=subject)
            continue
        expected, feature, subject = [*rest, "tokens", "acme"][:3] if len(rest) < 2 else (*rest, "acme")[:3]
        answers = [quota.check(subject, feature, Decimal(amount), at) for quota in (live.quota, live.recounted())]
        assert {name: _shown(getattr(answers[0], name)) for name in expected} == expected, (at, answers[0].message)
        assert answers[0] == answers[1], "counted again it is another one"


def _shown(value: Any) -> Any:
    return plain(value) if isinstance(value, Decimal) else value


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case["name"] for case in yaml.safe_load(FILE.read_text())]
    assert len(names) == len(set(names))
    assert all(isinstance(step[0], datetime) for case in yaml.safe_load(FILE.read_text()) for step in case["steps"])
