"""Why a customer pays more or less under another catalog: the change of every line, taken apart without a rest.

Lines of both sides are paired by what they charge for. A line of usage is then changed step by step, from the old side
to the new one, and each step is booked to its reason:

    metering    another quantity is metered
    included    another part of it is included (allowances, free units, prepaid units)
    rate        the same units at another unit amount, percentage or flat amount, or under other dated versions
    tier        the same units in other tiers
    minimum, maximum, discount, surcharge, proration, grouping    what the steps behind the tiers make of the amount
    rounding    rounded amount less exact amount

Lines on one side only are `new_price`, `removed_price`, `unpriced` (no price of the plan covers the usage any more) or
`grouping` (the price is there, and divides the usage otherwise). Fees are `fee`, and adjustments and credits are what
they are called. Worked example: 16 units, up to 15 at 10.00 and 5.00 above, become up to 10 at 11.00 and 5.00 above:
10 units at 1.00 more are rate 10.00, and 5 units that cost 5.00 instead of 10.00 are tier -25.00; together -15.00.
"""

import polars as pl

from rating.core.money import ZERO, grouped_sum, product, quotient
from rating.core.schema import AMOUNT

REASONS = (
    "rate", "tier", "included", "minimum", "maximum", "fee", "discount", "surcharge", "commitment", "credit",
    "new_price", "removed_price", "unpriced", "metering", "grouping", "proration", "rounding",
)  # fmt: skip
REASON = pl.Schema(
    {
        "period": pl.String(),
        "customer": pl.String(),
        "currency": pl.String(),
        "reason": pl.String(),  # one of REASONS
        "amount": AMOUNT,
    }
)
"""One row is what one reason changes of a customer's charges of a month; those of a customer sum to the difference of
the rounded charges, exactly."""

_OWNER = ["period", "customer", "currency"]
_LINE = [*_OWNER, "subscription", "price", "meter", "group"]
_PIECE = [*_LINE, "piece"]
_HUNDRED = pl.lit(100, dtype=AMOUNT)
_WORD = {"prorate": "proration", "partition": "grouping"}
_ON_QUANTITY = ("allow", "credit", "weight")
_OPERATORS = (*_ON_QUANTITY, "clamp", "compose", *_WORD)
_STEPS = ("minimum", "maximum", "discount", "surcharge", *_WORD.values())


