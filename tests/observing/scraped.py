"""What a scrape says."""

import httpx2
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


def scraped(answer: httpx2.Response) -> dict[str, dict[Labels, float]]:
    """The values of each sample by its labels."""
    assert answer.status_code == 200
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def one(metrics: dict[str, dict[Labels, float]], name: str, **labels: str) -> float:
    """One of them; 0 where it is not there."""
    return metrics.get(f"tallystick_{name}", {}).get(frozenset(labels.items()), 0.0)
