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
        "item": pl.String(),  # `plan`, or the key of an add-on beside it
        "customer": pl.String(),
        "billed_to": pl.String(),  # the customer who pays: the parent, where there is one
        "plan": pl.String(),
        "seats": QUANTITY,
        "state": pl.String(),  # active | trial: nothing is charged
        "time_zone": pl.String(),
        "interval": pl.String(),  # of its billing periods, as CYCLE has it (rating/core/cycles.py), here and below
        "intervals": pl.Int64(),
        "anchor": INSTANT,
        "cycle_from": INSTANT,  # since when they are these (cycles.py); null: from the beginning
        "cycle_to": INSTANT,  # null: they stay
        "began_at": INSTANT,  # when the item was first charged for
        "starts_at": INSTANT,
        "ends_at": INSTANT,  # null: open end
        "ended_at": INSTANT,  # when the whole subscription ends behind it (timeline.py); null: it does not
    }
)
"""One row is one item of a subscription of a customer on [`starts_at`, `ends_at`), in which nothing of it changes. Most
subscriptions have one row: their plan, from their start to their end."""


def property_column(name: str) -> str:
    """The usage column that holds the declared property `name`."""
    return f"data_{name}"


def usage_event_schema(properties: Mapping[str, PropertyType]) -> pl.Schema:
    """USAGE_EVENT followed by one typed column for each declared property, in the order given."""
    columns = {property_column(name): PROPERTY_DTYPE[kind] for name, kind in properties.items()}
    return pl.Schema({**USAGE_EVENT, **columns})


PAYER = "payer"
"""The number of a row of SERVICE_PERIOD (coverage.py): inside a run it stands for its subscription, plan and period."""

LINE = [PAYER, "rate", "meter", "group"]
"""What tells one charge line of usage from another."""


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
        "model": pl.String(),  # the preset that the price was written as, or `chain`
        "rounding": pl.String(),  # half_away_from_zero | half_even | up | down
        "rounding_digits": pl.Int32(),  # of its lines; those of the currency unless the price says otherwise
        "rounding_place": pl.String(),  # event | line | price | subscription (rating/core/rounding.py)
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
        "window": pl.Int32(),  # null: the rate outside every band of the version
        "cell": pl.Int32(),  # which usage of the price it is for (PriceShape); 0 where the price has one rate for all
        "pool": pl.Int32(),  # equal for the cells of one version and window: the lines that can be priced together
        "chain": pl.Int32(),  # place in PriceBook.chains
        "tier_mode": pl.String(),  # graduated | volume | cliff
        "flat_when_unused": pl.Boolean(),  # whether usage of zero pays the flat amount of its tier
        "per": pl.Int64(),  # so many units cost `unit_amount`
        "size": pl.String(),  # cliff only: the property that measures one event
        "tiers_by": pl.String(),  # its tiers are those of the served part of the period, counted so; null: of the whole
        "window_interval": pl.String(),  # what fills its tiers and included units (rating/core/windows.py); null: ...
        "window_intervals": pl.Int64(),  # ... what each line is made of
        "numbers": pl.List(pl.String()),  # the numbers of each step of the chain, as JSON, to show
    }
)
"""One row is one set of numbers of a price: a version, or one of its bands."""

BAND = pl.Schema(
    {
        "rate": pl.Int32(),
        "base": pl.Int32(),  # the rate of the same version outside its bands
        "zone": pl.String(),
        "from": pl.Int64(),  # microseconds after local midnight; [from, to), over midnight when to <= from
        "to": pl.Int64(),
        "calendar": pl.Int32(),  # place in PriceBook.calendars
        "priority": pl.Int32(),  # among the bands of the version: where several hold, the highest does
    }
)
"""One row is a part of the time in which a rate with a `window` holds (rating/core/bands.py)."""

TIER = pl.Schema(
    {
        "rate": pl.Int32(),
        "tier": pl.Int32(),  # from 0
        "from_quantity": QUANTITY,  # exclusive
        "to_quantity": QUANTITY,  # inclusive; null: the open last tier
        "unit_amount": AMOUNT,  # for `per` units
        "flat_amount": AMOUNT,  # once where the tier is reached; the fee of `flat`
        "percent": AMOUNT,  # of the quantity
        "flat_per": AMOUNT,  # the flat amount is for each started so many units of the tier; null: once
    }
)
"""One row is one tier (from, to] of a rate; the tiers of a rate have no gap from 0, and every rate has at least one.
Amounts and `percent` are 0 where the price has none."""

