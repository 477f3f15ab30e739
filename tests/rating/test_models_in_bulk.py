"""Thousands of lines of each price model against the oracle, to the last digit (RELIABILITY T10)."""

import hashlib
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.catalog import compile_catalog, parse_catalog
from rating.core.periods import parse_month
from rating.core.rating import Rated, rate
from rating.core.subjects import Usage, interned
from tests import oracle
from tests.bulk import NUMBERS, Bulk, bulk
from tests.frames import subject_frame, subscription_frame, usage_frame

PRICES, CUSTOMERS = 20, 100
"""2,000 customers of each model, a line or two each."""
RUNS = settings(max_examples=1 if settings().max_examples < 1_000 else 100)
"""So 2,000 examples of each model, 200,000 in the long run."""
MONTH = "2026-10"


def run(given: Bulk, *, pieces: int = 1, seed: int | None = None) -> Rated:
    catalog = parse_catalog(json.dumps(given.document), format="json")
    usage = interned(usage_frame(given.events, catalog.declared_properties()))
    if seed is not None or pieces > 1:
        frame = usage.events.collect()
        frame = frame if seed is None else frame.sample(fraction=1, shuffle=True, seed=seed)
        parts = [frame[start::pieces] for start in range(pieces)]
        usage = Usage(pl.concat(parts, rechunk=False).lazy(), usage.subjects)
    frames = subject_frame(given.subscriptions), subscription_frame(given.subscriptions)
    return rate(usage, *frames, compile_catalog(catalog), parse_month(MONTH))


def expected(given: Bulk) -> dict[Any, tuple[Decimal, Decimal, Decimal]]:
    """The oracle is asked customer by customer, so that it need not look through the events of all."""
    events: dict[str, list[oracle.Event]] = {}
    for event in given.events:
        events.setdefault(event["subject"], []).append(event)
    return {
        (key[0], key[5]): (line.quantity, line.amount, line.rounded)
        for one in given.subscriptions
        for key, line in oracle.rate(given.document, events.get(one.key, []), [one], MONTH).items()
    }


@pytest.mark.parametrize("model", sorted(NUMBERS))
@RUNS
@given(seed=st.integers(0, 2**32))
def test_every_line_equals_the_oracles(model: str, seed: int) -> None:
    given_bulk = bulk(model, seed, prices=PRICES, customers=CUSTOMERS)
    lines = run(given_bulk).lines
    got = {
        (line["subscription"], line["group"]): (line["quantity"], line["amount"], line["rounded_amount"])
        for line in lines.iter_rows(named=True)
    }
    wanted = expected(given_bulk)
    assert got.keys() == wanted.keys()
    wrong = {key: (got[key], numbers) for key, numbers in wanted.items() if got[key] != numbers}
    assert not wrong, _shown(given_bulk, wrong)


def _shown(given_bulk: Bulk, wrong: dict[Any, Any]) -> str:
    """The first wrong line with its price and its events, which are the whole example."""
    (subscription, group), numbers = next(iter(wrong.items()))
    price = given_bulk.document["prices"][subscription.split("-")[0]]
    events = [event for event in given_bulk.events if event["subject"] == subscription]
    return f"{len(wrong)} lines are wrong; the first: {price} {events} group {group}: got, expected: {numbers}"


def all_models() -> str:
    """One digest of the bills of every model."""
    digests = [run(bulk(model, 2, prices=5, customers=20)).digest for model in sorted(NUMBERS)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def test_the_number_of_threads_changes_no_byte_of_any_model() -> None:
    """In a process of its own each, for the pool of threads is made once."""
    script = "from tests.rating.test_models_in_bulk import all_models; print(all_models())"
    digests = {
        threads: subprocess.run(
            [sys.executable, "-c", script],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "POLARS_MAX_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in (1, 2, 8)
    }
    assert len(set(digests.values())) == 1, digests
