"""What an item is called: on an invoice, and in cost data."""

import polars as pl


def item_name() -> pl.Expr:
    """The price; of what is charged for the plan as a whole, what it is: `discount of plan pro`."""
    return pl.coalesce("price", pl.format("{} of plan {}", "kind", "plan"))


def item_description() -> pl.Expr:
    """What tells items of one name apart: the dimensions, the tier, what part of its price. Null where nothing does."""
    dimensions = pl.col("group").str.strip_chars("{}").str.replace_all('"', "")
    tier = pl.when("is_tiered").then(pl.format("tier {}", pl.col("tier") + 1))
    part = pl.when(pl.col("part") == "percent").then(pl.lit("percentage"))
    changes = pl.col("price").is_not_null() & ~pl.col("kind").is_in(["usage", "fee"])
    words = [pl.when(dimensions != "").then(dimensions), tier, part, pl.when(changes).then("kind")]
    joined = pl.concat_str(words, separator=", ", ignore_nulls=True)
    return pl.when(joined != "").then(joined)