TIER_AMOUNT = pl.Schema(
    {
        "tier": pl.Int32(),
        "from_quantity": QUANTITY,
        "to_quantity": QUANTITY,
        "quantity": AMOUNT,  # that this tier prices, behind the operators before it
        "unit_amount": AMOUNT,
        "per": pl.Int64(),
        "flat_amount": AMOUNT,
        "flat_count": AMOUNT,  # how many times the flat amount is paid
        "percent": AMOUNT,
        "amount": AMOUNT,  # quantity x unit_amount / per + flat_amount x flat_count + quantity x percent / 100
    }
)
"""One row is what one tier contributes to a charge line."""

OPERATION = pl.Schema(
    {
        "operator": pl.String(),
        "level": pl.String(),  # event | day | line; of a rounding or an adjustment: price | plan | subscription
        "on": pl.String(),  # quantity | amount | shown: the rounded amount
        "before": AMOUNT,  # of the line, summed over its rows at that level
        "after": AMOUNT,
        "numbers": pl.String(),  # the parameters, as a JSON object of strings
    }
)
"""One row is what one operator of the chain, other than tier and price, made of a line's quantity or amount."""

_STEP_OF_RATE = {"rate": pl.Int32(), "step": pl.Int32()}  # the place of the step in the chain, from 0

WEIGHT = pl.Schema(
    {
        **_STEP_OF_RATE,
        "factor": AMOUNT,
        "divide_by": AMOUNT,
        "rounding": pl.String(),  # up | down | null: exact
        "first": AMOUNT,
        "increment": AMOUNT,
        "increments_from": pl.List(AMOUNT),  # rising, the first is 0
        "increments": pl.List(AMOUNT),  # how large they are from there on; null: exact
        "minimum": AMOUNT,
        "maximum": AMOUNT,
    }
)
"""One row is the numbers of one `weight` of a rate (operators/weight.py); null where it has none."""

ALLOW = pl.Schema(
    {
        **_STEP_OF_RATE,
        "units": AMOUNT,
        "count": pl.Int64(),
        "either": pl.Boolean(),
        "prorate": pl.String(),  # how the part of the period that `units` are for is counted; null: it is the whole
    }
)
"""One row is the numbers of one `allow` of a rate (operators/allow.py)."""

CLAMP = pl.Schema(
    {
        **_STEP_OF_RATE,
        "minimum": AMOUNT,
        "maximum": AMOUNT,
        "multiple": AMOUNT,  # the amount is rounded to multiples of it
        "rounding": pl.String(),  # half_away_from_zero | half_even | up | down
    }
)
"""One row is the numbers of one `clamp` of a rate (operators/clamp.py); null is no bound and no rounding."""

PRORATE = pl.Schema({**_STEP_OF_RATE, "by": pl.String()})
"""One row is how one `prorate` of a rate counts (rating/core/proration.py): seconds | days | 30_days."""

COMPOSE = pl.Schema({**_STEP_OF_RATE, "percent": AMOUNT, "above": AMOUNT, "fixed": AMOUNT})
"""One row is the numbers of one `compose` of a rate (operators/compose.py); negative is a discount."""

ADJUSTMENT = pl.Schema(
    {
        "adjustment": pl.Int32(),  # row number, unique
        "scope": pl.String(),  # price | plan: of one item | subscription: of all items together
        "plan": pl.String(),
        "price": pl.String(),  # null for a plan's own
        "price_version": pl.Int32(),
        "effective_from": INSTANT,  # of that version, as in RATE
        "effective_to": INSTANT,
        "model": pl.String(),
        "place": pl.Int32(),  # in the order in which they are taken, from 0
        "kind": pl.String(),  # minimum | maximum | discount | surcharge | commitment
        "of": pl.String(),  # all | usage | fees: the lines that count
        "value": AMOUNT,
        "percent": AMOUNT,
        "multiplier": AMOUNT,  # commitment: of what is used above it
        "true_up": pl.Boolean(),  # commitment: whether what is not used of it is charged
        "currency": pl.String(),
        "currency_digits": pl.Int32(),
        "rounding": pl.String(),
        "by": pl.String(),  # how its amount is prorated (rating/core/proration.py); null: it is not
        "numbers": pl.String(),  # its numbers as JSON, to show
    }
)
"""One row is one adjustment of a plan, or of one version of one of its prices (rating/core/adjustments.py)."""

