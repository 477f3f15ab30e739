"""Every column that crosses a module border, in one place: storage and faces read these, nobody retypes a dtype.

Quantities have 9 decimals and amounts 21, so that the product of a quantity and a unit amount with 12 decimals is
exact (RELIABILITY R7). A unit amount may have up to 18 decimals, for published prices that are quoted per million.
"""

from collections.abc import Mapping
from typing import Literal

import polars as pl

QUANTITY = pl.Decimal(38, 9)
AMOUNT = pl.Decimal(38, 21)
INSTANT = pl.Datetime("us", "UTC")

PropertyType = Literal["number", "string"]
PROPERTY_DTYPE: dict[PropertyType, pl.DataType] = {"number": QUANTITY, "string": pl.String()}

USAGE_EVENT = pl.Schema(
    {
        "source": pl.String(),
        "id": pl.String(),
        "type": pl.String(),
        "subject": pl.String(),
        "time": INSTANT,
        "data": pl.String(),  # JSON object of the properties that no meter declares; null when there is none
        "received_at": INSTANT,
        "sequence": pl.Int64(),  # position in the order of acceptance, from 1, without gaps
    }
)
"""One row is one accepted usage event; (`source`, `id`) is unique. Declared properties follow as `data_<property>`."""

SUBJECT_NUMBER = "subject_number"
"""What stands for a subject inside this data directory, from 0; a number is never given to another subject."""

SUBJECT_NUMBERS = pl.Schema({"subject": pl.String(), SUBJECT_NUMBER: pl.Int64()})
"""One row is one subject of usage events and its number; both are unique."""

SUBJECT = pl.Schema({"subject": pl.String(), "customer": pl.String()})
"""One row is one subject of usage events and the customer who pays for it; `subject` is unique."""

SUBSCRIPTION = pl.Schema(
    {
        "subscription": pl.String(),
        "customer": pl.String(),
        "plan": pl.String(),
        "time_zone": pl.String(),
        "starts_at": INSTANT,
        "ends_at": INSTANT,  # null: open end
    }
)
"""One row is one subscription of a customer to a plan, in force on [`starts_at`, `ends_at`)."""


def property_column(name: str) -> str:
    """The usage column that holds the declared property `name`."""
    return f"data_{name}"


def usage_event_schema(properties: Mapping[str, PropertyType]) -> pl.Schema:
    """USAGE_EVENT followed by one typed column for each declared property, in the order given."""
    columns = {property_column(name): PROPERTY_DTYPE[kind] for name, kind in properties.items()}
    return pl.Schema({**USAGE_EVENT, **columns})


def numbered_usage_schema(properties: Mapping[str, PropertyType]) -> pl.Schema:
    """`usage_event_schema` with SUBJECT_NUMBER behind the subject: usage as it is scanned and rated."""
    columns: dict[str, pl.DataType] = {}
    for name, dtype in usage_event_schema(properties).items():
        columns[name] = dtype
        if name == "subject":
            columns[SUBJECT_NUMBER] = SUBJECT_NUMBERS[SUBJECT_NUMBER]
    return pl.Schema(columns)


PRICE = pl.Schema(
    {
        "price": pl.String(),
        "currency": pl.String(),
        "currency_digits": pl.Int32(),  # ISO 4217 minor unit: 2 for USD, 0 for JPY, 3 for KWD
        "model": pl.String(),  # flat | per_unit | graduated | volume | package | per_request
        "rounding": pl.String(),  # half_away_from_zero | half_even | up | down
    }
)
"""One row is one price of the catalog; `price` is unique."""

RATE = pl.Schema(
    {
        "rate": pl.Int32(),  # row number, unique
        "price": pl.String(),
        "version": pl.Int32(),  # 0 is the first version of the price
        "effective_from": INSTANT,  # of the version; 0001-01-01 when it holds since ever
        "effective_to": INSTANT,  # of the next version, exclusive; 9999-12-31 when it is the last
        "window": pl.Int32(),  # null: the rate outside every time-of-day window of the version
        "window_time_zone": pl.String(),
        "window_from": pl.Int64(),  # microseconds after local midnight; [window_from, window_to), wraps when to <= from
        "window_to": pl.Int64(),
        "per": pl.Int64(),  # so many units cost `unit_amount`
        "package_size": QUANTITY,  # package only
        "size": pl.String(),  # per_request only: the property that measures one event
    }
)
"""One row is one set of numbers of a price: a version, or one of its time-of-day windows."""

TIER = pl.Schema(
    {
        "rate": pl.Int32(),
        "tier": pl.Int32(),  # from 0
        "from_quantity": QUANTITY,  # exclusive
        "to_quantity": QUANTITY,  # inclusive; null: the open last tier
        "unit_amount": AMOUNT,  # for `per` units; 0 where the model has none
        "flat_amount": AMOUNT,  # per tier reached; the fee of `flat`; the amount of one package
    }
)
"""One row is one tier (from, to] of a rate; the tiers of a rate have no gap from 0. Every rate has at least one
(`flat`, `per_unit` and `package` have exactly one, open)."""

PLAN_FEE = pl.Schema({"plan": pl.String(), "price": pl.String()})
"""One row is one `flat` price of a plan."""

ENTITLEMENT = pl.Schema(
    {
        "plan": pl.String(),
        "feature": pl.String(),
        "meter": pl.String(),
        "limit": QUANTITY,
        "window": pl.String(),  # month
    }
)
"""One row is one metered entitlement of a plan; (`plan`, `feature`) is unique."""
