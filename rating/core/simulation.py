"""Simulation: what customers would have paid under another catalog, beside what they pay by the one in force.

Both sides are charge lines of the same usage, customers and months (`rate`). Nothing here asks how they came about:
lines in, comparison out. Amounts are the rounded ones, because these are what is charged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from rating.core.money import ROUNDED, grouped_sum, overflow_checked, product, quotient, round_to
from rating.core.schema import AMOUNT
from rating.core.simulation_reasons import REASON, reasons

PERCENT = pl.Decimal(38, 4)
_SIDES = {"before": ROUNDED, "after": ROUNDED}
_CHANGE = {**_SIDES, "difference": ROUNDED, "percent": PERCENT}  # of `before`; null where that is zero

CHARGED = pl.Schema(
    {
        "period": pl.String(),
        "customer": pl.String(),
        "currency": pl.String(),
        "kind": pl.String(),
        "price": pl.String(),  # null for an adjustment of the plan
        **_SIDES,
    }
)
"""One row is what a customer is charged by a price in a month, on either side."""

TOTAL = pl.Schema({"period": pl.String(), "currency": pl.String(), **_CHANGE})
"""One row is a month and currency, all customers together."""

CURRENCY_TOTAL = pl.Schema(
    {
        "currency": pl.String(),
        **_CHANGE,
        "customers": pl.Int64(),
        "more": pl.Int64(),  # customers who pay more, and ...
        "less": pl.Int64(),  # ... less
    }
)
"""One row is a currency, all customers and months together."""

CUSTOMER_CHANGE = pl.Schema({"customer": pl.String(), "currency": pl.String(), **_CHANGE})
"""One row is a customer and currency, all months together, changed or not."""

PRICE_CHANGE = pl.Schema({"currency": pl.String(), "kind": pl.String(), "price": pl.String(), **_CHANGE})
"""One row is what one price earns, all customers and months together."""

CUSTOMER_REASON = pl.Schema({name: dtype for name, dtype in REASON.items() if name != "period"})
"""One row is what one reason changes of what a customer is charged in all months."""

PERCENTILE = pl.Schema({"currency": pl.String(), "percentile": pl.Int32(), "difference": ROUNDED, "percent": PERCENT})
"""One row is the change that so many percent of the customers do not exceed (nearest rank), as an amount and in
percent, each ranked by itself."""

PERCENTILES = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)


@dataclass(frozen=True)
class Compared:
    """One month: CHARGED and REASON."""

    charged: pl.DataFrame
    reasons: pl.DataFrame


@dataclass(frozen=True)
class Simulation:
    """All months. `customers` has the largest increase first; the `amount`s of `reasons` of a customer sum to its
    `difference`."""

    currencies: pl.DataFrame  # CURRENCY_TOTAL
    totals: pl.DataFrame  # TOTAL
    customers: pl.DataFrame  # CUSTOMER_CHANGE
    reasons: pl.DataFrame  # CUSTOMER_REASON
    percentiles: pl.DataFrame  # PERCENTILE
    prices: pl.DataFrame  # PRICE_CHANGE


def compared(before: pl.DataFrame, after: pl.DataFrame) -> Compared:
    """Compare the lines (CHARGE_LINE) of a month. Raises AmountOverflow."""
    with overflow_checked():
        found = Compared(_charged(before, after), reasons(before, after))
        assert _explained(found), "the reasons of a customer sum to the difference"
    return found


def _charged(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    keys = [name for name in CHARGED if name not in _SIDES]
    sides = [
        grouped_sum(lines.lazy(), keys, ["rounded_amount"]).rename({"rounded_amount": side})
        for lines, side in ((before, "before"), (after, "after"))
    ]
    both = sides[0].join(sides[1], on=keys, how="full", coalesce=True, nulls_equal=True, validate="1:1")
    return both.with_columns(pl.col(*_SIDES).fill_null(0).cast(ROUNDED)).select(CHARGED.names()).collect()


def _explained(found: Compared) -> bool:
    """Whether the reasons of every customer and currency sum to what changes."""
    owner = ["period", "customer", "currency"]
    change = found.charged.select(*owner, amount=(pl.col("after") - pl.col("before")).cast(AMOUNT))
    why = found.reasons.select(*owner, amount=-pl.col("amount"))
    left = pl.concat([change, why.cast(change.schema)]).group_by(owner).agg(pl.col("amount").sum())
    return left.filter(pl.col("amount") != 0).is_empty()


def simulation(months: Sequence[Compared]) -> Simulation:
    """Put months together. Raises AmountOverflow."""
    charged = pl.concat([CHARGED.to_frame(), *(month.charged for month in months)])
    why = pl.concat([REASON.to_frame(), *(month.reasons for month in months)])
    with overflow_checked():
        customers = _changes(charged, CUSTOMER_CHANGE)
        return Simulation(
            currencies=_currencies(customers),
            totals=_changes(charged, TOTAL),
            customers=customers.sort("currency", "difference", "customer", descending=[False, True, False]),
            reasons=_reasons(why.lazy()),
            percentiles=_percentiles(customers),
            prices=_changes(charged, PRICE_CHANGE),
        )


def _reasons(why: pl.LazyFrame) -> pl.DataFrame:
    keys = ["customer", "currency", "reason"]
    summed = grouped_sum(why, keys, ["amount"]).filter(pl.col("amount") != 0)
    return summed.select(CUSTOMER_REASON.names()).sort(keys).collect()


def _changes(charged: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    keys = [name for name in schema if name not in _CHANGE]
    summed = grouped_sum(charged.lazy(), keys, [*_SIDES]).with_columns(pl.col(*_SIDES).cast(ROUNDED))
    differing = summed.with_columns(difference=(pl.col("after") - pl.col("before")).cast(ROUNDED))
    return differing.with_columns(percent=_percent()).select(schema.names()).cast(schema).sort(keys).collect()


def _currencies(customers: pl.DataFrame) -> pl.DataFrame:
    change = pl.col("difference")
    counts = {"customers": pl.len(), "more": (change > 0).sum(), "less": (change < 0).sum()}
    counted = customers.group_by("currency").agg(**{name: count.cast(pl.Int64) for name, count in counts.items()})
    summed = _changes(customers, pl.Schema({"currency": pl.String(), **_CHANGE}))
    return summed.join(counted, on="currency", validate="1:1").select(CURRENCY_TOTAL.names()).sort("currency")


def _percent() -> pl.Expr:
    """The difference in percent of `before`, with four decimals; null where there was nothing before."""
    base = pl.when(pl.col("before") != 0).then(pl.col("before").cast(AMOUNT).abs())
    part = product(quotient(pl.col("difference"), base), pl.lit(Decimal(100), dtype=AMOUNT))
    return round_to(part, 4, "half_away_from_zero").cast(PERCENT)


def _percentiles(customers: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for (currency,), own in customers.partition_by("currency", as_dict=True, maintain_order=True).items():
        ranked = [own[name].drop_nulls().sort() for name in ("difference", "percent")]
        for percentile in PERCENTILES:
            rows.append((currency, percentile, *(_ranked(values, percentile) for values in ranked)))
    return pl.DataFrame(rows, schema=PERCENTILE, orient="row").sort("currency", "percentile")


def _ranked(ordered: pl.Series, percentile: int) -> Decimal | None:
    """The nearest rank: the smallest value that so many percent do not exceed."""
    if ordered.is_empty():
        return None
    rank = max(-(-percentile * len(ordered) // 100), 1)
    value: Decimal = ordered[rank - 1]
    return value


def reason_totals(reasons: pl.DataFrame) -> pl.DataFrame:
    """CUSTOMER_REASON of all customers together: `currency`, `reason`, `amount`, `customers`."""
    counted = pl.col("customer").n_unique().cast(pl.Int64).alias("customers")
    return grouped_sum(reasons.lazy(), ["currency", "reason"], ["amount"], counted).sort("currency", "reason").collect()


def charged_in(lines: pl.DataFrame, currency: str) -> Decimal:
    """What lines (CHARGE_LINE) come to in a currency."""
    own = lines.filter(pl.col("currency") == currency)
    total: Decimal = own.select(pl.col("rounded_amount").cast(AMOUNT).sum()).item() or Decimal(0)
    return total
