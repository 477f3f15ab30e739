"""A sound catalog document, and ways to spoil it."""

from copy import deepcopy
from typing import Any

import pytest

from rating.catalog import CatalogInvalid, Problem, load_catalog

REMOVED = Ellipsis

SOUND: dict[str, Any] = {
    "tallystick": 1,
    "currencies": ["USD", "EUR"],
    "meters": {
        "tokens": {"event_type": "llm.request", "aggregation": "sum", "property": "n", "group_by": ["model", "region"]},
        "calls": {"event_type": "llm.request", "aggregation": "count", "group_by": ["model"]},
    },
    "features": {"tokens": {"meter": "tokens"}},
    "prices": {
        "fee": {"model": "flat", "currency": "USD", "versions": [{"amount": "20"}]},
        "unit": {
            "model": "per_unit",
            "meter": "tokens",
            "currency": "USD",
            "match": {"model": "small"},
            "versions": [{"unit_amount": "2.50", "per": 1000}],
        },
        "tiered": {
            "model": "graduated",
            "meter": "tokens",
            "currency": "USD",
            "match": {"model": "large"},
            "versions": [{"tiers": [{"up_to": 10, "unit_amount": "2"}, {"unit_amount": "1"}]}],
        },
        "sized": {
            "model": "per_request",
            "meter": "calls",
            "currency": "USD",
            "versions": [{"size": "n", "tiers": [{"unit_amount": "1"}]}],
        },
        "packs": {
            "model": "package",
            "meter": "tokens",
            "currency": "EUR",
            "versions": [{"package_size": "100", "amount": "1"}],
        },
    },
    "plans": {
        "pro": {
            "currency": "USD",
            "prices": ["fee", "unit", "tiered", "sized"],
            "entitlements": {"tokens": {"limit": "1000"}},
        }
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The sound document with `value` at a place such as `prices/unit/versions/0/per`; REMOVED takes it away."""
    document = deepcopy(SOUND)
    *outer, last = (int(step) if step.isdigit() else step for step in path.split("/"))
    part: Any = document
    for step in outer:
        part = part[step]
    if value is REMOVED:
        del part[last]
    else:
        part[last] = value
    return document


def problems_in(document: Any) -> list[Problem]:
    """What `load_catalog` finds wrong."""
    with pytest.raises(CatalogInvalid) as refused:
        load_catalog(document)
    return refused.value.problems
