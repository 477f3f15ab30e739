"""The documents about metrics name those that there are, and the files for Grafana and Prometheus ask for no others."""

import json
import re
from typing import Any

import yaml

from api.observing.metric_table import METRICS
from tests.conftest import ROOT

DOCS = ROOT / "docs"
SERIES = {name for metric in METRICS.values() for name in (
    [f"{metric.whole_name}_{part}" for part in ("bucket", "sum", "count")]
    if metric.kind == "histogram" else [metric.whole_name]
)}  # fmt: skip


def asked(expression: str) -> set[str]:
    return set(re.findall(r"\btallystick_\w+", expression))


def test_the_table_of_metrics_is_that_of_the_program() -> None:
    rows = [line for line in (DOCS / "observability.md").read_text().splitlines() if line.startswith("| `tallystick_")]
    assert rows == [
        f"| `{m.whole_name}` | {m.kind} | {', '.join(f'`{label}`' for label in m.labels)} | {m.help} |"
        for m in METRICS.values()
    ]


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    dashboard = json.loads((DOCS / "operations" / "grafana.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(expressions) >= 20
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for expression in expressions:
        assert asked(expression) <= SERIES
        assert asked(expression) or "process_" in expression
        assert expression.count("(") == expression.count(")")


def test_the_alerts_ask_for_metrics_that_there_are_and_say_what_to_do() -> None:
    document: dict[str, Any] = yaml.safe_load((DOCS / "operations" / "alerts.yaml").read_text())
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 10
    for rule in rules:
        assert asked(rule["expr"]) <= SERIES
        assert asked(rule["expr"]) or rule["expr"].startswith("up{")
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["action"].endswith(".")


def test_the_page_names_no_series_that_there_is_not() -> None:
    named = asked((DOCS / "observability.md").read_text())
    assert named <= SERIES | METRICS.keys()