PLAN_FEE = pl.Schema(
    {
        "plan": pl.String(),
        "price": pl.String(),
        "due": pl.String(),
        "per_seat": pl.Boolean(),  # whether its quantity is the number of seats
        "prorates": pl.Boolean(),
    }
)
"""One row is one fee of a plan, and when it is `due`: in_advance and in_arrears, at the beginning and the end of what
is served of each period; at_start, once, when the item of a subscription begins; with_plan, then and whenever it comes
to a plan that has the fee from one that does not."""

PLAN_ALLOWANCE = pl.Schema(
    {
        "plan": pl.String(),
        "price": pl.String(),
        "allowance": pl.String(),
        "place": pl.Int32(),  # of the price among those that use the allowance, from 0
        "units": AMOUNT,  # in each billing period, or each window
        "rollover_maximum": AMOUNT,  # 0: nothing rolls over
        "by": pl.String(),  # `units` are prorated, counted so (rating/core/proration.py); null: they are not
        "window_interval": pl.String(),  # of its windows (rating/core/windows.py); null: billing periods
        "window_intervals": pl.Int64(),
    }
)
"""One row is one price of a plan that uses an allowance of it (core/allowances.py); (`plan`, `price`) is unique."""

FEATURE = pl.Schema({"feature": pl.String(), "meter": pl.String()})
"""One row is one feature of the catalog; a null `meter` says that nothing of it is counted."""

ENTITLEMENT = pl.Schema(
    {
        "plan": pl.String(),
        "feature": pl.String(),
        "kind": pl.String(),  # boolean | static | metered
        "meter": pl.String(),  # of a metered one, here and for all columns but `value`
        "value": pl.String(),  # JSON: of a boolean one true or false, of a static one its value
        "limit": QUANTITY,  # null: unlimited
        "window": pl.String(),  # the kind of its windows (rating/core/quota/windows.py), here and below
        "every": pl.String(),
        "rolls_by": pl.String(),  # the step of a rolling one
        "anchor": INSTANT,
        "time_zone": pl.String(),  # null: the customer's
        "enforcement": pl.String(),  # hard | soft | grace
        "grace": QUANTITY,  # what may be used above the limit
        "overage": pl.String(),  # forget | carry
        "rollover_minimum": QUANTITY,  # of what is left when a window ends; null: nothing goes into the next
        "rollover_maximum": QUANTITY,
        "priority": pl.Int32(),  # of the limit among grants: the smaller is burnt first
        "shared": pl.Boolean(),  # what customers use that the owner pays for counts here too
        "thresholds": pl.List(pl.String()),  # 80% of the limit, or an amount
    }
)
"""One row is what a plan gives of one feature; (`plan`, `feature`) is unique."""

PLAN_QUOTA_GRANT = pl.Schema(
    {
        "plan": pl.String(),
        "feature": pl.String(),
        "grant": pl.String(),  # its key; (`plan`, `feature`, `grant`) is unique
        "amount": QUANTITY,
        "every": pl.String(),  # one at the beginning of the subscription and after each interval; null: one
        "lasts": pl.String(),  # an interval; null: as long as the subscription
        "priority": pl.Int32(),
        "rollover_minimum": QUANTITY,
        "rollover_maximum": QUANTITY,  # null: ends of windows do not concern it
    }
)
"""One row is what a plan grants each of its subscriptions of a feature, beside the limit."""

FEATURE_RULE = pl.Schema(
    {
        "feature": pl.String(),  # unique
        "expiring_days": pl.Int32(),  # how long before it ends it is told of a grant; 0: it is not
        "anomaly_window": pl.String(),  # hour | day, of UTC; null: nothing is told of usage far above the usual
        "anomaly_times": QUANTITY,
        "anomaly_days": pl.Int32(),  # of which history
        "anomaly_at_least": QUANTITY,
    }
)
"""One row is what signals tell of one feature, beside its limits."""

POLICY = pl.Schema(
    {
        "plan": pl.String(),
        "place": pl.Int32(),  # among the policies of the plan, from 0
        "feature": pl.String(),
        "at": pl.String(),  # the level that is crossed: 100% is exhausted
        "state": pl.String(),  # what the customer gets into: suspended | restricted | overage
        "amount": QUANTITY,  # of overage: what may be used above the limit
        "to_plan": pl.String(),  # of restricted: whose limits hold
        "features": pl.List(pl.String()),  # that it is for; empty: all
        "until": pl.String(),  # reset | manual
    }
)
"""One row is what a plan does when a level of a quota is crossed; (`plan`, `place`) is unique."""
