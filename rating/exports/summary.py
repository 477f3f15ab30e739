"""The charge lines of a run, summed for a person to read: by currency, by price, by customer."""

import polars as pl

from rating.core.money import grouped_sum

BY_PRICE = ("currency", "kind", "price", "plan")
BY_CUSTOMER = ("customer", "currency")


def summary(lines: pl.LazyFrame, by: tuple[str, ...]) -> pl.DataFrame:
    """One row for each value of `by`, the largest amounts first: the number of `lines`, of `customers` and of `events`,
    and their `rounded_amount`. The plan is told where there is no price: of a discount, a minimum, of the plan."""
    told = lines.with_columns(plan=pl.when(pl.col("price").is_null()).then("plan"))
    counts = [pl.len().alias("lines"), pl.col("customer").n_unique().alias("customers"), pl.col("events").sum()]
    sums = grouped_sum(told, by, ["rounded_amount"], *counts).collect()
    columns = [*by, "lines", *([] if "customer" in by else ["customers"]), "events", "rounded_amount"]
    largest = sums.with_columns(size=pl.col("rounded_amount").abs()).sort(
        "size", *by, descending=[True, *[False] * len(by)], nulls_last=True
    )
    return largest.select(columns)