def reasons(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """REASON of the charge lines (CHARGE_LINE) of two ratings of the same months; what changes nothing is left out."""
    paired = _paired(*pl.collect_all([_usage(before), _usage(after)]))
    both = paired.filter(pl.col("tiers").is_not_null(), pl.col("tiers_after").is_not_null())
    lone = paired.filter(pl.col("tiers").is_null() | pl.col("tiers_after").is_null())
    parts = [_of_both(both), _of_one(lone, before, after), _of_others(before, after)]
    summed = grouped_sum(pl.concat([part.cast(REASON) for part in parts]).lazy(), REASON.names()[:-1], ["amount"])
    return summed.filter(pl.col("amount") != 0).select(REASON.names()).sort(REASON.names()[:-1]).collect()


def _of_others(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Fees, adjustments and credits: what they are more or less than before."""
    sides = [(before, -pl.col("rounded_amount")), (after, pl.col("rounded_amount"))]
    rows = [lines.filter(pl.col("kind") != "usage").select(*_OWNER, reason="kind", amount=a) for lines, a in sides]
    return pl.concat([row.cast(REASON) for row in rows])


def _usage(lines: pl.DataFrame) -> pl.LazyFrame:
    """Lines of usage with what their tiers and steps came to; `piece` counts those that differ in version or band."""
    usage = lines.lazy().filter(pl.col("kind") == "usage")
    told = usage.join(_steps(usage), on="line", how="left", validate="1:1").with_columns(
        pl.int_range(pl.len()).over(_LINE, order_by=["price_version", "window"]).alias("piece"),
        *[pl.col(name).fill_null(ZERO) for name in _OPERATORS],
        priced=_sum_of_tiers("quantity"),
        tiered=_sum_of_tiers("amount"),
        quantity=pl.col("quantity").cast(AMOUNT),
    )
    return told.select(
        *_PIECE,
        *("quantity", "priced", "tiered", "amount", "rounded_amount", "tiers", "weight"),
        allow=pl.col("allow") + pl.col("credit"),
        minimum=pl.max_horizontal("clamp", ZERO),
        maximum=pl.min_horizontal("clamp", ZERO),
        discount=pl.min_horizontal("compose", ZERO),
        surcharge=pl.max_horizontal("compose", ZERO),
        **{word: pl.col(operator) for operator, word in _WORD.items()},
    )


def _sum_of_tiers(field: str) -> pl.Expr:
    return pl.col("tiers").list.eval(pl.element().struct.field(field)).list.sum().fill_null(ZERO).cast(AMOUNT)


def _steps(usage: pl.LazyFrame) -> pl.LazyFrame:
    """One row for each `line` that has steps beside tier and price: what each operator changed. Of the quantity for
    those that stand before the tiers, else of the amount."""
    stepped = usage.filter(pl.col("operations").list.len() > 0).select("line", "operations")
    steps = stepped.explode("operations", empty_as_null=False).unnest("operations")
    on = pl.when(pl.col("operator").is_in(_ON_QUANTITY)).then(pl.lit("quantity")).otherwise(pl.lit("amount"))
    change = pl.when(pl.col("on") == on).then(pl.col("after") - pl.col("before")).otherwise(ZERO)
    split = {name: pl.when(pl.col("operator") == name).then(change).otherwise(ZERO).cast(AMOUNT) for name in _OPERATORS}
    return grouped_sum(steps.select("line", **split), ["line"], _OPERATORS)


def _paired(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """One row for each piece on either side: the columns of the old side, and those of the new one as `_after`; and
    whether the same usage `is_divided` otherwise over dated versions and bands."""
    renamed = after.rename({name: f"{name}_after" for name in after.columns if name not in _PIECE})
    pairs = before.join(renamed, on=_PIECE, how="full", coalesce=True, nulls_equal=True, validate="1:1")
    more = pl.col("quantity_after").fill_null(ZERO) - pl.col("quantity").fill_null(ZERO)
    divided = (more.sum().over(_LINE) == 0) & (more != 0).any().over(_LINE)
    return pairs.with_columns(is_divided=divided).with_row_index("pair")


def _of_one(lone: pl.DataFrame, before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Pieces of one side, whole."""
    sides = []
    for own, other, sign, gone in (("tiers_after", before, 1, "new_price"), ("tiers", after, -1, "unpriced")):
        amount = pl.col("rounded_amount_after") if sign > 0 else -pl.col("rounded_amount")
        rows = lone.filter(pl.col(own).is_not_null()).with_columns(amount=amount)
        usage = other.filter(pl.col("kind") == "usage")
        levels = {  # the nearest thing that the other side charges for
            "rate": ["period", "subscription", "currency", "price", "meter", "group"],
            "grouping": ["period", "subscription", "currency", "price", "meter"],
            "new_price" if sign > 0 else "removed_price": ["period", "subscription", "meter"],
        }
        for reason, keys in levels.items():
            known = usage.select(keys).unique().with_columns(pl.lit(reason).alias(f"is_{reason}"))
            rows = rows.join(known, on=keys, how="left", nulls_equal=True, validate="m:1")
        found = pl.coalesce(*(pl.col(f"is_{reason}") for reason in levels), pl.lit(gone))
        sides.append(rows.select(*_OWNER, reason=found, amount="amount").cast(REASON))
    return pl.concat(sides)


def _of_both(pairs: pl.DataFrame) -> pl.DataFrame:
    """The reasons of each pair; what is no other reason is closed by its tiers."""
    tiers = _tier_changes(pairs)
    known = pairs.join(tiers, on="pair", how="left", validate="1:1")
    whole = pl.col("rounded_amount_after") - pl.col("rounded_amount")
    rounding = whole.cast(AMOUNT) - _change("amount")
    steps = {name: _change(name) for name in _STEPS}
    behind = _change("amount") - _change("tiered") - pl.sum_horizontal(*steps.values())  # by operators of no name here
    at_rate = pl.when("is_divided").then(_change("tiered")).otherwise(pl.col("at_rate").fill_null(ZERO))
    known = known.with_columns(at_rate=at_rate, rounding=rounding, behind=behind)
    known = known.with_columns(moved=_change("tiered") - pl.col("at_rate"))
    known = known.with_columns(by_quantity=_by_quantity())
    is_metering = (_change("quantity") != 0) & ~pl.col("is_divided")
    is_included = (_change("allow") != 0) | (_change("weight") == 0)
    booked = {
        "metering": pl.when(is_metering).then("by_quantity").otherwise(ZERO),
        "included": pl.when(~is_metering & is_included).then("by_quantity").otherwise(ZERO),
        "rate": pl.col("at_rate")
        + pl.col("behind")
        + pl.when(~is_metering & ~is_included).then("by_quantity").otherwise(ZERO),
        "tier": pl.col("moved") - pl.col("by_quantity"),
        "rounding": pl.col("rounding"),
        **steps,
    }
    wide = known.select(*_OWNER, **{name: amount.cast(AMOUNT) for name, amount in booked.items()})
    long = wide.unpivot(list(booked), index=_OWNER, variable_name="reason", value_name="amount")
    return long.filter(pl.col("amount") != 0)


def _change(name: str) -> pl.Expr:
    return pl.col(f"{name}_after").cast(AMOUNT) - pl.col(name).cast(AMOUNT)


def _by_quantity() -> pl.Expr:
    """What another priced quantity changes: all that is moved where the tiers are the same, else the units more or less
    at the amount of the last unit on the larger side."""
    priced = _change("priced")
    marginal = pl.when(priced > 0).then("last_unit_after").otherwise("last_unit")
    changed = pl.when("other_bounds").then(product(priced, marginal.fill_null(ZERO))).otherwise("moved")
    return pl.when(priced == 0).then(ZERO).otherwise(changed)


def _tier_changes(pairs: pl.DataFrame) -> pl.DataFrame:
    """Of each `pair`: `at_rate`, what the units that stay in their tier cost more; whether tiers that both sides reach
    have `other_bounds`; and the amount of the last unit on either side."""
    old, new = _tiers(pairs, "tiers"), _tiers(pairs, "tiers_after")
    last = [
        side.sort("pair", "tier").group_by("pair", maintain_order=True).agg(pl.col("one").last().alias(name))
        for side, name in ((old, "last_unit"), (new, "last_unit_after"))
    ]
    met = old.join(new, on=["pair", "tier"], suffix="_after", validate="1:1")
    both, flats = _shared("quantity"), _shared("flat_count")
    part = product(both, _change("one")) + product(flats, _change("flat_amount"))
    same = (_change("quantity") == 0) & (_change("flat_count") == 0)
    at_rate = pl.when(same).then(_change("amount")).otherwise(part)
    moved_bounds = pl.any_horizontal(
        pl.col(f"{name}_quantity").ne_missing(pl.col(f"{name}_quantity_after")) for name in ("from", "to")
    )
    rated = met.with_columns(at_rate=at_rate.cast(AMOUNT), other_bounds=moved_bounds).lazy()
    summed = grouped_sum(rated, ["pair"], ["at_rate"], pl.col("other_bounds").any()).collect()
    found = pairs.select("pair").join(summed, on="pair", how="left")
    for side in last:
        found = found.join(side, on="pair", how="left")
    return found.with_columns(pl.col("other_bounds").fill_null(False))


def _tiers(pairs: pl.DataFrame, column: str) -> pl.DataFrame:
    """One row a tier; `one` is what one unit costs in it."""
    rows = pairs.lazy().select("pair", pl.col(column).alias("tiers")).explode("tiers", empty_as_null=False)
    one = quotient(pl.col("unit_amount"), pl.col("per")) + quotient(pl.col("percent"), _HUNDRED)
    return rows.unnest("tiers").with_columns(one=one).collect()


def _shared(name: str) -> pl.Expr:
    """How many both sides have."""
    return pl.max_horizontal(pl.min_horizontal(name, f"{name}_after"), ZERO)
