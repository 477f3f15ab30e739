"""A day of LLM usage, made up but shaped like a real one: nights and days, short requests and very long ones.

Everything is drawn at once, column by column, from one seed; all numbers are whole. Equal arguments, equal events.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from api.demo.customers import DemoCustomer
from api.demo.prices import MODELS, UNPRICED_MODEL
from rating.core.periods import Month

USUAL_DAY = date(2026, 10, 15)
BATCH_EVENTS = 1_000
SECONDS = 86_400
STRANGERS = 12
"""Subjects that belong to no customer; one event in STRANGER_EVERY is theirs."""
STRANGER_EVERY = 20_000
CONTEXT_MAX = 900_000

_HOURS = np.array([3, 2, 1, 1, 1, 2, 4, 7, 11, 14, 15, 15, 13, 14, 15, 15, 14, 12, 10, 9, 8, 7, 6, 4], dtype=float)
"""How busy each hour of a customer's local day is."""


@dataclass(frozen=True)
class Shape:
    """How often a model is used, and the medians and spreads of its lognormal token counts."""

    share: float
    input_median: int
    input_sigma: float
    output_median: int
    output_sigma: float


_SHAPES = {
    MODELS[0]: Shape(0.24, 1_400, 1.1, 220, 0.9),
    MODELS[1]: Shape(0.12, 2_600, 1.1, 380, 0.9),
    MODELS[2]: Shape(0.10, 4_000, 1.2, 900, 1.0),
    MODELS[3]: Shape(0.14, 11_000, 1.5, 700, 1.0),
    MODELS[4]: Shape(0.10, 2_200, 1.1, 300, 0.9),
    MODELS[5]: Shape(0.12, 1_800, 1.2, 260, 0.9),
    MODELS[6]: Shape(0.07, 15_000, 1.6, 800, 1.0),
    MODELS[7]: Shape(0.06, 3_000, 1.1, 420, 0.9),
    MODELS[8]: Shape(0.03, 2_400, 1.1, 340, 0.9),
    UNPRICED_MODEL: Shape(0.02, 1_500, 1.0, 250, 0.8),
}


def demo_day(now: datetime) -> date:
    """The same day for everyone; the middle of the month before `now` where clocks have not come so far."""
    month = Month(now.year - (now.month == 1), (now.month - 2) % 12 + 1)
    return min(USUAL_DAY, date(month.year, month.month, 15))


def make_day(events: int, seed: int, customers: Sequence[DemoCustomer], day: date) -> pl.DataFrame:
    """One row an event, in the order of `time`: `number`, `subject`, `time`, `provider`, `model`, `input_tokens`,
    `cache_read_tokens` (a part of the input), `output_tokens`, `tool_calls`; the last two counts may be 0."""
    random = np.random.default_rng([seed, 2])
    owner = random.choice(len(customers), events, p=np.array([customer.share for customer in customers]))
    model = random.choice(len(_SHAPES), events, p=np.array([shape.share for shape in _SHAPES.values()]))
    times = _times(random, owner, customers, day)
    inputs, outputs = _tokens(random, model)
    cached = np.where(random.random(events) < 0.35, (inputs * random.uniform(0.2, 0.9, events)).astype(np.int64), 0)
    tools = np.where(random.random(events) < 0.15, random.geometric(0.45, events), 0)
    names = pl.Series(list(_SHAPES))[model]
    frame = pl.DataFrame(
        {
            "subject": _subjects(random, owner, customers),
            "time": pl.Series(times).cast(pl.Datetime("ms", "UTC")),
            "provider": names.str.split("/").list.first(),
            "model": names.str.split("/").list.last(),
            "input_tokens": inputs,
            "cache_read_tokens": np.where(names == UNPRICED_MODEL, 0, cached),
            "output_tokens": outputs,
            "tool_calls": tools.astype(np.int64),
        }
    )
    return frame.sort("time", maintain_order=True).with_row_index("number", offset=1)


def bodies(day: pl.DataFrame, seed: int) -> Iterator[bytes]:
    """The day as CloudEvents JSON in batches, written with whole columns at a time."""
    for part in day.iter_slices(BATCH_EVENTS * 50):
        texts = part.select(_cloud_event(seed)).to_series()
        for start in range(0, len(texts), BATCH_EVENTS):
            yield f"[{','.join(texts[start : start + BATCH_EVENTS])}]".encode()


def _cloud_event(seed: int) -> pl.Expr:
    gateway = (pl.col("number") % 4 + 1).cast(pl.String)
    counts = [
        pl.when(pl.col(name) > 0).then(pl.format(f',"{name}":{{}}', pl.col(name))).otherwise(pl.lit(""))
        for name in ("cache_read_tokens", "tool_calls")
    ]
    return pl.concat_str(
        pl.lit('{"specversion":"1.0","type":"llm.request","source":"gateway-'),
        gateway,
        pl.lit(f'","id":"{seed}-'),
        pl.col("number").cast(pl.String).str.zfill(9),
        pl.lit('","subject":"'),
        pl.col("subject"),
        pl.lit('","time":"'),
        pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
        pl.lit('","data":{"provider":"'),
        pl.col("provider"),
        pl.lit('","model":"'),
        pl.col("model"),
        pl.lit('","input_tokens":'),
        pl.col("input_tokens").cast(pl.String),
        pl.lit(',"output_tokens":'),
        pl.col("output_tokens").cast(pl.String),
        *counts,
        pl.lit("}}"),
    ).alias("event")


def _times(random: np.random.Generator, owner: np.ndarray, customers: Sequence[DemoCustomer], day: date) -> pl.Series:
    """Milliseconds since 1970, within the UTC day, more of them in the owner's working hours."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    offsets = np.array([_offset_seconds(customer.time_zone, noon) for customer in customers])
    hours = random.choice(24, len(owner), p=_HOURS / _HOURS.sum())
    local = hours * 3600 + random.random(len(owner)) * 3600
    seconds = np.mod(local - offsets[owner], SECONDS)
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return pl.Series((midnight * 1000 + seconds * 1000).astype(np.int64))


def _offset_seconds(time_zone: str, at: datetime) -> int:
    offset = at.astimezone(ZoneInfo(time_zone)).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _tokens(random: np.random.Generator, model: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Input and output tokens of each event, by the shape of its model."""
    shapes = list(_SHAPES.values())

    def draw(medians: list[int], sigmas: list[float], most: int) -> np.ndarray:
        spread = random.standard_normal(len(model)) * np.array(sigmas)[model]
        tokens = np.clip(np.array(medians)[model] * np.exp(spread), 1, most)
        return np.asarray(tokens.astype(np.int64))

    inputs = draw([s.input_median for s in shapes], [s.input_sigma for s in shapes], CONTEXT_MAX)
    outputs = draw([s.output_median for s in shapes], [s.output_sigma for s in shapes], 32_000)
    return inputs, outputs


def _subjects(random: np.random.Generator, owner: np.ndarray, customers: Sequence[DemoCustomer]) -> pl.Series:
    """One of the owner's subjects, and now and then one that nobody knows."""
    names = [subject for customer in customers for subject in customer.subjects]
    counts = np.array([len(customer.subjects) for customer in customers])
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    chosen = firsts[owner] + (random.random(len(owner)) * counts[owner]).astype(np.int64)
    strange = np.arange(len(owner)) % STRANGER_EVERY == 7
    stranger = len(names) + random.integers(0, STRANGERS, len(owner))
    known = pl.Series([*names, *(f"unknown-key-{number:02d}" for number in range(1, STRANGERS + 1))])
    return known[np.where(strange, stranger, chosen)]
