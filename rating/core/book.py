"""The price book as the core reads it: plain values and frames, compiled from a catalog (rating/catalog)."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

Aggregation = Literal["count", "sum"]
FilterOperator = Literal["in", "not_in"]


@dataclass(frozen=True)
class Filter:
    """Keeps an event when `property` is one of `values` ("in") or none of them ("not_in", also when it is absent)."""

    property: str
    operator: FilterOperator
    values: tuple[str, ...]


@dataclass(frozen=True)
class Meter:
    """The rule that turns events of one type into a quantity.

    A sum meter adds `add` and takes off `subtract`, property by property; an absent property counts as zero.
    """

    key: str
    event_type: str
    aggregation: Aggregation
    add: tuple[str, ...] = ()
    subtract: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    group_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class PriceShape:
    """Prices of one meter that match on the same dimensions and are rated by the same groups.

    `prices` has one row per (plan, price) with the columns `plan`, `price` and one String column for each of `match`.
    """

    meter: str
    match: tuple[str, ...]
    group_by: tuple[str, ...]
    prices: pl.DataFrame


@dataclass(frozen=True)
class PriceBook:
    """A catalog version, ready to rate: schemas PRICE, RATE, TIER, PLAN_FEE and ENTITLEMENT."""

    version: str
    meters: tuple[Meter, ...]
    shapes: tuple[PriceShape, ...]
    prices: pl.DataFrame
    rates: pl.DataFrame
    tiers: pl.DataFrame
    fees: pl.DataFrame
    entitlements: pl.DataFrame
