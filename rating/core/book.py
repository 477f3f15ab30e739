"""The price book as the core reads it: plain values and frames, compiled from a catalog (rating/catalog)."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import polars as pl

from rating.core.bands import Calendar
from rating.core.expression import Expression
from rating.core.prefixes import PrefixTable

P = ParamSpec("P")
T = TypeVar("T")
Aggregation = Literal[
    "count", "sum", "min", "max", "average", "latest", "unique_count", "percentile",
    "time_weighted", "weighted_sum", "rate_of_change", "high_water_mark",
]  # fmt: skip
FilterOperator = Literal[
    "in", "not_in", "prefix", "exists", "absent", "more_than", "at_least", "less_than", "at_most"
]  # fmt: skip


@dataclass(frozen=True)
class Filter:
    """Keeps an event by `property`: by `values` ("in", "not_in", "prefix"), by the number `bound` (the ranges), or by
    being there. An event without the property passes "not_in" and "absent" alone."""

    property: str
    operator: FilterOperator
    values: tuple[str, ...] = ()
    bound: Decimal | None = None


@dataclass(frozen=True)
class Conversion:
    """From what an aggregation comes to, to the metered quantity: x `times` / `divide_by`, both whole numbers above
    zero, rounded once by `mode` (see money.ratio) to `decimals`."""

    times: int = 1
    divide_by: int = 1
    mode: str = "half_even"
    decimals: int = 9


EXACTLY = Conversion()


@dataclass(frozen=True)
class Meter:
    """The rule that turns events of one type into a quantity.

    The value of an event is `expression`, or `add` less `subtract`, property by property, an absent one counting as
    zero. An event is read when it passes every one of `filters`, and of each of `exclude` not all.
    """

    key: str
    event_type: str
    aggregation: Aggregation
    add: tuple[str, ...] = ()
    subtract: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    group_by: tuple[str, ...] = ()
    exclude: tuple[tuple[Filter, ...], ...] = ()
    expression: Expression | None = None
    item: str | None = None  # unique_count: the property whose values are counted
    removed_when: tuple[Filter, ...] = ()  # unique_count: the events that take a value away
    percentile: Decimal | None = None  # above 0, at most 100
    series_by: tuple[str, ...] = ()  # what tells one gauge or counter from another, besides `group_by`
    carried: bool = False  # whether usage from before the period counts on
    of_period: bool = False  # time_weighted, weighted_sum: divided by the length of the billing period
    conversion: Conversion = EXACTLY
    prefixes: tuple[PrefixTable, ...] = ()  # those of its dimensions that the prefixes of a property decide
    duration: str | None = None  # the property with the seconds that an event lasts: it is cut at the edges of bands
    elapsed: str | None = None  # the property with the quantity of earlier records of what the event goes on with


Operator = Literal["weight", "allow", "partition", "clamp", "compose", "prorate", "credit"]
Level = Literal["event", "day", "line"]
Together = Literal["row", "event", "bands", "line", "group", "meter", "meter_by_day", "price", "price_by_day", "plan"]


@dataclass(frozen=True)
class Step:
    """One operator of a chain. `level` is that of the rows it acts on. `together` says which rows share an allowance:
    each has its own, or all of a charge line, or all lines of one group, of one meter, or of the price (in the whole
    period, or of each day). `property`
    is what it reads of each event: a factor, or, with `instead`, what takes the place of the quantity."""

    operator: Operator
    level: Level = "line"
    together: Together = "row"
    property: str | None = None
    instead: bool = False
    prorates: bool = False  # allow: whether its units are those of the served part of the period


@dataclass(frozen=True)
class Chain:
    """The steps of a price, without its numbers: `before` act on quantities, then tiers make amounts of them, then
    `after` act on amounts. Levels go from fine to coarse. `splits` is whether a row can fall into several tiers,
    `prorates_tiers` whether they are those of the served part of the period, and `goes_on` whether tiers and included
    units go on where what was metered before in the same window has left them (rating/core/windows.py)."""

    before: tuple[Step, ...] = ()
    tier_level: Level = "line"
    tier_together: Together = "row"
    splits: bool = True
    after: tuple[Step, ...] = ()
    prorates_tiers: bool = False
    goes_on: bool = False

    @property
    def level(self) -> Level:
        """The finest level, at which usage must come in."""
        levels = {self.tier_level, *(step.level for step in (*self.before, *self.after))}
        return "event" if "event" in levels else "day" if "day" in levels else "line"

    @property
    def counts_parts(self) -> bool:
        """Whether some step asks which part of the period is served."""
        steps = (*self.before, *self.after)
        return self.prorates_tiers or any(step.prorates or step.operator == "prorate" for step in steps)


@dataclass(frozen=True)
class PriceShape:
    """Prices of one meter that match on the same dimensions and are rated by the same groups.

    `prices` has one row per (plan, price, cell) with the columns `plan`, `price`, `cell` (RATE) and one String column
    for each of `match`.
    """

    meter: str
    match: tuple[str, ...]
    group_by: tuple[str, ...]
    prices: pl.DataFrame


@dataclass(frozen=True, eq=False)
class PriceBook:
    """A catalog version, ready to rate, in the frames of schema.py that have these names; `credits` is
    PLAN_CREDIT (credits/schema.py).

    `chains` are the different chains of its rates, and `calendars` the different calendars of its bands: RATE and BAND
    say which.
    """

    version: str
    meters: tuple[Meter, ...]
    shapes: tuple[PriceShape, ...]
    chains: tuple[Chain, ...]
    calendars: tuple[Calendar, ...]
    prices: pl.DataFrame
    rates: pl.DataFrame
    bands: pl.DataFrame
    tiers: pl.DataFrame
    weights: pl.DataFrame
    allowances: pl.DataFrame
    clamps: pl.DataFrame
    compositions: pl.DataFrame
    prorations: pl.DataFrame
    adjustments: pl.DataFrame
    plan_allowances: pl.DataFrame
    credits: pl.DataFrame
    fees: pl.DataFrame
    features: pl.DataFrame
    feature_rules: pl.DataFrame
    entitlements: pl.DataFrame
    quota_grants: pl.DataFrame
    policies: pl.DataFrame
    made: dict[Hashable, Any] = field(init=False, default_factory=dict, compare=False, repr=False)  # see `of_book`


def of_book(work: Callable[Concatenate[PriceBook, P], T]) -> Callable[Concatenate[PriceBook, P], T]:
    """Keep with a book what `work` makes of it alone, and of arguments with a hash: many customers are rated by it, one
    after the other."""

    @wraps(work)
    def kept(book: PriceBook, /, *args: P.args, **kwargs: P.kwargs) -> T:
        asked = (work, args, tuple(kwargs.items()))
        if asked not in book.made:
            book.made[asked] = work(book, *args, **kwargs)
        made: T = book.made[asked]
        return made

    return kept
